"""Whatever an application has its event loop make tasks with, jobs run as they would without."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from taskmanager import Job, TaskManager
from tests.support.waiting import aeventually

JOBS = 20


def without_context(loop: asyncio.AbstractEventLoop, work: Any) -> asyncio.Task[Any]:
    """As tracers and debuggers wrote them before Python 3.11."""
    return asyncio.Task(work, loop=loop)


FACTORIES = [without_context]
# From Python 3.12 on: a task takes its first steps within create_task.
if hasattr(asyncio, "eager_task_factory"):
    FACTORIES.append(asyncio.eager_task_factory)


@asynccontextmanager
async def tasks_made_by(factory: Any) -> AsyncIterator[None]:
    loop = asyncio.get_running_loop()
    loop.set_task_factory(factory)
    try:
        yield
    finally:
        loop.set_task_factory(None)


@pytest.mark.parametrize("factory", FACTORIES)
async def test_jobs_run_in_a_loop_with_another_task_factory(
    make: Callable[..., TaskManager], factory: Any
) -> None:
    tm, ran = make(concurrency=4), list[str]()

    @tm.registerHandler(event="at-once")
    async def at_once(job: Job[Any]) -> None:
        ran.append(job.id)

    @tm.registerHandler(event="later")
    async def later(job: Job[Any]) -> None:
        await asyncio.sleep(0)
        ran.append(job.id)

    async with tm, tasks_made_by(factory):
        await tm.start()
        events = ("at-once", "later")
        await tm.emit_many({"event": it, "data": n} for it in events for n in range(JOBS))
        await aeventually(lambda: len(ran) == 2 * JOBS)
        await tm.stop()
        stats = await tm.stats()

    assert (stats.completed_total, stats.dead, stats.active) == (2 * JOBS, 0, 0)
