"""expires= is for jobs that have not started by then: what has begun goes on to its end."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

import pytest
import redis as redis_py

from consumers.admin import facts
from consumers.admin.dead_letters import DeadLetters
from consumers.consumer import Consumer
from consumers.jobs.job import Job
from processors.retries.retry import RetryPolicy
from processors.retries.signals import Snooze
from tests.support.engine import Emitter, QueueView, emitting, new_job, working
from tests.support.servers import RedisServer
from tests.support.waiting import aeventually

_HOUR_MS = 3_600_000

# An hour from the emit, or from the start of the test.
EXPIRIES: dict[str, Callable[[], dict[str, int]]] = {
    "after a while": lambda: {"expires_ms": _HOUR_MS},
    "at a time": lambda: {"expires_at": int(time.time() * 1000) + _HOUR_MS},
}
each_expiry = pytest.mark.parametrize("expiry", EXPIRIES)


def emit_expiring(emit: Emitter, expiry: str) -> asyncio.Future[Any]:
    return emit.producer.emit(new_job("work", id="a", options=EXPIRIES[expiry]()))


def let_expire(worker: Consumer) -> None:
    """Have a worker take it for two hours later."""
    assert worker._parts is not None
    later = int(time.time() * 1000) + 2 * _HOUR_MS
    worker._parts.clock.now_ms = lambda: later  # type: ignore[method-assign]


async def end_of(redis: redis_py.Redis, job_id: str = "a") -> str:
    """Return how a job ended."""
    queue = QueueView(redis)
    await aeventually(lambda: queue.live(job_id) is None, 30)
    stored: Any = redis.get(queue.keys.result(job_id))
    return facts.end_of(stored).state


@each_expiry
async def test_a_job_that_did_not_start_in_time_is_cancelled(
    server: RedisServer, redis: redis_py.Redis, expiry: str
) -> None:
    ran: list[str] = []

    async with (
        emitting(server.url) as emit,
        working(server.url, {"work": lambda job: ran.append(job.id)}) as worker,
    ):
        let_expire(worker)
        await emit_expiring(emit, expiry)

        assert await end_of(redis) == "cancelled"
    assert ran == []


@each_expiry
async def test_a_job_that_failed_once_is_retried_after_it_would_have_expired(
    server: RedisServer, redis: redis_py.Redis, expiry: str
) -> None:
    """It ended as cancelled: no dead letter, and its error was lost."""
    attempts: list[int] = []

    async with emitting(server.url) as emit:

        async def work(job: Job[Any]) -> None:
            let_expire(worker)
            attempts.append(job.attempt)
            raise ValueError("no")

        retry = RetryPolicy(max_retries=1, retry_delay_ms=1)
        async with working(server.url, {"work": work}, retry=retry) as worker:
            await emit_expiring(emit, expiry)

            assert await end_of(redis) == "dead"
    assert attempts == [1, 2]


@each_expiry
async def test_a_snoozed_job_runs_after_it_would_have_expired(
    server: RedisServer, redis: redis_py.Redis, expiry: str
) -> None:
    runs: list[int] = []

    async with emitting(server.url) as emit:

        async def work(job: Job[Any]) -> None:
            let_expire(worker)
            runs.append(job.delivery)
            if job.delivery < 3:
                raise Snooze(0.001)

        async with working(server.url, {"work": work}) as worker:
            await emit_expiring(emit, expiry)

            assert await end_of(redis) == "completed"
    assert runs == [1, 2, 3]


@each_expiry
async def test_a_job_that_a_stop_handed_back_runs_after_it_would_have_expired(
    server: RedisServer, redis: redis_py.Redis, expiry: str
) -> None:
    began = asyncio.Event()

    async def hang(job: Job[Any]) -> None:
        began.set()
        await asyncio.sleep(60)

    async def work(job: Job[Any]) -> None:
        pass

    async with emitting(server.url) as emit:
        async with working(server.url, {"work": hang}):
            await emit_expiring(emit, expiry)
            await asyncio.wait_for(began.wait(), 30)
        async with working(server.url, {"other": work}) as worker:
            let_expire(worker)
            # A worker without its handler passes it on as it is.
            await aeventually(lambda: QueueView(redis).stats("released") == 2, 30)
        async with working(server.url, {"work": work}) as worker:
            let_expire(worker)

            assert await end_of(redis) == "completed"


@each_expiry
async def test_a_job_that_was_handed_back_unstarted_still_expires(
    server: RedisServer, redis: redis_py.Redis, expiry: str
) -> None:
    async def work(job: Job[Any]) -> None:
        pass

    async with emitting(server.url) as emit:
        await emit_expiring(emit, expiry)
        async with working(server.url, {"other": work}):
            await aeventually(lambda: QueueView(redis).stats("released") == 1, 30)
        async with working(server.url, {"work": work}) as worker:
            let_expire(worker)

            assert await end_of(redis) == "cancelled"


@each_expiry
async def test_the_job_of_a_dead_worker_runs_after_it_would_have_expired(
    server: RedisServer, redis: redis_py.Redis, expiry: str
) -> None:
    queue = QueueView(redis)

    async def work(job: Job[Any]) -> None:
        pass

    async with emitting(server.url) as emit:
        await emit_expiring(emit, expiry)
        queue.abandon()
        queue.expire()
        async with working(server.url, {"work": work}) as worker:
            let_expire(worker)

            assert await end_of(redis) == "completed"


@each_expiry
async def test_a_replayed_job_runs_after_it_would_have_expired(
    server: RedisServer, redis: redis_py.Redis, expiry: str
) -> None:
    """The replay took its letter, and the job was cancelled without a run."""
    queue = QueueView(redis)

    async def work(job: Job[Any]) -> None:
        if job.generation == 1:
            raise ValueError("no")

    async with emitting(server.url) as emit, working(server.url, {"work": work}) as worker:
        await emit_expiring(emit, expiry)
        await aeventually(lambda: queue.letter("a"), 30)
        let_expire(worker)
        letters = DeadLetters(emit.producer.wire, queue.keys, where=server.url)
        assert await letters.replay(["a"], patience=30) == ["+2"]

        assert await end_of(redis) == "completed"


async def test_a_replayed_job_was_created_at_its_replay(
    server: RedisServer, redis: redis_py.Redis
) -> None:
    queue = QueueView(redis)
    created: list[float] = []

    async def work(job: Job[Any]) -> None:
        created.append(job.created_at.timestamp() * 1000)
        if job.generation == 1:
            raise ValueError("no")

    async with emitting(server.url) as emit, working(server.url, {"work": work}):
        await emit("work", id="a")
        letter = await aeventually(lambda: queue.letter("a"), 30)
        assert letter is not None
        seconds, micros = redis.time()  # type: ignore[misc]
        letters = DeadLetters(emit.producer.wire, queue.keys, where=server.url)
        await letters.replay(["a"], patience=30)
        await aeventually(lambda: len(created) == 2, 30)

    assert created[1] >= seconds * 1000 + micros // 1000
