"""G1: an emit that returned runs, whatever happens to workers, groups and lanes."""

from __future__ import annotations

import asyncio

import redis as redis_py

from consumers.jobs.job import Job
from tests.support.engine import QueueView, crash, emitting, working
from tests.support.servers import RedisServer
from tests.support.waiting import aeventually


async def test_g1_every_emitted_job_runs(server: RedisServer, redis: redis_py.Redis) -> None:
    ran: list[int] = []
    queue = QueueView(redis)

    async def work(job: Job[int]) -> int:
        ran.append(job.data)
        return job.data

    async with emitting(server.url) as emit, working(server.url, {"work": work}, concurrency=8):
        await asyncio.gather(*(emit("work", n, priority=n % 5) for n in range(500)))
        await aeventually(lambda: len(ran) == 500)
        await aeventually(queue.is_empty)

    assert sorted(ran) == list(range(500))
    assert queue.stats("completed") == 500
    assert queue.result("work-7") == 6
    assert queue.live("work-7") is None


async def test_g1_jobs_emitted_before_any_worker_existed_run(
    server: RedisServer, redis: redis_py.Redis
) -> None:
    ran: list[int] = []

    async def work(job: Job[int]) -> None:
        ran.append(job.data)

    async with emitting(server.url) as emit:
        await asyncio.gather(*(emit("work", n) for n in range(50)))
    async with working(server.url, {"work": work}):
        await aeventually(QueueView(redis).is_empty)

    assert ran == list(range(50))


async def test_g1_a_worker_that_starts_again_goes_on_where_it_was(
    server: RedisServer, redis: redis_py.Redis
) -> None:
    ran: set[int] = set()
    queue = QueueView(redis)

    async def work(job: Job[int]) -> None:
        if len(ran) in (20, 40):
            # The worker ends at this point.
            await asyncio.sleep(60)
        ran.add(job.data)

    async with emitting(server.url) as emit:
        await asyncio.gather(*(emit("work", n) for n in range(60)))
    for reached in (20, 40):
        async with working(server.url, {"work": work}, name="the-same") as worker:
            await aeventually(lambda reached=reached: len(ran) == reached and worker.running == 1)
            await crash(worker)
        queue.expire()
        ran.add(1000 + reached)
    async with working(server.url, {"work": work}, name="the-same"):
        await aeventually(queue.is_empty)

    assert ran == {*range(60), 1020, 1040}


async def test_g1_a_lost_group_raises_the_epoch(server: RedisServer, redis: redis_py.Redis) -> None:
    fences: list[int] = []
    queue = QueueView(redis)

    async def work(job: Job[None]) -> None:
        fences.append(job.fence)

    async with emitting(server.url) as emit, working(server.url, {"work": work}):
        await emit("work")
        await aeventually(lambda: len(fences) == 1)
        await aeventually(queue.is_empty)
        epoch = int(redis.hget(queue.keys.meta, "epoch") or 0)
        redis.xgroup_destroy(queue.lane(), "workers")
        await emit("work")
        await aeventually(lambda: len(fences) == 2)

    assert int(redis.hget(queue.keys.meta, "epoch") or 0) == epoch + 1
    assert fences[1] > fences[0]
    assert fences[1] >> 82 == epoch + 1
