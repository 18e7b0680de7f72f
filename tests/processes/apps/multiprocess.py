"""A handler that hands its work to a process of its own, which emits."""

from __future__ import annotations

import multiprocessing
from typing import Any

from taskmanager import Job, TaskManager
from tests.support.witness import witnessed

tm: TaskManager[Any] = TaskManager()


@tm.registerHandler(event="delegate")
def delegate(job: Job[Any]) -> int | None:
    # Emitted here too, so that a forked child finds what the worker has open.
    tm.emit_sync("nap", id=f"worker-{job.id}")
    context = multiprocessing.get_context(job.data["method"])
    child = context.Process(target=emit, args=(f"child-{job.id}",))
    child.start()
    child.join()
    if child.exitcode:
        raise RuntimeError(f"the child ended with {child.exitcode}")
    return child.pid


@tm.registerHandler(event="nap")
async def nap(job: Job[Any]) -> None:
    with witnessed(job):
        pass


def emit(job_id: str) -> None:
    """What the child does; where it was not forked, only what was imported is set up."""
    tm.emit_sync("nap", id=job_id)
