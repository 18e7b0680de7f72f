"""Runs that take too long: ended, or left behind and counted, and their slot given to others."""

from __future__ import annotations

import asyncio
import logging
import threading

import pytest
import redis as redis_py

from consumers.consumer import Consumer
from consumers.jobs.job import Job
from processors.retries.retry import RetryPolicy
from tests.support.engine import QueueView, emitting, new_job, working
from tests.support.queue import without_facts
from tests.support.servers import RedisServer
from tests.support.waiting import PATIENCE, aeventually


@pytest.fixture(autouse=True)
def _short_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("consumers.run.executor.END_PATIENCE", 0.2)


def leaked(worker: Consumer) -> int:
    assert worker._parts is not None
    return worker._parts.executor.leaked


async def test_an_asynchronous_handler_is_cancelled_at_its_timeout(
    server: RedisServer, redis: redis_py.Redis
) -> None:
    queue, cancelled = QueueView(redis), asyncio.Event()

    async def hang(job: Job[None]) -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            assert job.cancelled
            cancelled.set()
            raise

    async with emitting(server.url) as emit, working(server.url, {"hang": hang}, timeout=0.2):
        await emit("hang", id="a")
        letter = await aeventually(lambda: queue.letter("a"))

    assert letter is not None
    assert letter["reason"] == b"failed"
    assert b"JobTimeout" in letter["error"]
    assert b"longer than its timeout of 0.2 s" in letter["error"]
    assert cancelled.is_set()


async def test_a_timeout_of_the_job_counts_before_that_of_the_handler(
    server: RedisServer, redis: redis_py.Redis
) -> None:
    queue = QueueView(redis)

    async def hang(job: Job[None]) -> None:
        await asyncio.sleep(60)

    async with emitting(server.url) as emit, working(server.url, {"hang": hang}, timeout=30):
        await emit.producer.emit(new_job("hang", id="a", options={"timeout": 0.1}))
        await aeventually(lambda: queue.letter("a"))


async def test_a_timeout_uses_an_attempt_and_is_retried(
    server: RedisServer, redis: redis_py.Redis
) -> None:
    queue, attempts = QueueView(redis), []

    async def hang_at_first(job: Job[None]) -> str:
        attempts.append(job.attempt)
        if job.attempt == 1:
            await asyncio.sleep(60)
        return "done"

    retry = RetryPolicy(max_retries=1, retry_delay_ms=0)
    async with (
        emitting(server.url) as emit,
        working(server.url, {"hang": hang_at_first}, timeout=0.1, retry=retry),
    ):
        await emit("hang", id="a")
        await aeventually(lambda: queue.has_result("a"))

    assert (attempts, queue.result("a"), queue.letters()) == ([1, 2], "done", [])


async def test_a_handler_that_swallows_its_cancellation_and_returns_has_timed_out_all_the_same(
    server: RedisServer, redis: redis_py.Redis
) -> None:
    queue = QueueView(redis)

    async def swallow(job: Job[None]) -> str:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            return "too late"
        return "never"

    async with emitting(server.url) as emit, working(server.url, {"s": swallow}, timeout=0.1):
        await emit("s", id="a")
        await aeventually(lambda: queue.letter("a"))

    assert not queue.has_result("a")


async def test_a_handler_in_time_is_not_disturbed(
    server: RedisServer, redis: redis_py.Redis
) -> None:
    async def quick(job: Job[None]) -> None:
        await asyncio.sleep(0)

    async with (
        emitting(server.url) as emit,
        working(server.url, {"quick": quick}, timeout=1.0, concurrency=5) as worker,
    ):
        await asyncio.gather(*(emit("quick") for _ in range(20)))
        await aeventually(lambda: worker.settled == 20)
        assert worker._parts is not None
        deadlines = worker._parts.executor._deadlines
        await aeventually(lambda: len(deadlines) == 0)  # the last of them has passed

    assert QueueView(redis).stats("completed") == 20


@pytest.mark.parametrize("kind", ["thread", "coroutine"])
async def test_a_run_that_does_not_end_is_left_behind_and_its_slot_is_free_again(
    server: RedisServer, redis: redis_py.Redis, kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    queue, go_on = QueueView(redis), threading.Event()

    def in_thread(job: Job[None]) -> str:
        go_on.wait(PATIENCE)
        return "too late"

    async def on_loop(job: Job[None]) -> str:
        while not go_on.is_set():
            try:
                await asyncio.sleep(0.02)
            except asyncio.CancelledError:
                continue
        return "too late"

    def behave(job: Job[None]) -> str:
        return "done"

    handlers = {"stuck": in_thread if kind == "thread" else on_loop, "behave": behave}
    async with emitting(server.url) as emit, working(server.url, handlers) as worker:
        await emit.producer.emit(new_job("stuck", id="stuck", options={"timeout": 0.1}))
        letter = await aeventually(lambda: queue.letter("stuck"))
        assert leaked(worker) == 1
        await emit("behave", id="next")
        await aeventually(lambda: queue.has_result("next"))
        go_on.set()
        await aeventually(lambda: leaked(worker) == 0)
        await emit("behave", id="later")
        await aeventually(lambda: queue.has_result("later"))

    assert letter is not None
    assert b"JobTimeout" in letter["error"]
    assert not queue.has_result("stuck")
    assert "continues after its timeout" in caplog.text


async def test_a_worker_with_too_many_runs_left_behind_hands_back_its_jobs_and_stops(
    server: RedisServer, redis: redis_py.Redis, caplog: pytest.LogCaptureFixture
) -> None:
    queue, go_on = QueueView(redis), threading.Event()

    def stuck(job: Job[None]) -> None:
        go_on.wait(PATIENCE)

    async def patient(job: Job[None]) -> None:
        await asyncio.sleep(60)

    def timeout(seconds: float) -> dict[str, float]:
        return {"timeout": seconds}

    async with (
        emitting(server.url) as emit,
        working(
            server.url,
            {"stuck": stuck, "patient": patient},
            concurrency=4,
            max_leaked_threads=2,
            shutdown_timeout=0.2,
        ) as worker,
    ):
        assert not worker.broken.is_set()
        await emit.producer.emit(new_job("patient", id="held"))
        for n in range(3):
            # Long enough to begin in: what times out before that leaves no thread behind.
            job = new_job("stuck", id=f"stuck-{n}", options=timeout(2.0))
            await emit.producer.emit(job)
        for n in range(5):
            await emit.producer.emit(new_job("patient", id=f"patient-{n}"))
        await asyncio.wait_for(worker.broken.wait(), PATIENCE)
        await aeventually(lambda: worker._parts is None)
        go_on.set()

    assert worker.broken_because == "3 runs continue after their timeout and cannot be stopped"
    assert worker.broken_because in caplog.text
    assert {letter["job"].decode() for letter in queue.letters()} == {
        f"stuck-{n}" for n in range(3)
    }
    assert queue.pending() == []
    waiting = {fields[b"id"].decode() for key in queue.streams() for _, fields in redis.xrange(key)}
    assert waiting == {"held", *(f"patient-{n}" for n in range(5))}


async def test_options_that_the_policy_cannot_use_bury_their_job_and_no_other(
    server: RedisServer, redis: redis_py.Redis, caplog: pytest.LogCaptureFixture
) -> None:
    queue = QueueView(redis)

    async def work(job: Job[None]) -> None:
        pass

    async with emitting(server.url) as emit, working(server.url, {"work": work}):
        for job_id, options in [("a", {"timeout": "soon"}), ("b", {"expires_ms": []}), ("c", {})]:
            await emit.producer.emit(new_job("work", id=job_id, options=options))
        await aeventually(lambda: queue.stats("completed") == 1)
        await aeventually(lambda: len(queue.letters()) == 2)

    assert {letter["reason"] for letter in queue.letters()} == {b"failed"}
    assert [it.levelno for it in caplog.records if "prepare" in it.message] == [logging.ERROR] * 2


async def test_expired_jobs_end_as_cancelled_and_are_not_run(
    server: RedisServer, redis: redis_py.Redis
) -> None:
    queue, ran = QueueView(redis), []

    async def work(job: Job[None]) -> None:
        ran.append(job.id)

    async with emitting(server.url) as emit:
        for n in range(200):
            await emit.producer.emit(new_job("work", id=f"late-{n}", options={"expires_ms": 1}))
        await emit.producer.emit(new_job("work", id="fresh", options={"expires_ms": 60_000}))
        await asyncio.sleep(0.05)  # until the first has expired
        async with working(server.url, {"work": work}) as worker:
            await aeventually(lambda: worker.settled == 201)

    assert ran == ["fresh"]
    assert queue.stats("cancelled") == 200
    assert without_facts(redis.get(queue.keys.result("late-0"))) == b"1 cancelled expired"


@pytest.mark.parametrize("timeout", ["NaN", "1e400", "-1", "true", '"soon"', "1" * 400])
async def test_a_timeout_that_is_none_ends_its_own_job_and_spoils_no_other_timeout(
    server: RedisServer, redis: redis_py.Redis, timeout: str
) -> None:
    """Next to NaN no deadline has an order: the timeouts of other jobs never came."""
    queue = QueueView(redis)

    async def hang(job: Job[None]) -> None:
        await asyncio.sleep(3600)

    fields = {"head": "1:7:1:0:0:0", "id": "odd", "event": "hang", "data": "null"}
    async with (
        emitting(server.url) as emit,
        working(server.url, {"hang": hang}, concurrency=4) as worker,
    ):
        redis.xadd(queue.lane(), {**fields, "options": f'{{"timeout":{timeout}}}'})
        await aeventually(lambda: queue.stats("dead") == 1, 30)
        await asyncio.gather(
            *(emit.producer.emit(new_job("hang", id=it, options={"timeout": 0.2})) for it in "abc")
        )
        await aeventually(lambda: queue.stats("dead") == 4, 30)

        assert worker.running == 0
    assert all(b"JobTimeout" in (queue.letter(it) or {})["error"] for it in "abc")
