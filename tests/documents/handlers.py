"""Handlers that take down what they were called with."""

from __future__ import annotations

from typing import Any

from taskmanager import Context, Job, TaskManager


def recording(tm: TaskManager[Any], event: str, **options: Any) -> list[Job[Any]]:
    """Register a handler that returns its data; return the list of the jobs it is run with."""
    ran: list[Job[Any]] = []

    async def record(job: Job[Any], ctx: Context) -> Any:
        ran.append(job)
        return job.data

    tm.registerHandler(handler=record, event=event, **options)
    return ran


def failing(tm: TaskManager[Any], event: str, **options: Any) -> list[Job[Any]]:
    """Register a handler that always fails; return the list of the jobs it is run with."""
    ran: list[Job[Any]] = []

    def fail(job: Job[Any]) -> None:
        ran.append(job)
        raise ValueError(f"attempt {job.attempt} failed")

    tm.registerHandler(handler=fail, event=event, **options)
    return ran
