"""What a run remembers of what its handler started."""

from __future__ import annotations

import asyncio

from consumers.jobs.job import Job
from tests.support.runs import new_run


async def test_what_went_well_is_forgotten_and_what_failed_is_kept() -> None:
    run = new_run(Job.__new__(Job), asyncio.get_running_loop())
    failed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    failed.set_exception(ValueError("lost"))
    run.track(failed)

    for _ in range(20_000):
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        done.set_result(None)
        run.track(done)

    assert failed in run.pending
    assert len(run.pending) <= 128
    assert isinstance(failed.exception(), ValueError)
