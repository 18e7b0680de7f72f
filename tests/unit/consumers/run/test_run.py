"""What a run remembers of what its handler started."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from consumers.jobs.job import Job
from tests.support.runs import new_run


@pytest.mark.parametrize(
    ("behind_ms", "begins_ms"),
    [(-5, 5), (3, 0), (3_600_000, -3_600_000)],
    ids=["later", "clocks apart", "a spoiled head"],
)
async def test_no_run_begins_before_its_job_is_there(behind_ms: int, begins_ms: int) -> None:
    run = new_run(Job.__new__(Job), asyncio.get_running_loop())
    created = run._clock.now_ms() + behind_ms
    run.delivery.envelope = replace(run.delivery.envelope, created_at=created)

    run.begin()

    # The clock goes on meanwhile.
    assert begins_ms <= run.delivery.started_ms - created < begins_ms + 1_000


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
