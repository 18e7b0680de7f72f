"""Code of the application that is no handler may raise anything: its own job ends, and no other."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from contextvars import ContextVar
from typing import Annotated, Any

import pytest
import redis as redis_py
from pydantic import AfterValidator

from consumers.consumer import Consumer
from consumers.jobs.job import Job
from processors.processor import Processor
from taskmanager import DeadLetter, TaskManager
from tests.support.engine import QueueView, emitting, working
from tests.support.servers import RedisServer
from tests.support.waiting import aeventually


class Panic(BaseException):
    """No Exception, as when a library written in Rust gives up."""


class Unprintable(Exception):
    """Its text raises as well."""

    def __str__(self) -> str:
        raise Panic("no text")

    __repr__ = __str__


# Classes: an error that is kept keeps its traceback, and with it the run.
ANYTHING = [
    KeyError, ZeroDivisionError, TypeError, StopIteration, Unprintable,
    Panic, SystemExit, KeyboardInterrupt, asyncio.CancelledError,
]  # fmt: skip
each = pytest.mark.parametrize("error", ANYTHING)


@pytest.fixture(autouse=True)
def quiet(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.CRITICAL + 1)


async def _letter(tm: TaskManager, job_id: str) -> DeadLetter:
    letter = await aeventually(lambda: tm.dlq.get(job_id), 30)
    assert letter is not None
    return letter


async def _ends_beside_others(tm: TaskManager, ran: list[Any], bad: Awaitable[Any]) -> DeadLetter:
    """Return the letter of a job that must not keep others, nor itself, from their end."""
    handle = await bad
    letter = await _letter(tm, handle.id)
    await tm.emit_many([{"event": "good", "data": number} for number in range(5)])
    await aeventually(lambda: sorted(ran) == list(range(5)), 30)
    await asyncio.wait_for(tm.until_idle(), 30)
    return letter


@each
async def test_a_validator_that_raises_anything_buries_its_own_job_only(
    make: Callable[..., TaskManager], error: type[BaseException]
) -> None:
    """The job was neither run nor settled, and its lease was renewed for ever."""
    tm, producer = make(), make()
    ran: list[int] = []

    def refuse(value: int) -> int:
        raise error

    tm.registerHandler(
        lambda job: None, event="bad", payload=Annotated[int, AfterValidator(refuse)]
    )
    tm.registerHandler(lambda job: ran.append(job.data), event="good")
    await tm.start()

    letter = await _ends_beside_others(tm, ran, producer.emit("bad", data=1))

    assert (letter.reason, letter.attempts, letter.data) == ("bad_payload", 0, 1)
    assert error.__name__ in letter.error
    # It is a job of ours, so a mended validator can have it again.
    assert await tm.dlq.replay(letter.id)


@each
async def test_a_retry_function_that_raises_anything_buries_its_own_job_only(
    make: Callable[..., TaskManager], error: type[BaseException]
) -> None:
    tm = make()
    ran: list[int] = []

    def decide(job: Job[Any], failure: BaseException) -> bool:
        raise error

    async def fail(job: Job[Any]) -> None:
        raise OSError("the handler's own")

    tm.registerHandler(fail, event="bad", retry=decide, max_retries=3)
    tm.registerHandler(lambda job: ran.append(job.data), event="good")
    await tm.start()

    letter = await _ends_beside_others(tm, ran, tm.emit("bad"))

    assert (letter.reason, letter.attempts) == ("failed", 1)
    assert "the handler's own" in letter.error
    assert error.__name__ in letter.error


@each
@pytest.mark.parametrize("method", ["handler", "prepare", "decide"])
async def test_a_policy_that_raises_anything_buries_its_own_job_only(
    server: RedisServer, redis: redis_py.Redis, method: str, error: type[BaseException]
) -> None:
    def answer(*_: Any) -> Any:
        raise error

    letter = await _letter_of_a_policy(server, redis, method, answer)

    assert letter["reason"] == b"failed"
    assert error.__name__ in letter["error"].decode()


async def test_a_policy_that_decides_nothing_buries_its_job(
    server: RedisServer, redis: redis_py.Redis
) -> None:
    letter = await _letter_of_a_policy(server, redis, "decide", lambda *_: None)

    assert letter["reason"] == b"failed"
    assert b"decide returned no outcome" in letter["error"]


async def _letter_of_a_policy(
    server: RedisServer, redis: redis_py.Redis, method: str, answer: Callable[..., Any]
) -> dict[str, bytes]:
    """Return the letter of the one job for which a method of the policy answers so."""
    queue = QueueView(redis)

    async def work(job: Job[Any]) -> None:
        pass

    async with emitting(server.url) as emit, working(server.url, {"work": work}) as worker:
        _answer_once(worker, method, answer)
        await asyncio.gather(emit("work"), emit("work"))
        await aeventually(lambda: queue.stats("completed") == queue.stats("dead") == 1, 30)
        # Nothing is renewed for ever.
        await aeventually(lambda: worker._parts.leases.all == {}, 30)  # type: ignore[union-attr]
    [letter] = queue.letters()
    return letter


def _answer_once(worker: Consumer, method: str, answer: Callable[..., Any]) -> None:
    policy = worker.policy
    assert isinstance(policy, Processor)
    usual = getattr(policy, method)

    def once(*args: Any) -> Any:
        setattr(policy, method, usual)
        return answer(*args)

    setattr(policy, method, once)


@each
@pytest.mark.parametrize("in_thread", [False, True], ids=["async", "thread"])
async def test_an_on_dead_that_raises_anything_hears_of_every_letter(
    make: Callable[..., TaskManager], in_thread: bool, error: type[BaseException]
) -> None:
    """After a CancelledError those that waited were told with the next letter only."""
    tm = make(concurrency=8)
    told: list[str] = []

    def tell(letter: DeadLetter) -> None:
        told.append(letter.id)
        raise error

    async def tell_on_the_loop(letter: DeadLetter) -> None:
        tell(letter)

    async def fail(job: Job[Any]) -> None:
        raise OSError("no")

    tm.on_dead(tell if in_thread else tell_on_the_loop)
    tm.registerHandler(fail, event="bad")
    handles = await tm.emit_many([{"event": "bad", "data": number} for number in range(5)])
    await tm.start()

    await aeventually(lambda: sorted(told) == sorted(it.id for it in handles), 30)


async def test_an_on_dead_sees_no_context_variable_that_an_earlier_one_set(
    make: Callable[..., TaskManager],
) -> None:
    tm = make(concurrency=8)
    trace: ContextVar[str] = ContextVar("trace", default="none")
    seen: list[str] = []

    @tm.on_dead
    async def tell(letter: DeadLetter) -> None:
        seen.append(trace.get())
        trace.set(letter.id)

    @tm.registerHandler(event="bad")
    async def fail(job: Job[Any]) -> None:
        raise OSError("no")

    await tm.emit_many([{"event": "bad", "data": number} for number in range(5)])
    await tm.start()

    await aeventually(lambda: seen == ["none"] * 5, 30)


async def test_an_on_dead_is_called_while_the_application_blocks_the_default_executor(
    make: Callable[..., TaskManager],
) -> None:
    tm = make()
    told: list[str] = []
    blocked = threading.Event()

    @tm.on_dead
    def tell(letter: DeadLetter) -> None:
        told.append(letter.id)

    @tm.registerHandler(event="bad")
    async def fail(job: Job[Any]) -> None:
        raise OSError("no")

    with ThreadPoolExecutor(1) as executor:
        asyncio.get_running_loop().set_default_executor(executor)
        try:
            blocking = asyncio.ensure_future(asyncio.to_thread(blocked.wait))
            handle = await tm.emit("bad")
            await tm.start()

            await aeventually(lambda: told == [handle.id])
            assert not blocking.done()
        finally:
            blocked.set()
        await blocking


async def test_an_on_dead_that_hangs_does_not_keep_a_later_worker_from_telling(
    make: Callable[..., TaskManager], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("taskmanager.handlers.alerts.PATIENCE", 0.1)
    tm = make()
    told: list[str] = []
    hanging = threading.Event()

    @tm.on_dead
    def tell(letter: DeadLetter) -> None:
        told.append(letter.id)
        if len(told) == 1:
            hanging.wait()

    @tm.registerHandler(event="bad")
    async def fail(job: Job[Any]) -> None:
        raise OSError("no")

    try:
        for number in (1, 2):
            handle = await tm.emit("bad", data=number)
            await tm.start()
            await aeventually(lambda: len(told) == number)  # noqa: B023
            assert told[-1] == handle.id
            await tm.stop()
    finally:
        hanging.set()
