"""Context variables (a tenant, a trace, a session) belong to the run that set them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextvars import ContextVar
from typing import Any

import pytest
from pydantic import BaseModel, field_validator

from consumers.store.settling import Settled
from taskmanager import DeadLetter, Job, TaskManager
from tests.support.waiting import aeventually

JOBS = 100

tenant: ContextVar[str | None] = ContextVar("tenant", default=None)


class Noting(BaseModel):
    """A payload whose validator looks around."""

    number: int

    @field_validator("number")
    @classmethod
    def note(cls, number: int) -> int:
        seen_by_validator.append(tenant.get())
        return number


seen_by_validator: list[str | None] = []


@pytest.mark.parametrize("in_thread", [False, True], ids=["async", "thread"])
async def test_no_job_sees_a_context_variable_that_another_job_set(
    make: Callable[..., TaskManager], in_thread: bool
) -> None:
    """What was held began in the task of the job that had just ended, with its variables."""
    tm = make(concurrency=8)
    seen: list[str | None] = []

    def look(job: Job[Any]) -> None:
        seen.append(tenant.get())
        tenant.set(job.id)

    async def look_and_wait(job: Job[Any]) -> None:
        look(job)
        await asyncio.sleep(0)

    tm.registerHandler(look if in_thread else look_and_wait, event="look")
    await tm.emit_many([{"event": "look", "data": number} for number in range(JOBS)])
    tenant.set("the worker's")
    await tm.start()
    await aeventually(lambda: len(seen) == JOBS, 30)

    assert set(seen) == {"the worker's"}


async def test_no_validator_sees_a_context_variable_of_another_job(
    make: Callable[..., TaskManager],
) -> None:
    tm = make(concurrency=8)
    seen_by_validator.clear()
    ran: list[str] = []

    @tm.registerHandler(event="look")
    async def look(job: Job[Noting]) -> None:
        tenant.set(job.id)
        ran.append(job.id)

    await tm.emit_many([{"event": "look", "data": {"number": it}} for it in range(JOBS)])
    seen_by_validator.clear()
    await tm.start()
    await aeventually(lambda: len(ran) == JOBS, 30)

    assert set(seen_by_validator) == {None}


class Listener:
    """Telemetry that looks around."""

    def __init__(self) -> None:
        self.seen: list[str | None] = []

    def settled_many(self, settled: Sequence[Settled]) -> None:
        self.seen.append(tenant.get())


async def test_neither_telemetry_nor_on_dead_sees_a_context_variable_of_a_job(
    make: Callable[..., TaskManager],
) -> None:
    listener, told = Listener(), list[str | None]()
    tm = make(concurrency=8, telemetry=listener)

    @tm.on_dead
    async def tell(letter: DeadLetter) -> None:
        told.append(tenant.get())

    @tm.registerHandler(event="fail")
    async def fail(job: Job[Any]) -> None:
        tenant.set(job.id)
        raise ValueError("no")

    await tm.emit_many([{"event": "fail", "data": number} for number in range(20)])
    await tm.start()
    await aeventually(lambda: len(told) == 20, 30)

    assert set(listener.seen) == set(told) == {None}
