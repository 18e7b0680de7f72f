"""Many jobs that fail do not stand in the way of others."""

from __future__ import annotations

import asyncio

import redis as redis_py

from consumers.jobs.job import Job
from processors.retries.retry import RetryPolicy
from tests.support.engine import QueueView, emitting, new_job, working
from tests.support.queue import Queue
from tests.support.servers import RedisServer
from tests.support.waiting import aeventually

FAILING = 10_000
BEFORE_IT_ARRIVED = 1000


async def test_10000_jobs_that_fail_at_once_do_not_keep_a_fresh_one_from_starting(
    server: RedisServer, redis: redis_py.Redis
) -> None:
    queue = QueueView(redis)
    ahead: dict[str, int] = {}
    begun: dict[str, int] = {}
    overtaken: dict[str, int] = {}
    failures = 0

    async def fail(job: Job[None]) -> None:
        nonlocal failures
        failures += 1
        raise ValueError(f"attempt {job.attempt}")

    async def fresh(job: Job[None]) -> None:
        overtaken[job.id] = failures - begun[job.id]

    retry = RetryPolicy(max_retries=3, retry_delay_ms=1000)
    handlers = {"fail": fail, "fresh": fresh}
    async with emitting(server.url, emit_timeout=30.0) as emit:
        await asyncio.gather(*(emit("fail") for _ in range(FAILING)))
        async with working(server.url, handlers, retry=retry, concurrency=64):
            # In the middle of the first runs, and of the first retries.
            for job_id, share in (("first", 0.5), ("second", 1.5)):
                await aeventually(
                    lambda: queue.stats("retried") >= share * FAILING,  # noqa: B023
                )
                ahead[job_id], begun[job_id] = redis.xlen(queue.lane()), failures
                await emit.producer.emit(new_job("fresh", id=job_id))
                await aeventually(lambda: job_id in overtaken)  # noqa: B023

    # Half of them, less what ran until we looked.
    assert ahead["first"] >= 0.4 * FAILING
    # What waited before it, what was promoted until its emit arrived, and what was under way.
    assert overtaken["first"] <= ahead["first"] + BEFORE_IT_ARRIVED
    assert overtaken["second"] <= ahead["second"] + BEFORE_IT_ARRIVED
    # All of them are still somewhere, and none of them twice.
    put_off, waiting = Queue(redis).put_off(), Queue(redis).ids()
    assert queue.letters() == []
    assert len(put_off) + len(waiting) + len(Queue(redis).ids(front=True)) == FAILING
