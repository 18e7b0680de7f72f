"""What becomes of jobs, on a real Redis: retries, delays, timeouts, dead letters, results."""

from __future__ import annotations

import asyncio
import sys
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any

import pytest
import redis as redis_py
from pydantic import BaseModel

from consumers.store.keys import Keys
from taskmanager import (
    Context,
    DeadLetter,
    Discard,
    InvalidPayload,
    Job,
    JobCancelled,
    JobFailed,
    JobNotFound,
    NotReplayable,
    RedisUnavailable,
    ResultExpired,
    ResultTimeout,
    Retry,
    RetryPolicy,
    Snooze,
    TaskManager,
    WorkerBroken,
)
from tests.support.servers import RedisServer
from tests.support.waiting import PATIENCE, aeventually

KEYS = Keys("default")
FAST = {"retry": {"max_retries": 2, "retry_delay_ms": 20}}


class Order(BaseModel):
    amount: int


# Retries


async def test_a_failing_job_is_tried_again_after_its_backoff(
    make: Callable[..., TaskManager],
) -> None:
    tm = make()
    started: list[float] = []

    @tm.registerHandler(event="flaky", max_retries=3, retry_delay_ms=100)
    async def flaky(job: Job[Any]) -> int:
        started.append(time.monotonic())
        if job.attempt < 3:
            raise OSError("not yet")
        return job.attempt

    await tm.start()
    handle = await tm.emit("flaky")

    assert await handle.result(timeout=PATIENCE) == 3
    first, second = started[1] - started[0], started[2] - started[1]
    assert first >= 0.099
    assert second >= 0.199
    assert (await tm.stats()).retried_total == 2


async def test_a_job_without_any_policy_is_not_retried(tm: TaskManager) -> None:
    @tm.registerHandler(event="fails")
    def fails(job: Job[Any]) -> None:
        raise OSError("once")

    await tm.start()
    handle = await tm.emit("fails")

    with pytest.raises(JobFailed, match=r"failed permanently \(failed\): OSError: once") as caught:
        await handle.result(timeout=PATIENCE)
    assert caught.value.letter is not None
    assert caught.value.letter.attempts == 1


async def test_a_job_out_of_retries_is_a_dead_letter_with_its_history(
    make: Callable[..., TaskManager],
) -> None:
    tm = make(processor=FAST)

    @tm.registerHandler(event="fails")
    async def fails(job: Job[Any]) -> None:
        raise OSError(
            f"attempt {job.attempt} of {job.max_retries + 1}, last: {job.is_last_attempt}"
        )

    await tm.start()
    handle = await tm.emit("fails", data={"n": 1}, id="7")
    with pytest.raises(JobFailed):
        await handle.result(timeout=PATIENCE)

    (letter,) = await tm.dlq.list()
    assert (letter.id, letter.event, letter.data, letter.reason) == (
        "7",
        "fails",
        {"n": 1},
        "failed",
    )
    assert (letter.attempts, letter.deliveries, letter.run) == (3, 3, handle.run)
    assert [it["error"].partition(": ")[2] for it in letter.errors] == [
        "attempt 1 of 3, last: False",
        "attempt 2 of 3, last: False",
        "attempt 3 of 3, last: True",
    ]
    assert "Traceback" in letter.error
    assert letter.died_at > datetime.now(UTC) - timedelta(minutes=1)
    assert await tm.dlq.get("7") == letter


async def test_while_it_waits_for_its_retry_a_job_can_be_read(tm: TaskManager) -> None:
    @tm.registerHandler(event="fails", max_retries=1, retry_delay_ms=30_000)
    async def fails(job: Job[Any]) -> None:
        raise OSError("disk full")

    await tm.start()
    handle = await tm.emit("fails", correlation_id="c", data=[1])
    await aeventually(lambda: _has_status(handle, "retrying"))
    await tm.drain()

    info = await tm.get_job(handle.id)
    assert info is not None
    assert (info.event, info.data, info.attempts, info.run) == ("fails", [1], 1, handle.run)
    assert info.due_at is not None
    assert info.due_at > datetime.now(UTC) + timedelta(seconds=20)
    assert info.options == {"correlation_id": "c"}
    assert [it["error"] for it in info.errors] == ["OSError: disk full"]
    assert (await tm.stats()).delayed == 1


async def _has_status(handle: Any, status: str) -> bool:
    return bool(await handle.status() == status)


async def test_signals_end_a_run_without_being_faults(tm: TaskManager) -> None:
    seen: list[tuple[str, int, int]] = []

    @tm.registerHandler(event="retry", max_retries=1)
    async def retry(job: Job[Any]) -> str:
        seen.append(("retry", job.attempt, job.delivery))
        if job.attempt == 1:
            raise Retry(delay=0.01)
        return "retried"

    @tm.registerHandler(event="snooze")
    def snooze(job: Job[Any]) -> str:
        seen.append(("snooze", job.attempt, job.delivery))
        if job.delivery < 3:
            raise Snooze(0.01)
        return "awake"

    @tm.registerHandler(event="discard", max_retries=5)
    async def discard(job: Job[Any]) -> None:
        raise Discard("too old")

    await tm.start()
    handles = [await tm.emit(event) for event in ("retry", "snooze", "discard")]

    assert await handles[0].result(timeout=PATIENCE) == "retried"
    assert await handles[1].result(timeout=PATIENCE) == "awake"
    with pytest.raises(JobCancelled, match="was cancelled: too old"):
        await handles[2].result(timeout=PATIENCE)
    assert sorted(seen) == [
        ("retry", 1, 1), ("retry", 2, 2),
        ("snooze", 1, 1), ("snooze", 1, 2), ("snooze", 1, 3),
    ]  # fmt: skip
    assert await tm.dlq.list() == []


async def test_a_policy_of_the_handler_decides_by_the_error(tm: TaskManager) -> None:
    policy = RetryPolicy(max_retries=5, retry_delay_ms=1, never_on=(ValueError,))
    runs: list[str] = []

    @tm.registerHandler(event="fails", retry=policy)
    async def fails(job: Job[str]) -> None:
        runs.append(job.data)
        raise ValueError("for ever") if job.attempt == 2 else OSError("once")

    await tm.start()
    handle = await tm.emit("fails", data="x")

    with pytest.raises(JobFailed, match="ValueError"):
        await handle.result(timeout=PATIENCE)
    assert len(runs) == 2


# Delays


async def test_a_delayed_job_is_never_early(tm: TaskManager, redis: redis_py.Redis) -> None:
    ran: dict[str, float] = {}

    def redis_ms() -> float:
        seconds, micros = redis.time()  # type: ignore[misc]
        return float(seconds) * 1000 + float(micros) / 1000

    @tm.registerHandler(event="later")
    def later(job: Job[Any]) -> None:
        ran[job.id] = redis_ms()

    await tm.start()
    asked = redis_ms()
    until = datetime.now(UTC) + timedelta(seconds=0.4)
    await tm.emit("later", id="delay", delay=0.3)
    await tm.emit("later", id="nearer", delay=timedelta(milliseconds=100))
    await tm.emit("later", id="until", delay_until=until)
    await tm.emit("later", id="past", delay_until=until - timedelta(days=1))
    await aeventually(lambda: len(ran) == 4)

    assert asked + 300 <= ran["delay"]
    assert asked + 100 <= ran["nearer"]
    assert until.timestamp() * 1000 <= ran["until"]


async def test_a_delayed_job_can_be_found_and_is_not_emitted_twice(tm: TaskManager) -> None:
    handle = await tm.emit("later", id="7", delay=60)
    again = await tm.emit("later", id="7")

    assert (again.created, again.run) == (False, handle.run)
    assert await handle.status() == "delayed"
    assert (await tm.stats()).delayed == 1
    await tm.drain()


# Timeouts and expiry


@pytest.mark.parametrize("kind", ["async", "sync"])
async def test_a_run_that_takes_too_long_fails(tm: TaskManager, kind: str) -> None:
    released = threading.Event()

    @tm.registerHandler(event="async", timeout=0.2)
    async def asynchronous(job: Job[Any]) -> None:
        await asyncio.Event().wait()

    @tm.registerHandler(event="sync", timeout=30)
    def synchronous(job: Job[Any]) -> None:
        released.wait(PATIENCE)

    await tm.start()
    handle = await tm.emit(kind, options={"timeout": 0.2} if kind == "sync" else None)

    try:
        with pytest.raises(JobFailed, match=r"ran longer than its timeout of 0.2 s"):
            await handle.result(timeout=PATIENCE)
    finally:
        released.set()


async def test_a_run_that_timed_out_is_retried(tm: TaskManager) -> None:
    @tm.registerHandler(event="slow", timeout=0.1, max_retries=1, retry_delay_ms=1)
    async def slow(job: Job[Any]) -> str:
        if job.attempt == 1:
            await asyncio.Event().wait()
        return job.errors[0]["error"].partition(":")[0]

    await tm.start()

    assert await (await tm.emit("slow")).result(timeout=PATIENCE) == "JobTimeout"


@pytest.mark.parametrize("how", ["seconds", "moment"])
async def test_a_job_that_has_not_started_in_time_is_cancelled(tm: TaskManager, how: str) -> None:
    ran: list[str] = []
    tm.registerHandler(lambda job: ran.append(job.id), event="late")
    expires: Any = 0.05 if how == "seconds" else datetime.now(UTC) + timedelta(seconds=0.05)
    handle = await tm.emit("late", expires=expires)
    await asyncio.sleep(0.1)  # the time that passes is what is tested

    await tm.start()

    with pytest.raises(JobCancelled, match="was cancelled: expired"):
        await handle.result(timeout=PATIENCE)
    assert await handle.status() == "cancelled"
    assert ran == []


# Payloads


async def test_a_typed_payload_is_what_the_handler_gets(tm: TaskManager) -> None:
    @tm.registerHandler(event="order")
    async def order(job: Job[Order]) -> int:
        return job.data.amount + 1

    await tm.start()

    assert await (await tm.emit("order", data={"amount": 3})).result(timeout=PATIENCE) == 4
    assert await (await tm.emit("order", data=Order(amount=4))).result(timeout=PATIENCE) == 5
    with pytest.raises(InvalidPayload):
        tm.emit("order", data={"amount": "many"})


async def test_a_payload_that_does_not_validate_is_buried(make: Callable[..., TaskManager]) -> None:
    tm, producer = make(processor=FAST), make()
    tm.registerHandler(lambda job: None, event="order", payload=Order)
    await tm.start()
    handle = await producer.emit("order", data={"amount": "many"})

    with pytest.raises(JobFailed, match="bad_payload") as caught:
        await handle.result(timeout=PATIENCE)
    letter = caught.value.letter
    assert letter is not None
    assert (letter.reason, letter.attempts, letter.data) == ("bad_payload", 0, {"amount": "many"})
    assert "amount" in letter.error


# Results


async def test_a_result_is_waited_for_or_read_later(tm: TaskManager) -> None:
    go = asyncio.Event()

    @tm.registerHandler(event="a")
    async def handle_a(job: Job[Any]) -> Any:
        await go.wait()
        return job.data

    await tm.start()
    handle = await tm.emit("a", data={"n": [1, "two words", None]})
    with pytest.raises(ResultTimeout, match=r"did not end within 0.1 s"):
        await handle.result(timeout=0.1)
    assert await handle.status() == "running"
    waiting = [asyncio.create_task(handle.result()) for _ in range(50)]
    go.set()

    expected = {"n": [1, "two words", None]}
    assert await asyncio.gather(*waiting) == [expected] * 50
    assert await handle.result(timeout=PATIENCE) == expected
    assert await tm.handle(handle.id).result(timeout=PATIENCE) == expected
    assert await handle.status() == "completed"
    assert await (await tm.emit("a", data=None)).result(timeout=PATIENCE) is None


async def test_a_handle_by_id_waits_for_the_live_job(tm: TaskManager) -> None:
    tm.registerHandler(lambda job: job.data, event="a")
    await tm.emit("a", id="7", data=1, delay=0.1)
    waiting = asyncio.create_task(tm.handle("7").result(timeout=PATIENCE))
    await tm.start()

    assert await waiting == 1


async def test_a_second_run_never_gets_the_first_ones_result(tm: TaskManager) -> None:
    tm.registerHandler(lambda job: job.data, event="a")
    await tm.start()
    first = await tm.emit("a", id="7", data="first")
    assert await first.result(timeout=PATIENCE) == "first"

    second = await tm.emit("a", id="7", data="second", delay=0.1)
    assert await first.result(timeout=PATIENCE) == "first"
    assert await second.result(timeout=PATIENCE) == "second"
    with pytest.raises(ResultExpired):
        await first.result()
    assert (await first.status(), await second.status()) == ("unknown", "completed")


async def test_equal_ids_in_two_queues_do_not_share_their_ends(tm: TaskManager) -> None:
    tm.registerHandler(lambda job: job.queue, event="a", queue="one")
    tm.registerHandler(lambda job: job.queue, event="a", queue="two")
    one = await tm.emit("a", queue="one", id="7", delay=0.2)
    two = await tm.emit("a", queue="two", id="7", delay=0.3)
    assert one.run == two.run
    waiting = [asyncio.create_task(it.result(timeout=PATIENCE)) for it in (two, one)]
    await tm.start()

    assert await asyncio.gather(*waiting) == ["two", "one"]


async def test_the_result_of_a_job_long_gone_is_an_error_at_once(
    make: Callable[..., TaskManager],
) -> None:
    tm = make(result_ttl=0)
    tm.registerHandler(lambda job: 1, event="a")
    await tm.start()
    handle = await tm.emit("a")
    await tm.drain()

    for gone, error in ((handle, ResultExpired), (tm.handle("never-there"), JobNotFound)):
        for ask in (gone.result, gone.info):
            with pytest.raises(error, match="result_ttl"):
                await ask()
    assert await tm.get_job(handle.id) is None


async def test_waiting_costs_no_polling(tm: TaskManager, redis: redis_py.Redis) -> None:
    handle = await tm.emit("nobody-handles-this")
    waiting = [asyncio.create_task(handle.result()) for _ in range(1000)]
    counts: list[int] = []

    def is_quiet() -> bool:
        info: Any = redis.info("commandstats")
        counts.append(sum(info[f"cmdstat_{it}"]["calls"] for it in ("eval", "evalsha")))
        return len(counts) > 20 and counts[-1] > 1000 and counts[-1] == counts[-20]

    await aeventually(is_quiet)
    before = counts[-1]
    await asyncio.sleep(1.0)  # the quiet second is what is tested
    is_quiet()

    assert counts[-1] == before
    for it in waiting:
        it.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)


async def test_logs_and_progress_can_be_read(tm: TaskManager, redis: redis_py.Redis) -> None:
    @tm.registerHandler(event="a")
    async def handle_a(job: Job[Any]) -> None:
        await job.logger("one two")
        await job.logger({"n": 1})
        await job.progress(3, 4, "nearly")

    before = datetime.fromtimestamp(int(redis.time()[0]), UTC)
    await tm.start()
    handle = await tm.emit("a")
    await handle.result(timeout=PATIENCE)

    lines = await handle.logs()
    assert [line.message for line in lines] == ["one two", '{"n":1}']
    assert before <= lines[0].at <= lines[1].at
    progress = await handle.progress()
    assert progress is not None
    assert (progress.done, progress.total, progress.note) == (3.0, 4.0, "nearly")
    assert await tm.handle("other").progress() is None


async def test_reading_says_when_redis_is_away(tm: TaskManager, server: RedisServer) -> None:
    handle = await tm.emit("a")
    server.kill()

    with pytest.raises(RedisUnavailable):
        await handle.status()
    with pytest.raises(RedisUnavailable):
        await tm.stats()
    with pytest.raises(RedisUnavailable):
        await tm.dlq.list()


def test_a_script_reads_by_blocking(server: RedisServer) -> None:
    tm = TaskManager(server.url, processor=FAST)

    @tm.registerHandler(event="a")
    def handle_a(job: Job[int]) -> int:
        job.logger("ran")
        return 7 // job.data

    async def work(stopping: asyncio.Event) -> None:
        await tm.start()
        await stopping.wait()
        await tm.stop()

    with OnAThread(work):
        handle = tm.emit_sync("a", data=7)
        assert handle.result(timeout=PATIENCE) == 1
        assert handle.status() == handle.info().state == "completed"
        assert [line.message for line in handle.logs()] == ["ran"]
        assert tm.sync.handle(handle.id) is not handle
        assert tm.sync.handle(handle.id).result(timeout=PATIENCE) == 1
        with pytest.raises(JobFailed, match="ZeroDivisionError"):
            tm.sync.emit("a", data=0, id="zero").result(timeout=PATIENCE)
        info = tm.sync.get_job("zero")
        assert info is not None
        assert info.state == "dead"
        assert [it.id for it in tm.sync.dlq.list()] == ["zero"]
        assert tm.sync.dlq.replay("zero").created
        tm.sync.drain()
        assert tm.sync.stats().completed_total == 1
        assert tm.sync.dlq.purge() in (0, 1)
        with pytest.raises(JobNotFound):
            tm.sync.handle("never").info()


class OnAThread:
    """Run a coroutine function, given an event that ends it, on a loop in a thread."""

    def __init__(self, work: Callable[[asyncio.Event], Any]) -> None:
        self._work = work
        self._started = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._main()))

    def __enter__(self) -> None:
        self._thread.start()
        self._started.wait(PATIENCE)

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._stopping.set)
        self._thread.join(PATIENCE)

    async def _main(self) -> None:
        self._loop, self._stopping = asyncio.get_running_loop(), asyncio.Event()
        self._started.set()
        await self._work(self._stopping)


# Dead letters


async def test_a_replay_is_idempotent_and_starts_anew(make: Callable[..., TaskManager]) -> None:
    tm = make(processor=FAST)
    broken = True
    attempts: list[int] = []

    @tm.registerHandler(event="a")
    async def handle_a(job: Job[Any]) -> str:
        attempts.append(job.attempt)
        if broken:
            raise OSError("broken")
        return f"mended {job.data}"

    await tm.start()
    first = await tm.emit("a", id="7", data=1)
    with pytest.raises(JobFailed):
        await first.result(timeout=PATIENCE)
    await tm.stop()
    broken = False
    second, again = await asyncio.gather(tm.dlq.replay("7"), tm.dlq.replay("7"))
    await tm.start()

    assert sorted([bool(second.created), bool(again.created)]) == [False, True]
    assert second.run == again.run
    assert second.run != first.run
    assert await second.result(timeout=PATIENCE) == "mended 1"
    assert attempts == [1, 2, 3, 1]
    assert await tm.dlq.list() == []
    with pytest.raises(NotReplayable, match="it has no dead letter"):
        await tm.dlq.replay("7")


class Clock:
    """Time that passes only where somebody sleeps; stands in for time and asyncio of a module."""

    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.now += seconds


async def test_replay_all_brings_back_what_there_is_at_a_rate(
    make: Callable[..., TaskManager], monkeypatch: pytest.MonkeyPatch
) -> None:
    tm, clock = make(), Clock()
    for module in ("time", "asyncio"):
        monkeypatch.setattr(f"taskmanager.admin.dlq.{module}", clock)

    @tm.registerHandler(event="a")
    async def handle_a(job: Job[Any]) -> None:
        raise OSError("still broken")

    await tm.start()
    await tm.emit_many([{"event": "a", "data": n} for n in range(30)])
    await tm.drain()
    told: list[tuple[int, int]] = []
    done = await tm.dlq.replay_all(rate=60, progress=lambda n, of: told.append((n, of)))
    await tm.drain()

    assert done == (30, 0)
    assert clock.now == pytest.approx(30 / 60)
    assert told == [(6 * n, 30) for n in range(1, 6)]
    assert (await tm.stats()).dead == 30
    assert (await tm.stats()).failed_total == 60


async def test_purge_deletes_what_is_old_enough(tm: TaskManager) -> None:
    @tm.registerHandler(event="a")
    async def handle_a(job: Job[Any]) -> None:
        raise OSError

    await tm.start()
    await tm.emit_many([{"event": "a", "data": n} for n in range(3)])
    await tm.drain()

    assert await tm.dlq.purge(older_than=timedelta(hours=1)) == 0
    assert await tm.dlq.purge() == 3
    assert await tm.dlq.list() == []


async def test_dead_letters_are_bounded_or_not_kept(make: Callable[..., TaskManager]) -> None:
    kept = make(processor={"dlq": {"max_len": 2}})
    dropped = make(processor={"dlq": {"enabled": False}}, namespace="other")
    for tm in (kept, dropped):
        tm.registerHandler(lambda job: 1 // 0, event="a")
        await tm.start()
        handles = await tm.emit_many([{"event": "a", "data": n} for n in range(5)])
        await tm.drain()
        with pytest.raises(JobFailed):
            await handles[-1].result()

    assert len(await kept.dlq.list()) == 2
    assert await dropped.dlq.list() == []
    assert (await dropped.stats()).failed_total == 5


async def test_on_dead_is_told_in_the_worker(
    make: Callable[..., TaskManager], caplog: pytest.LogCaptureFixture
) -> None:
    tm = make(processor=FAST)
    told: list[tuple[str, DeadLetter]] = []

    @tm.on_dead
    async def asynchronous(letter: DeadLetter) -> None:
        told.append(("async", letter))

    @tm.on_dead
    def breaks(letter: DeadLetter) -> None:
        raise StopIteration

    @tm.on_dead
    def synchronous(letter: DeadLetter) -> None:
        told.append((threading.current_thread().name, letter))

    @tm.registerHandler(event="a")
    async def handle_a(job: Job[Any]) -> None:
        raise OSError("broken")

    await tm.start()
    handle = await tm.emit("a", data=[1])
    with pytest.raises(JobFailed) as caught:
        await handle.result(timeout=PATIENCE)
    await tm.stop()

    assert caught.value.letter is not None
    assert [who == "async" for who, _ in told] == [True, False]
    for _, letter in told:
        assert (letter.id, letter.data, letter.reason) == (handle.id, [1], "failed")
        assert (letter.attempts, letter.deliveries) == (3, 3)
        assert letter.errors == caught.value.letter.errors
    assert told[1][0] != threading.current_thread().name
    assert "an on_dead callback failed" in caplog.text
    assert "a failed permanently: OSError: broken" in caplog.text


# Children, middleware, modules


async def test_a_child_for_another_queue_is_committed_with_its_parent(
    tm: TaskManager, redis: redis_py.Redis
) -> None:
    ran: list[Any] = []

    @tm.registerHandler(event="parent", queue="one", max_retries=1, retry_delay_ms=1)
    async def parent(job: Job[Any], ctx: Context) -> None:
        for n in range(3):
            ctx.emit("child", queue="two", data=[job.data, n], on_success=True)
        if job.attempt == 1:
            raise OSError("its children do not exist")

    @tm.registerHandler(event="child", queue="two")
    async def child(job: Job[Any]) -> None:
        ran.append(job.data)

    await tm.start()
    await tm.emit_many([{"event": "parent", "queue": "one", "data": n} for n in range(5)])
    await tm.drain("one")
    await aeventually(lambda: len(ran) == 15)
    await tm.drain("two")

    assert sorted(ran) == [[parent, n] for parent in range(5) for n in range(3)]
    assert redis.xlen(Keys("one").outbox) == 0
    assert (await tm.stats("two")).completed_total == 15


@pytest.mark.parametrize("kind", ["async", "sync"])
async def test_middleware_is_around_the_handler_the_first_outermost(
    make: Callable[..., TaskManager], kind: str
) -> None:
    tm = make(ctx={"name": "ctx"})
    seen: list[str] = []

    @tm.middleware
    async def outer(job: Job[Any], ctx: Context, call_next: Any) -> Any:
        seen.append(f"outer {ctx.name}")
        try:
            return await call_next()
        except LookupError:
            raise Discard("not found") from None
        finally:
            seen.append("outer ends")

    @tm.middleware
    async def inner(job: Job[Any], ctx: Context, call_next: Any) -> Any:
        seen.append("inner")
        return [await call_next()]

    @tm.registerHandler(event="async")
    async def asynchronous(job: Job[Any]) -> int:
        return _look_up(job)

    @tm.registerHandler(event="sync")
    def synchronous(job: Job[Any], ctx: Context) -> int:
        job.logger("from a thread")
        return _look_up(job)

    def _look_up(job: Job[Any]) -> int:
        seen.append("handler")
        if job.data == "missing":
            raise LookupError
        return 7

    await tm.start()

    assert await (await tm.emit(kind)).result(timeout=PATIENCE) == [7]
    with pytest.raises(JobCancelled, match="not found"):
        await (await tm.emit(kind, data="missing")).result(timeout=PATIENCE)
    assert seen == ["outer ctx", "inner", "handler", "outer ends"] * 2


async def test_included_modules_are_imported_at_the_start(
    make: Callable[..., TaskManager], tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "shop_jobs_included.py").write_text(
        "from taskmanager import TaskManager\n"
        "tm = TaskManager.init()\n"
        "tm.registerHandler(lambda job: 'included', event='a')\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    tm = make(include=["shop_jobs_included"])
    monkeypatch.delitem(sys.modules, "shop_jobs_included", raising=False)
    monkeypatch.setattr(TaskManager, "_singleton", tm)
    monkeypatch.setattr(TaskManager, "_singleton_options", {})
    assert tm.handlers == []
    await tm.start()

    assert tm.handlers == [("default", "a")]
    assert await (await tm.emit("a")).result(timeout=PATIENCE) == "included"


async def test_run_ends_with_an_error_when_too_many_threads_do_not_end(
    make: Callable[..., TaskManager],
) -> None:
    tm = make(concurrency=12, shutdown_timeout=1.0)
    may_end = threading.Event()

    @tm.registerHandler(event="endless", timeout=0.05)
    def endless(job: Job[dict[str, int]]) -> None:
        may_end.wait(240)

    running = asyncio.create_task(tm.run())
    try:
        # More than eight: one whose time is up before its thread begins leaves none behind.
        for number in count():
            await tm.emit("endless", data={"n": number})
            ended, _ = await asyncio.wait({running}, timeout=0.1)
            if ended:
                break
        with pytest.raises(WorkerBroken, match="runs continue after their timeout"):
            await running
    finally:
        may_end.set()


async def test_a_reason_of_any_type_ends_its_job_alone(tm: TaskManager) -> None:
    @tm.registerHandler(event="odd")
    async def odd(job: Job[dict[str, int]]) -> None:
        raise Discard(ValueError("no such order"))  # type: ignore[arg-type]

    @tm.registerHandler(event="fine")
    async def fine(job: Job[dict[str, int]]) -> int:
        return 1

    await tm.start()
    first, second = await tm.emit("odd"), await tm.emit("fine")

    with pytest.raises(JobCancelled, match="no such order"):
        await first.result(timeout=PATIENCE)
    assert await second.result(timeout=PATIENCE) == 1


async def test_a_policy_function_that_raises_keeps_the_handlers_error(tm: TaskManager) -> None:
    def policy(job: Job[Any], error: BaseException) -> bool:
        raise LookupError("no policy today")

    @tm.registerHandler(event="fails", retry=policy)
    async def fails(job: Job[dict[str, int]]) -> None:
        raise ValueError("the cause")

    await tm.start()
    handle = await tm.emit("fails")
    with pytest.raises(JobFailed) as caught:
        await handle.result(timeout=PATIENCE)

    letter = caught.value.letter
    assert "the cause" in letter.error
    assert "no policy today" in letter.error
    assert "the cause" in letter.errors[-1]["error"]


async def test_why_a_job_was_put_off_is_told_until_it_fails(tm: TaskManager) -> None:
    @tm.registerHandler(event="x", max_retries=1, retry_delay_ms=60_000)
    async def handler(job: Job[Any]) -> None:
        if job.delivery == 1:
            raise Snooze(1, "the shop\nis closed")
        assert (job.errors, job.put_off_reason) == ([], "the shop is closed")
        assert (await tm.handle(job.id).info()).reason is None
        raise ValueError("sold out")

    handle = await tm.emit("x", data={"n": 1})
    await tm.pause()
    await tm.start()
    await tm.resume()
    seen = set()
    while not (info := await handle.info()).errors:
        seen.add(info.reason)
        await asyncio.sleep(0.005)

    assert "the shop is closed" in seen
    assert (info.reason, info.errors[0]["error"]) == (None, "ValueError: sold out")


async def test_a_job_that_is_put_off_tells_its_priority_and_partition(tm: TaskManager) -> None:
    handle = await tm.emit("x", delay=60, priority=7, partition="big")

    info = await handle.info()

    assert (info.state, info.priority, info.partition) == ("delayed", 7, "big")
