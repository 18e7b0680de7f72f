"""G11: a worker that is stopped loses nothing and burns no attempt."""

from __future__ import annotations

import asyncio
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
import redis as redis_py

from consumers.assembly import Parts
from consumers.jobs.clauses import read_head
from consumers.jobs.job import Job
from tests.support.engine import QueueView, emit_one_to_run_and_one_to_hold, emitting, working
from tests.support.proxy import FaultProxy
from tests.support.servers import RedisServer
from tests.support.waiting import aeventually

pytestmark = pytest.mark.timeout(180)

# Seconds. Whatever would outlast this deadline of a stop, the stop did not wait for it.
STOPS_WITHIN = 40.0
FOR_EVER = 3600.0


async def test_g11_running_jobs_finish_and_nothing_new_is_started(
    server: RedisServer, redis: redis_py.Redis
) -> None:
    queue = QueueView(redis)
    started, may_end = list[str](), asyncio.Event()

    async def work(job: Job[None]) -> None:
        started.append(job.id)
        await may_end.wait()

    async with emitting(server.url) as emit:
        await asyncio.gather(*(emit("work") for _ in range(20)))
        async with working(server.url, {"work": work}, concurrency=8) as worker:
            await aeventually(lambda: len(started) == 8)
            stopping = asyncio.create_task(worker.stop())
            await aeventually(lambda: len(queue.pending()) == 8)
            may_end.set()
            await stopping

    assert len(started) == 8
    assert queue.stats("completed") == 8
    assert queue.pending() == []
    assert sum(redis.xlen(stream) for stream in queue.streams()) == 12


async def test_g11_what_is_held_goes_back_at_once_and_to_the_front(
    server: RedisServer, redis: redis_py.Redis
) -> None:
    queue = QueueView(redis)
    began, may_end = asyncio.Event(), asyncio.Event()
    ran = list[tuple[str, int, int]]()

    async def slow(job: Job[None]) -> None:
        began.set()
        await may_end.wait()

    async def work(job: Job[None]) -> None:
        ran.append((job.id, job.delivery, job.attempt))

    async with emitting(server.url) as emit:
        await emit_one_to_run_and_one_to_hold(emit, "slow", "work")
        await emit("work", priority=4)
        async with working(server.url, {"slow": slow, "work": work}) as worker:
            await began.wait()
            await aeventually(lambda: len(queue.pending()) == 2)
            stopping = asyncio.create_task(worker.stop(timeout=FOR_EVER))
            await aeventually(lambda: redis.xlen(queue.lane(4, front=True)) == 1)
            assert not stopping.done()
            async with working(server.url, {"work": work}):
                await aeventually(lambda: len(ran) == 2)
            assert not stopping.done()
            may_end.set()
            await stopping

    assert ran == [("work-1", 2, 1), ("work-2", 1, 1)]


async def test_g11_past_the_grace_period_running_jobs_are_released(
    server: RedisServer, redis: redis_py.Redis
) -> None:
    queue = QueueView(redis)
    seen = list[tuple[str, int, int, bool]]()

    async def polite(job: Job[None]) -> None:
        try:
            await asyncio.sleep(FOR_EVER)
        finally:
            seen.append((job.event, job.delivery, job.attempt, job.cancelled))

    async def deaf(job: Job[None]) -> str:
        try:
            await asyncio.sleep(FOR_EVER)
        except asyncio.CancelledError:
            seen.append((job.event, job.delivery, job.attempt, job.cancelled))
        return "swallowed it"

    async with emitting(server.url) as emit:
        await asyncio.gather(emit("polite"), emit("deaf"))
        handlers = {"polite": polite, "deaf": deaf}
        options = {"concurrency": 2, "shutdown_timeout": FOR_EVER}
        async with working(server.url, handlers, **options) as worker:
            await aeventually(lambda: worker.running == 2)
            begun = time.monotonic()
            await asyncio.wait_for(worker.stop(timeout=0.2), STOPS_WITHIN)
            took = time.monotonic() - begun

    # They had all of the grace period.
    assert took >= 0.2
    assert sorted(seen) == [("deaf", 1, 1, True), ("polite", 1, 1, True)]
    assert queue.pending() == []
    assert redis.xlen(queue.lane(front=True)) == 2
    assert queue.letters() == []
    assert not queue.has_result("deaf-1")
    heads = [fields[b"head"] for _, fields in redis.xrange(queue.lane(front=True))]
    # failures, deliveries, crashes, and that it has begun
    assert [head.split(b":")[3:6] for head in heads] == [[b"0", b"1", b"0"]] * 2
    assert all(read_head(head).first_started > 1 for head in heads)


async def test_g11_a_handler_that_does_not_end_is_left_behind_and_its_job_released(
    server: RedisServer, redis: redis_py.Redis
) -> None:
    queue = QueueView(redis)
    begun_to_run, may_end, cancelled = threading.Event(), threading.Event(), list[bool]()

    def work(job: Job[None]) -> str:
        begun_to_run.set()
        may_end.wait(60.0)
        cancelled.append(job.cancelled)
        return "too late"

    async with emitting(server.url) as emit:
        await emit("work")
        async with working(server.url, {"work": work}) as worker:
            # One that only waits for its thread does not begin any more after a stop.
            await aeventually(begun_to_run.is_set)
            await worker.stop(timeout=0.1)
            went_on_after_the_stop = cancelled == []

    may_end.set()
    await aeventually(lambda: cancelled == [True])
    assert went_on_after_the_stop
    assert redis.xlen(queue.lane(front=True)) == 1
    assert queue.pending() == []
    assert not queue.has_result("work-1")


async def test_g11_a_stop_ends_although_handlers_block_every_thread_of_the_loop(
    server: RedisServer, redis: redis_py.Redis
) -> None:
    may_end = threading.Event()
    # One thread instead of some, so that one handler is enough to take them all.
    asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(1))

    async def work(job: Job[None]) -> None:
        await asyncio.to_thread(may_end.wait, 60.0)

    async with emitting(server.url) as emit:
        await emit("work")
        async with working(server.url, {"work": work}) as worker:
            await aeventually(lambda: worker.running == 1)
            stopping = asyncio.create_task(worker.stop(timeout=0))
            await asyncio.wait({stopping}, timeout=20.0)
            stopped = stopping.done()
            may_end.set()

    assert stopped
    assert redis.zcard("tm:workers") == 0


async def test_g11_a_second_stop_shortens_the_first(
    server: RedisServer, redis: redis_py.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    queue, waits_for_the_job = QueueView(redis), asyncio.Event()
    run_down = Parts.run_down

    async def noting(parts: Parts) -> None:
        waits_for_the_job.set()
        await run_down(parts)

    monkeypatch.setattr(Parts, "run_down", noting)

    async def work(job: Job[None]) -> None:
        await asyncio.sleep(FOR_EVER)

    async with emitting(server.url) as emit:
        await emit("work")
        async with working(server.url, {"work": work}, shutdown_timeout=FOR_EVER) as worker:
            await aeventually(lambda: worker.running == 1)
            first = asyncio.create_task(worker.stop())
            await waits_for_the_job.wait()
            second = asyncio.create_task(worker.stop(timeout=0.1))
            await asyncio.wait_for(asyncio.gather(first, second), STOPS_WITHIN)

    assert redis.xlen(queue.lane(front=True)) == 1


async def test_g11_a_stop_ends_the_read_of_an_idle_worker(
    server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    # By itself that read would not end in the time of this test, and the stop waits for its
    # answer.
    for name in ("consumers.fetch.fetcher.BLOCK", "consumers.fetch.fetcher.REFRESH"):
        monkeypatch.setattr(name, FOR_EVER)
    monkeypatch.setattr("consumers.assembly.LAST_WORDS", FOR_EVER)

    async def work(job: Job[None]) -> None:
        pass

    async with working(server.url, {"work": work}, lease=10 * FOR_EVER) as worker:
        fetcher = worker._parts.fetcher  # type: ignore[union-attr]
        await aeventually(lambda: fetcher._blocked)
        await asyncio.wait_for(worker.stop(), STOPS_WITHIN)


@pytest.mark.parametrize("outage", ["refuse", "swallow"])
async def test_g11_a_stop_returns_while_redis_is_away(server: RedisServer, outage: str) -> None:
    async def work(job: Job[None]) -> None:
        await asyncio.sleep(FOR_EVER)

    async with emitting(server.url) as emit:
        await emit("work")
    with FaultProxy(server.port) as proxy:
        async with working(proxy.url, {"work": work}, shutdown_timeout=FOR_EVER) as worker:
            await aeventually(lambda: worker.running == 1)
            getattr(proxy, outage)()
            # Redis is away until the stop has returned.
            await asyncio.wait_for(worker.stop(timeout=0.1), 2 * STOPS_WITHIN)


async def test_g11_stopping_at_any_moment_loses_nothing(
    server: RedisServer, redis: redis_py.Redis
) -> None:
    queue = QueueView(redis)
    ran = list[int]()
    attempts = set[int]()

    async def work(job: Job[int]) -> None:
        attempts.add(job.attempt)
        await asyncio.sleep(0.001 * (job.data % 4))
        ran.append(job.data)

    async with emitting(server.url) as emit:
        await asyncio.gather(*(emit("work", n, priority=n % 3) for n in range(400)))
    for n in range(12):
        async with working(server.url, {"work": work}, concurrency=1 + n % 9) as worker:
            # Not a condition to wait for: the moment is to be an arbitrary one.
            await asyncio.sleep(0.004 * n)
            await worker.stop(timeout=0 if n % 2 else None)
            assert queue.pending() == []
    async with working(server.url, {"work": work}, concurrency=8):
        await aeventually(queue.is_empty)

    assert set(ran) == set(range(400))
    assert attempts == {1}
    assert queue.stats("completed") == 400
    assert queue.stats("fenced") == 0
    assert queue.letters() == []
