"""What a worker holds beside what it runs, on a real Redis."""

from __future__ import annotations

import asyncio
import time

import pytest
import redis as redis_py

from consumers.jobs.job import Job
from tests.support.engine import (
    QueueView,
    emit_one_to_run_and_one_to_hold,
    emitting,
    working,
)
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


async def test_where_handlers_are_slow_what_is_held_is_not_handed_back_again_and_again(
    server: RedisServer, redis: redis_py.Redis
) -> None:
    """Each ended run made room for a quarter of the slots, and no run ended soon enough for it."""
    slots, queue = 40, QueueView(redis)
    may_end = asyncio.Semaphore(0)

    async def work(job: Job[None]) -> None:
        await may_end.acquire()

    async with emitting(server.url) as emit:
        await asyncio.gather(*(emit("work") for _ in range(200)))
    async with working(server.url, {"work": work}, concurrency=slots) as worker:
        assert worker._parts is not None
        fetcher = worker._parts.fetcher
        for number in range(1, 4):
            # What was held at first, when nothing was known yet, goes back once.
            await aeventually(lambda: fetcher.prefetch.allowed == 0, within=20.0)
            await aeventually(lambda: len(fetcher.held) == 0, within=20.0)
            may_end.release()
            await aeventually(lambda number=number: queue.stats("completed") == number, within=20.0)
            await aeventually(lambda: worker.running == slots, within=20.0)

        assert len(fetcher.held) == 0
        # One more: that the lane's front holds something by now is seen when it is read.
        assert queue.stats("released") <= slots // 4 + 1


async def test_what_a_worker_gets_beside_a_wanted_job_goes_back_at_once_if_it_is_to_hold_nothing(
    server: RedisServer, redis: redis_py.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Several lanes are named in one read, and each of them gives a job."""
    monkeypatch.setattr("consumers.fetch.fetcher.HELD_AT_MOST", 3600.0)
    may_end, ran = asyncio.Event(), asyncio.Event()

    async def first(job: Job[None]) -> None:
        await may_end.wait()

    async def second(job: Job[None]) -> None:
        ran.set()

    handlers = {"first": first, "second": second}
    async with emitting(server.url) as emit:
        await emit_one_to_run_and_one_to_hold(emit, "first", "second")
    async with working(server.url, handlers, concurrency=1, prefetch=0) as worker:
        await aeventually(lambda: worker.running == 1)
        await aeventually(lambda: QueueView(redis).stats("released") == 1)
        async with working(server.url, {"second": second}):
            await aeventually(ran.is_set)
        may_end.set()
        await aeventually(lambda: worker.settled == 2)
