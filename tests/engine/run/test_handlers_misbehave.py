"""Whatever a handler does ends that job alone: it has a reason, and the next job runs."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable
from contextvars import Context
from typing import Any

import pytest
import redis as redis_py

from consumers.jobs.codec import RESULT_LIMIT
from consumers.jobs.job import Job
from consumers.jobs.outcome import Buried
from consumers.run.run import Run, current_run
from processors.retries.retry import RetryPolicy
from tests.support.engine import QueueView, emitting, letter_of, working
from tests.support.servers import RedisServer
from tests.support.waiting import aeventually


class Unspeakable(Exception):
    """It cannot even be shown."""

    def __str__(self) -> str:
        raise RuntimeError("no text")


async def _raises_unspeakable(job: Job[None]) -> None:
    raise Unspeakable


async def _raises_with_odd_text(job: Job[None]) -> None:
    raise ValueError("lone \ud800 surrogate, \x00 and \x1b")


async def _raises_with_endless_text(job: Job[None]) -> None:
    raise ValueError("x" * 5_000_000)


@pytest.mark.parametrize(
    ("handler", "text"),
    [
        (_raises_unspeakable, "Unspeakable"),
        (_raises_with_odd_text, "surrogate"),
        (_raises_with_endless_text, "ValueError: xxx"),
    ],
)
async def test_an_error_with_a_difficult_text_ends_its_own_job_only(
    server: RedisServer, redis: redis_py.Redis, handler: Callable[..., Any], text: str
) -> None:
    letter = await letter_of(server.url, redis, handler)

    error = letter["error"].decode()
    assert letter["reason"] == b"failed"
    assert text in error
    assert len(error) <= 16 * 1024


async def _returns_an_object(job: Job[None]) -> object:
    return object()


def _returns_an_object_from_a_thread(job: Job[None]) -> object:
    return object()


async def _returns_bytes(job: Job[None]) -> bytes:
    return b"bytes"


async def _returns_nan(job: Job[None]) -> float:
    return float("nan")


async def _returns_a_surrogate(job: Job[None]) -> dict[str, str]:
    return {"\ud800": "\ud800"}


async def _returns_itself(job: Job[None]) -> list[Any]:
    endless: list[Any] = []
    endless.append(endless)
    return endless


async def _returns_too_much(job: Job[None]) -> str:
    return "x" * RESULT_LIMIT


async def _returns_a_generator(job: Job[None]) -> Any:
    return (n for n in range(3))


@pytest.mark.parametrize(
    ("handler", "text"),
    [
        (_returns_an_object, "object"),
        (_returns_an_object_from_a_thread, "object"),
        (_returns_bytes, "bytes"),
        (_returns_nan, "JSON"),
        (_returns_a_surrogate, "surrogate"),
        (_returns_itself, "JSON"),
        (_returns_too_much, "the limit is 65,536"),
        (_returns_a_generator, "iterator"),
    ],
)
async def test_a_result_that_cannot_be_stored_ends_its_own_job_only(
    server: RedisServer, redis: redis_py.Redis, handler: Callable[..., Any], text: str
) -> None:
    letter = await letter_of(server.url, redis, handler)

    assert letter["reason"] == b"bad_result"
    assert text in letter["error"].decode()
    assert "bad-1" in letter["error"].decode()


async def test_a_handler_that_swallows_its_own_cancellation_completes(
    server: RedisServer, redis: redis_py.Redis
) -> None:
    queue = QueueView(redis)

    async def work(job: Job[None]) -> str:
        task = asyncio.current_task()
        assert task is not None
        for _ in range(3):
            task.cancel()
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                continue
        # And one that nobody has met yet when it returns.
        task.cancel()
        return "after all"

    async with emitting(server.url) as emit, working(server.url, {"work": work}):
        await asyncio.gather(emit("work"), emit("work"))
        await aeventually(lambda: queue.stats("completed") == 2)

    assert queue.result("work-2") == "after all"


async def test_a_synchronous_handler_may_return_something_to_await(
    server: RedisServer, redis: redis_py.Redis
) -> None:
    queue = QueueView(redis)

    async def later() -> str:
        return "later"

    def work(job: Job[None]) -> Any:
        return later()

    async with emitting(server.url) as emit, working(server.url, {"work": work}):
        await emit("work")
        await aeventually(lambda: queue.result("work-1") == "later")


async def test_log_lines_and_emits_that_were_not_awaited_are_there_when_the_job_is_over(
    server: RedisServer, redis: redis_py.Redis
) -> None:
    queue = QueueView(redis)

    async with emitting(server.url) as emit:

        async def parent(job: Job[None]) -> None:
            for n in range(20):
                job.logger(f"line {n}")
            job.progress(20, 20, "all")
            run = current_run.get()
            assert run is not None
            run.track(emit("child"))

        async with working(server.url, {"parent": parent}):
            await emit("parent")
            await aeventually(lambda: queue.has_result("parent-1"))

            lines = redis.lrange(queue.keys.log("parent-1"), 0, -1)
            assert [line.split(b" ", 1)[1] for line in lines] == [b"line %d" % n for n in range(20)]
            progress = redis.hgetall(queue.keys.progress("parent-1"))
            assert (progress[b"done"], progress[b"total"]) == (b"20", b"20")
            assert queue.live("child-1") is not None


async def test_what_was_not_awaited_and_fails_fails_the_run(
    server: RedisServer, redis: redis_py.Redis
) -> None:
    async def work(job: Job[None]) -> str:
        run = current_run.get()
        assert run is not None

        async def emit_without_room() -> None:
            raise ValueError("not emitted")

        run.track(asyncio.ensure_future(emit_without_room()))
        return "done, it believes"

    letter = await letter_of(server.url, redis, work)

    assert letter["reason"] == b"failed"
    assert b"ValueError: not emitted" in letter["error"]


async def test_a_synchronous_handler_logs_from_its_thread(
    server: RedisServer, redis: redis_py.Redis
) -> None:
    queue = QueueView(redis)

    def work(job: Job[None]) -> str:
        job.logger("from a thread")
        job.progress(0.5, 1)
        with server.client() as client:
            # The call has waited until it is stored.
            return str(client.llen(queue.keys.log(job.id)))

    async with emitting(server.url) as emit, working(server.url, {"work": work}):
        await emit("work")
        await aeventually(lambda: queue.result("work-1") == "1")


async def test_synchronous_handlers_run_side_by_side_up_to_the_concurrency(
    server: RedisServer, redis: redis_py.Redis
) -> None:
    all_here = threading.Barrier(4, timeout=60.0)

    def work(job: Job[None]) -> None:
        all_here.wait()

    async with emitting(server.url) as emit:
        await asyncio.gather(*(emit("work") for _ in range(8)))
        async with working(server.url, {"work": work}, concurrency=4):
            await aeventually(lambda: QueueView(redis).stats("completed") == 8)


async def test_a_policy_that_fails_to_decide_ends_that_job_only(
    server: RedisServer, redis: redis_py.Redis, caplog: pytest.LogCaptureFixture
) -> None:
    queue = QueueView(redis)

    async def work(job: Job[None]) -> None:
        pass

    async with emitting(server.url) as emit, working(server.url, {"work": work}) as worker:
        policy = worker._parts.executor.policy  # type: ignore[union-attr]
        decide = policy.decide

        def fail_once(job: Job[Any], ended: Any) -> Any:
            policy.decide = decide
            raise RuntimeError("undecided")

        policy.decide = fail_once  # type: ignore[method-assign]
        with caplog.at_level(logging.CRITICAL + 1):
            await asyncio.gather(emit("work"), emit("work"))
            await aeventually(lambda: queue.stats("completed") == 1)

    [letter] = queue.letters()
    assert b"undecided" in letter["error"]


async def test_an_outcome_that_cannot_be_sent_ends_that_job_only(
    server: RedisServer, redis: redis_py.Redis, caplog: pytest.LogCaptureFixture
) -> None:
    queue = QueueView(redis)

    async def work(job: Job[int]) -> None:
        pass

    async with working(server.url, {"work": work}, concurrency=8) as worker:
        policy = worker._parts.executor.policy  # type: ignore[union-attr]
        decide = policy.decide
        # A lone surrogate has no UTF-8: the whole batch cannot be packed.
        policy.decide = lambda job, ended: (  # type: ignore[method-assign]
            Buried("failed", "\ud800") if job.data == 3 else decide(job, ended)
        )
        async with emitting(server.url) as emit:
            with caplog.at_level(logging.CRITICAL + 1):
                await asyncio.gather(*(emit("work", data=number) for number in range(8)))
                await aeventually(lambda: queue.stats("completed") == 7)
                await aeventually(lambda: queue.stats("dead") == 1)

    [letter] = queue.letters()
    assert letter["reason"] == b"bad_outcome"
    assert b"ud800" in letter["error"]


async def test_a_run_that_is_lost_before_its_first_step_gives_its_slot_back(
    server: RedisServer, redis: redis_py.Redis
) -> None:
    queue = QueueView(redis)
    ran: list[str] = []

    async def work(job: Job[None]) -> None:
        ran.append(job.id)

    async with emitting(server.url) as emit, working(server.url, {"work": work}) as worker:
        executor = worker._parts.executor  # type: ignore[union-attr]
        start = executor.start

        def start_and_lose(run: Run, context: Context) -> None:
            executor.start = start
            start(run, context)
            # As the lease renewer does it, when the loop was blocked before the start.
            executor.lose(run.delivery)

        executor.start = start_and_lose  # type: ignore[method-assign]
        await asyncio.gather(emit("work"), emit("work"))
        await aeventually(lambda: ran == ["work-2"])
        await aeventually(lambda: worker.running == 0)

    assert [row[2] for row in queue.pending()] == [worker.id]


async def test_a_cancellation_that_nobody_asked_for_is_a_failure_that_is_retried(
    server: RedisServer, redis: redis_py.Redis
) -> None:
    """A pool that was closed cancels the futures that its users await."""
    queue = QueueView(redis)
    attempts: list[int] = []

    async def work(job: Job[None]) -> None:
        attempts.append(job.attempt)
        shared = asyncio.get_running_loop().create_future()
        shared.cancel()
        await shared

    retry = RetryPolicy(max_retries=2, retry_delay_ms=1)
    async with emitting(server.url) as emit, working(server.url, {"work": work}, retry=retry):
        await emit("work")
        letter = await aeventually(lambda: queue.letter("work-1"), 30)

    assert attempts == [1, 2, 3]
    assert letter is not None
    assert b"CancelledError" in letter["error"]
