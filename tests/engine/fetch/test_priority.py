"""Jobs start in the order of their priority, first in first out within one."""

from __future__ import annotations

import asyncio
import random
from typing import Any, cast

import pytest
import redis as redis_py

from consumers.errors import TooManyLanes
from consumers.fetch.reclaimer import Reclaimer
from consumers.jobs.job import Job
from consumers.jobs.lanes import MAX_LANES
from tests.support.engine import QueueView, emitting, working
from tests.support.servers import RedisServer
from tests.support.waiting import aeventually


async def test_jobs_that_waited_start_in_exact_order_of_priority(
    server: RedisServer, redis: redis_py.Redis
) -> None:
    dice = random.Random(4)
    priorities = dice.sample(range(-100, 101), 20)
    emitted = [(dice.choice(priorities), n) for n in range(2000)]
    started: list[tuple[int, int]] = []

    async def work(job: Job[int]) -> None:
        started.append((job.priority, job.data))

    async with emitting(server.url) as emit:
        await asyncio.gather(*(emit("work", n, priority=priority) for priority, n in emitted))
    async with working(server.url, {"work": work}):
        await aeventually(lambda: len(started) == 2000, within=120.0)

    assert started == sorted(emitted, key=lambda it: (-it[0], it[1]))
    # On a machine that stands still for a second what is held is handed back, to start in its place
    # all the same.
    assert QueueView(redis).stats("released") <= 5


@pytest.mark.parametrize("concurrency", [4, 16])
async def test_with_several_slots_jobs_that_waited_start_in_that_order_too(
    server: RedisServer, concurrency: int
) -> None:
    started: list[int] = []

    async def work(job: Job[None]) -> None:
        started.append(job.priority)

    async with emitting(server.url) as emit:
        await asyncio.gather(*(emit("work", priority=n % 20) for n in range(1000)))
    async with working(server.url, {"work": work}, concurrency=concurrency):
        await aeventually(lambda: len(started) == 1000)

    # Nothing higher came while lower ones were held.
    assert started == sorted(started, reverse=True)


@pytest.mark.parametrize("concurrency", [1, 2, 4])
async def test_a_high_job_that_comes_while_low_ones_are_held_starts_first(
    server: RedisServer, redis: redis_py.Redis, concurrency: int
) -> None:
    queue = QueueView(redis)
    started: list[str] = []
    may_end = asyncio.Semaphore(0)

    async def work(job: Job[None]) -> None:
        started.append(job.id)
        await may_end.acquire()

    async with emitting(server.url) as emit:
        # Lanes that exist already are read together: each gives what it has.
        await asyncio.gather(*(emit("work", id=f"warm-{n}", priority=n) for n in (9, 3, 2, 1)))
        async with working(server.url, {"work": work}, concurrency=concurrency):
            for _ in range(4):
                may_end.release()
            await aeventually(queue.is_empty)
            lows = [emit("work", id=f"low-{n}", priority=1 + n % 3) for n in range(12)]
            await asyncio.gather(*lows)
            await aeventually(lambda: len(started) == 4 + concurrency)
            started.clear()
            await emit("work", id="high", priority=9)
            may_end.release()
            await aeventually(lambda: started == ["high"])
            for _ in range(20):
                may_end.release()
            await aeventually(queue.is_empty)


async def test_on_an_idle_worker_the_first_job_of_a_new_priority_interrupts_the_read(
    server: RedisServer, redis: redis_py.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Nothing else would end a read, or show the worker a new lane, before this test is over.
    for name in ("REFRESH", "BLOCK"):
        monkeypatch.setattr(f"consumers.fetch.fetcher.{name}", 3600.0)
    monkeypatch.setattr(Reclaimer, "due_in", 3600.0)
    started: list[int] = []

    async def work(job: Job[None]) -> None:
        started.append(job.priority)

    async with (
        emitting(server.url) as emit,
        working(server.url, {"work": work}, lease=3 * 3600.0) as worker,
    ):
        assert worker._parts is not None
        fetcher = worker._parts.fetcher
        for priority in range(20):
            await aeventually(lambda: fetcher.idle and _blocked_clients(redis) == 1)
            await emit("work", priority=priority)
            await aeventually(lambda: started[-1:] == [priority])  # noqa: B023

    assert started == list(range(20))


def _blocked_clients(redis: redis_py.Redis) -> int:
    return int(cast("dict[str, Any]", redis.info("clients"))["blocked_clients"])


async def test_one_lane_more_than_allowed_is_a_clear_error(
    server: RedisServer, redis: redis_py.Redis
) -> None:
    async with emitting(server.url) as emit:
        answers = await asyncio.gather(
            *(emit("work", priority=n) for n in range(MAX_LANES + 1)), return_exceptions=True
        )
        refused = [answer for answer in answers if isinstance(answer, BaseException)]
        assert (await emit("work", priority=5)).created

    [error] = refused
    assert isinstance(error, TooManyLanes)
    assert "already has 32 lanes and cannot have another ('workers:default:0')" in str(error)
    assert len(QueueView(redis).lanes()) == MAX_LANES


@pytest.mark.parametrize("concurrency", [1, 8])
async def test_queues_of_a_worker_take_turns_at_equal_priority(
    server: RedisServer, concurrency: int
) -> None:
    started: list[str] = []

    async def work(job: Job[None]) -> None:
        started.append(job.queue)

    queues = ["a", "b", "c"]
    async with emitting(server.url) as emit:
        await asyncio.gather(*(emit("work", queue=queue) for queue in queues for _ in range(100)))
    handlers = {(queue, "work"): work for queue in queues}
    async with working(server.url, handlers, concurrency=concurrency):
        await aeventually(lambda: len(started) == 300)

    for queue in queues:
        # A third of the first 240, give or take what one read brings.
        assert 60 <= started[:240].count(queue) <= 100


async def test_between_queues_the_higher_priority_comes_first(server: RedisServer) -> None:
    started: list[tuple[str, int]] = []

    async def work(job: Job[None]) -> None:
        started.append((job.queue, job.priority))

    async with emitting(server.url) as emit:
        emits = [
            emit("work", queue=q, priority=p) for q in ("a", "b") for p in (1, 2) for _ in "12"
        ]
        await asyncio.gather(*emits)
    async with working(server.url, {("a", "work"): work, ("b", "work"): work}):
        await aeventually(lambda: len(started) == 8)

    assert [priority for _, priority in started] == [2, 2, 2, 2, 1, 1, 1, 1]


async def test_a_released_job_goes_before_those_that_wait(
    server: RedisServer, redis: redis_py.Redis
) -> None:
    started: list[str] = []

    async def hang(job: Job[None]) -> None:
        started.append(job.id)
        await asyncio.sleep(60)

    async def work(job: Job[None]) -> None:
        started.append(job.id)

    async with emitting(server.url) as emit:
        await asyncio.gather(*(emit("work") for _ in range(3)))
        async with working(server.url, {"work": hang}):
            await aeventually(lambda: started == ["work-1"])
        async with working(server.url, {"work": work}):
            await aeventually(QueueView(redis).is_empty)

    assert started == ["work-1", "work-1", "work-2", "work-3"]
