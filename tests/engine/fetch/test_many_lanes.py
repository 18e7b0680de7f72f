"""A worker of many queues takes what it can run, and leaves the rest to others."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import pytest
import redis as redis_py

from consumers.fetch import sharing
from consumers.jobs.job import Job
from tests.support.engine import QueueView, emitting, working
from tests.support.servers import RedisServer
from tests.support.waiting import aeventually

QUEUES = [f"q{number}" for number in range(12)]


@pytest.mark.parametrize("concurrency", [1, 3])
async def test_from_many_queues_a_worker_takes_no_more_jobs_than_it_can_run(
    server: RedisServer, redis: redis_py.Redis, concurrency: int
) -> None:
    started, may_end = list[str](), asyncio.Event()
    views = [QueueView(redis, queue) for queue in QUEUES]

    async def work(job: Job[None]) -> None:
        started.append(job.id)
        await may_end.wait()

    async with emitting(server.url) as emit:
        await asyncio.gather(*(emit("work", queue=queue) for queue in QUEUES for _ in range(2)))
        handlers = {(queue, "work"): work for queue in QUEUES}
        async with working(server.url, handlers, concurrency=concurrency):
            await aeventually(lambda: len(started) == concurrency, within=20.0)
            taken = sum(len(view.pending()) for view in views)
            may_end.set()
            await aeventually(lambda: all(view.is_empty() for view in views), within=20.0)

    assert taken == concurrency
    assert len(started) == 2 * len(QUEUES)
    assert sum(view.stats("released") for view in views) == 0


async def test_a_queue_with_little_to_do_is_not_kept_waiting_by_those_with_much(
    server: RedisServer,
) -> None:
    started: list[str] = []

    async def work(job: Job[None]) -> None:
        started.append(job.id)

    async with emitting(server.url) as emit:
        await asyncio.gather(
            *(emit("work", queue=queue) for queue in QUEUES[1:] for _ in range(20))
        )
        await emit("work", queue=QUEUES[0], id="little")
        handlers = {(queue, "work"): work for queue in QUEUES}
        async with working(server.url, handlers):
            await aeventually(lambda: "little" in started, within=20.0)

    assert started.index("little") < 3 * len(QUEUES)


async def test_two_queues_with_much_to_do_have_equal_shares_of_a_worker_of_many(
    server: RedisServer,
) -> None:
    started: list[str] = []
    busy = QUEUES[3:5]

    async def work(job: Job[None]) -> None:
        started.append(job.queue)

    async with emitting(server.url) as emit:
        await asyncio.gather(*(emit("work", queue=queue) for queue in busy for _ in range(150)))
        handlers = {(queue, "work"): work for queue in QUEUES}
        async with working(server.url, handlers):
            await aeventually(lambda: len(started) == 300, within=30.0)

    assert 80 <= started[:200].count(busy[0]) <= 120


@pytest.mark.parametrize("concurrency", [1, 4])
async def test_queues_that_are_empty_cost_the_busy_one_few_reads(
    server: RedisServer,
    redis: redis_py.Redis,
    concurrency: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # Or it is about how much the machine does in 50 ms.
    monkeypatch.setattr(sharing, "_QUIET", 60.0)
    ended = 0

    async def work(job: Job[None]) -> None:
        nonlocal ended
        ended += 1

    async with emitting(server.url) as emit:
        await asyncio.gather(*(emit("work", queue="q7") for _ in range(400)))
        handlers = {(f"q{number}", "work"): work for number in range(32)}
        redis.config_resetstat()
        async with working(server.url, handlers, concurrency=concurrency):
            await aeventually(lambda: ended == 400, within=30.0)

    reads = cast("dict[str, Any]", redis.info("commandstats"))["cmdstat_xreadgroup"]["calls"]
    # One for each job, and those of 31 queues once; two where it looked at them before.
    assert reads < 400 + 3 * 31
