"""Jobs of several routes start in the order of their priority, the oldest first within one."""

from __future__ import annotations

import asyncio
import random
from collections import defaultdict

import pytest
import redis as redis_py

from consumers.jobs.job import Job
from tests.support.engine import QueueView, emitting, working
from tests.support.routing import Starts, routed_job
from tests.support.servers import RedisServer
from tests.support.waiting import aeventually

PRIORITIES = (-100, -5, -1, 0, 1, 5, 100)
NEEDS: list[dict[str, list[str]]] = [
    {"requires": ["gpu"]},
    {"requires": ["gpu", "cpu"]},
    {"anti_affinity": ["other"]},
]
VERSATILE = {"name": "versatile", "capabilities": ["gpu", "cpu"]}


async def test_one_slot_takes_the_jobs_of_many_routes_in_exact_order(
    server: RedisServer, redis: redis_py.Redis
) -> None:
    dice = random.Random(7)
    emitted = [(dice.choice(PRIORITIES), dice.randrange(3), n) for n in range(1500)]
    started: list[tuple[int, int, int]] = []

    async def work(job: Job[tuple[int, int]]) -> None:
        started.append((job.priority, *job.data))

    async with emitting(server.url) as emit:
        await asyncio.gather(
            *(
                emit.producer.emit(
                    routed_job("work", (need, n), id=f"j{n}", priority=priority, **NEEDS[need])
                )
                for priority, need, n in emitted
            )
        )
    async with working(server.url, {"work": work}, **VERSATILE):
        await aeventually(lambda: len(started) == 1500, within=120.0)

    assert [it[0] for it in started] == sorted((it[0] for it in started), reverse=True)
    lanes: dict[tuple[int, int], list[int]] = defaultdict(list)
    for priority, need, n in started:
        lanes[priority, need].append(n)
    assert len(lanes) == 21
    assert all(numbers == sorted(numbers) for numbers in lanes.values())
    assert QueueView(redis).stats("released") <= 5


async def test_the_oldest_job_of_a_priority_begins_first_whatever_it_requires(
    server: RedisServer,
) -> None:
    """Lanes took turns: jobs of a route with few others overtook all of the other routes."""
    starts, kinds = Starts(), (*NEEDS, None)
    async with emitting(server.url) as emit:
        for n, kind in enumerate(kinds):
            for at in range(6):
                id = f"{n}-{at}"
                await emit.producer.emit(routed_job(id=id, **kind)) if kind else await emit(id=id)
                # Their order is that of the ids of their entries, which are in milliseconds.
                await asyncio.sleep(0.003)
    async with working(server.url, {"work": starts}, **VERSATILE, prefetch=0):
        await aeventually(lambda: len(starts.all) == 24)

    # Nothing is known of a lane until a job of it was read.
    first = {f"{n}-0" for n in range(len(kinds))}
    assert [it for it in starts.ids if it not in first] == sorted(set(starts.ids) - first)


@pytest.mark.parametrize("concurrency", [1, 4])
async def test_a_high_job_of_a_route_starts_before_low_ones_that_are_held(
    server: RedisServer, redis: redis_py.Redis, concurrency: int
) -> None:
    queue, starts, may_end = QueueView(redis), Starts(), asyncio.Semaphore(0)
    high = routed_job(id="high", priority=9)
    lows = [routed_job(id=f"low-{n}", priority=n % 3, **NEEDS[n % 2]) for n in range(12)]

    async def work(job: Job[None]) -> None:
        await starts(job)
        await may_end.acquire()

    async with emitting(server.url) as emit:
        # Lanes that exist already are read together: each gives what it has.
        warm = [it._replace(id=f"warm-{it.id}") for it in (high, *lows[:6])]
        await asyncio.gather(*map(emit.producer.emit, warm))
        async with working(server.url, {"work": work}, **VERSATILE, concurrency=concurrency):
            for _ in warm:
                may_end.release()
            await aeventually(queue.is_empty)
            starts.all.clear()
            await asyncio.gather(*map(emit.producer.emit, lows))
            await aeventually(lambda: len(starts.all) == concurrency)
            starts.all.clear()
            await emit.producer.emit(high)
            may_end.release()
            await aeventually(lambda: starts.ids == ["high"])
            for _ in range(20):
                may_end.release()
            await aeventually(queue.is_empty)


async def test_a_foreign_group_with_a_name_that_is_no_text_stops_nobody(
    server: RedisServer, redis: redis_py.Redis
) -> None:
    starts = Starts()
    jobs = [routed_job(id=f"j{n}-{need}", **NEEDS[need]) for n in range(10) for need in range(3)]
    async with emitting(server.url) as emit:
        await asyncio.gather(*(emit.producer.emit(it) for it in jobs))
    for stream in {QueueView(redis).keys.lane(it.lane) for it in jobs}:
        redis.xgroup_create(stream, b"\xff\xfe", "$")

    async with working(server.url, {"work": starts}, **VERSATILE, prefetch=0):
        await aeventually(lambda: len(starts.all) == 30)
