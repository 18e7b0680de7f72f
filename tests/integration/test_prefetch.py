"""What a worker holds beside what it runs, on a real Redis."""

from __future__ import annotations

import time

from consumers.job import Job
from tests.support.engine import emitting, working
from tests.support.servers import RedisServer
from tests.support.waiting import aeventually

SLOTS = 8


async def test_an_idle_worker_asks_for_a_quarter_more_than_its_slots(server: RedisServer) -> None:
    """What comes after a burst of short jobs may be slow, and others may be idle."""

    async def work(job: Job[None]) -> None: ...

    async with (
        emitting(server.url) as emit,
        working(server.url, {"work": work}, concurrency=SLOTS) as worker,
    ):
        assert worker._parts is not None
        fetcher = worker._parts.fetcher
        await aeventually(lambda: fetcher._blocked)
        # As after a drain of short jobs.
        for _ in range(100_000):
            fetcher.prefetch.ended()
        fetcher.prefetch.measure(time.monotonic() + 1.0)
        assert fetcher.prefetch.allowed == SLOTS
        await emit("work")

        await aeventually(lambda: worker.settled == 1 and fetcher._blocked)
        assert fetcher.prefetch.allowed == SLOTS // 4
