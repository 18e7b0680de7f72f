"""What is known of a job that has ended: its times, attempts, workers and errors, real Redis."""

from __future__ import annotations

import asyncio
import json
import math
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from typing import Any, get_args

import pytest
import redis as redis_py

from consumers.admin import inspector
from consumers.admin.facts import State, end_of
from consumers.jobs.names import worker_of
from taskmanager import (
    Discard,
    InvalidOption,
    Job,
    JobCancelled,
    JobFailed,
    JobInfo,
    JobNotFound,
    JobState,
    ResultExpired,
    ResultTimeout,
    Snooze,
    TaskManager,
)
from tests.support.facade import KEYS
from tests.support.servers import RedisServer
from tests.support.waiting import PATIENCE, aeventually

Make = Callable[..., TaskManager]
# The longest that a clock that was read for a test and Redis' own may be apart.
APART = timedelta(seconds=2)


@pytest.fixture(params=["one Redis", "db and streamdb"])
async def anywhere(
    request: pytest.FixtureRequest, make: Make, server: RedisServer
) -> AsyncIterator[TaskManager]:
    """A task manager whose ends are where its queues are, or in another Redis."""
    if request.param == "one Redis":
        yield make()
        return
    other = server.url.removesuffix("/0") + "/1"
    yield make(redis=None, db=other, streamdb=server.url)
    with redis_py.Redis.from_url(other) as kept:
        kept.flushdb()


def check_times(info: JobInfo, since: datetime) -> None:
    """See that a job was created, began and ended in that order, and lately."""
    times = [info.created_at, info.started_at, info.last_started_at, info.finished_at]
    known = [it for it in times if it is not None]
    assert len(known) == len(times), info
    assert since - APART <= known[0] <= known[1] <= known[2] <= known[3] + APART, info
    assert known[3] <= datetime.now(UTC) + APART, info


async def test_what_a_completed_job_was_is_kept_through_failures_and_snoozes(
    anywhere: TaskManager,
) -> None:
    tm, since, starts = anywhere, datetime.now(UTC), list[datetime | None]()

    @tm.registerHandler(event="greet", max_retries=2, retry_delay_ms=30, keep_data=True)
    async def greet(job: Job[Any]) -> str:
        starts.append(job.started_at)
        if len(starts) == 1:
            raise Snooze(0.03)
        if len(starts) == 2:
            raise ValueError("not yet")
        return "hello"

    await tm.start()
    handle = await tm.emit("greet", data={"name": "Ada L"})
    assert await handle.result(timeout=PATIENCE) == "hello"
    info = await handle.info()

    assert (info.state, info.event, info.result) == (JobState.COMPLETED, "greet", "hello")
    assert (info.attempts, info.data, info.run) == (2, {"name": "Ada L"}, handle.run)
    check_times(info, since)
    assert (info.started_at, info.last_started_at) == (starts[0], starts[2])
    assert (info.error_type, info.worker) == ("builtins.ValueError", worker_of(tm_id(tm)))
    assert info.workers == [info.worker] * 2
    (error,) = info.errors
    assert (error["error"], error["attempt"]) == ("ValueError: not yet", 1)
    assert starts[1] == datetime.fromtimestamp(error["started"] / 1000, UTC)
    assert await tm.get_job(handle.id) == info


async def test_what_a_dead_job_was_is_in_its_letter_and_beside_its_end(
    anywhere: TaskManager,
) -> None:
    tm, since = anywhere, datetime.now(UTC)

    class Broken(Exception): ...

    @tm.registerHandler(event="fails", max_retries=1, retry_delay_ms=10)
    def fails(job: Job[Any]) -> None:
        raise KeyError("first") if job.attempt == 1 else Broken("second")

    await tm.start()
    handle = await tm.emit("fails", data=[1])
    with pytest.raises(JobFailed) as caught:
        await handle.result(timeout=PATIENCE)
    info = await handle.info()
    await tm.dlq.purge()
    without_letter = await handle.info()

    letter, worker = caught.value.letter, worker_of(tm_id(tm))
    assert letter is not None
    assert letter == info.letter
    assert [it["type"] for it in letter.errors] == ["builtins.KeyError", type_in_tests(Broken)]
    for known in (info, without_letter):
        check_times(known, since)
        assert (known.state, known.event, known.attempts) == (JobState.DEAD, "fails", 2)
        assert (known.error_type, known.worker) == (type_in_tests(Broken), worker)
        assert known.started_at == letter.started_at
        assert known.created_at == letter.created_at
    assert (info.workers, info.data, len(info.errors)) == ([worker] * 2, [1], 2)
    assert (without_letter.workers, without_letter.data) == ([worker], None)
    assert without_letter.letter is None


async def test_a_dead_job_whose_end_is_not_kept_is_known_by_its_letter(make: Make) -> None:
    tm, since = make(result_ttl=0), datetime.now(UTC)
    tm.registerHandler(lambda job: 1 // 0, event="fails")
    await tm.start()
    handle = await tm.emit("fails")
    await tm.drain()

    info = await handle.info()
    check_times(info, since)
    assert (info.state, info.event, info.attempts) == (JobState.DEAD, "fails", 1)
    assert (info.error_type, info.workers) == ("builtins.ZeroDivisionError", [info.worker])


async def test_what_a_cancelled_job_was_is_kept_wherever_it_was(anywhere: TaskManager) -> None:
    tm, since, runs = anywhere, datetime.now(UTC), asyncio.Event()

    @tm.registerHandler(event="work", max_retries=1, retry_delay_ms=3_600_000, keep_data=True)
    async def work(job: Job[Any]) -> None:
        if job.data == "fails":
            raise OSError("no")
        if job.data == "discards":
            raise Discard("not wanted")
        runs.set()
        await asyncio.sleep(PATIENCE)

    waits = await tm.emit("waits", data=1)
    await waits.cancel()
    await tm.start()
    retried, discarded = await tm.emit("work", data="fails"), await tm.emit("work", data="discards")
    running = await tm.emit("work", data="runs")
    await aeventually(lambda: has_state(retried, JobState.RETRYING))
    await asyncio.wait_for(runs.wait(), PATIENCE)
    for handle in (retried, running):
        assert await handle.cancel()
    for handle in (discarded, running):
        with pytest.raises(JobCancelled):
            await handle.result(timeout=PATIENCE)

    info = await waits.info()
    assert (info.state, info.event, info.attempts, info.workers) == ("cancelled", "waits", 0, [])
    assert (info.started_at, info.last_started_at, info.worker) == (None, None, None)
    assert info.created_at is not None
    assert info.finished_at is not None
    assert since - APART <= info.created_at <= info.finished_at
    worker = worker_of(tm_id(tm))
    for handle, reason, errors in (
        (retried, "cancelled", ["builtins.OSError"]),
        (discarded, "not wanted", []),
        (running, "cancelled", []),
    ):
        info = await handle.info()
        check_times(info, since)
        assert (info.state, info.reason, info.attempts) == ("cancelled", reason, 1), info
        assert [it["type"] for it in info.errors] == errors
        assert info.workers == [worker]
    assert (await discarded.info()).data == "discards"


async def test_what_is_running_or_waits_is_known_so_far(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inspector, "SOON_MS", 10**9)  # However slow this machine is.
    tm, since, runs, end = make(), datetime.now(UTC), asyncio.Event(), asyncio.Event()

    @tm.registerHandler(event="work", max_retries=1, retry_delay_ms=10)
    async def work(job: Job[Any]) -> None:
        if job.attempt == 1:
            raise OSError("no")
        runs.set()
        await asyncio.wait_for(end.wait(), PATIENCE)

    handle = await tm.emit("work")
    waits = await handle.info()
    await tm.start()
    await asyncio.wait_for(runs.wait(), PATIENCE)
    info = await handle.info()
    end.set()
    await handle.result(timeout=PATIENCE)
    ended = await handle.info()

    assert (waits.state, waits.attempts, waits.started_at) == (JobState.WAITING, 0, None)
    assert (info.state, info.attempts, info.finished_at) == (JobState.RUNNING, 2, None)
    assert info.workers == [info.worker] * 2 == [worker_of(tm_id(tm))] * 2
    times = [it for it in (info.created_at, info.started_at, info.last_started_at) if it]
    assert since - APART <= times[0] <= times[1] <= times[2]
    assert info.started_at == ended.started_at
    assert abs(ended.last_started_at - times[2]) < APART  # type: ignore[operator]


async def test_the_start_of_a_long_run_is_what_its_worker_said(
    make: Make, redis: redis_py.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inspector, "SOON_MS", -(10**9))  # The lease was renewed since.
    tm, runs = make(), asyncio.Event()

    @tm.registerHandler(event="work")
    async def work(job: Job[Any]) -> None:
        runs.set()
        await asyncio.sleep(PATIENCE)

    await tm.start()
    handle = await tm.emit("work")
    await asyncio.wait_for(runs.wait(), PATIENCE)
    (run,) = parts(tm).executor.runs()
    added = int(run.delivery.entry.partition("-")[0])
    for started in (added + 7, added - 7):
        run.delivery.started_ms = started
        await parts(tm).heartbeat.beat()
        info = await handle.info()
        expected = datetime.fromtimestamp(max(started, added) / 1000, UTC)
        assert (info.started_at, info.last_started_at) == (expected, expected)
    # What it said of an earlier attempt counts for nothing, nor what somebody else wrote.
    for told in (json.dumps({"default": {handle.id: added - 1}}), "[]", "spoiled"):
        redis.hset(f"tm:worker:{tm_id(tm)}", "started", told)
        info = await handle.info()
        assert (info.state, info.started_at, info.last_started_at) == ("running", None, None)


async def test_an_end_that_is_kept_no_more_is_told_from_a_job_that_never_was(make: Make) -> None:
    tm = make(result_ttl=0)
    tm.registerHandler(lambda job: 1, event="a")
    await tm.start()
    ended = await tm.emit("a")
    await tm.drain()

    for handle, error in ((ended, ResultExpired), (tm.handle("never", "mail"), JobNotFound)):
        for ask in (handle.result, handle.info):
            with pytest.raises(error, match="result_ttl") as caught:
                await ask()
    assert isinstance(caught.value, LookupError)
    assert "'never' is not known in queue 'mail'" in str(caught.value)
    assert await tm.get_job("never", "mail") is None
    assert await tm.get_job(ended.id) is None


async def test_of_two_runs_of_an_id_each_handle_tells_its_own(tm: TaskManager) -> None:
    tm.registerHandler(lambda job: job.data, event="a")
    await tm.start()
    first = await tm.emit("a", id="7", data="first")
    await first.result(timeout=PATIENCE)
    second = await tm.emit("a", id="7", data="second", delay=3600)

    assert (await first.info()).result == "first"
    assert (await second.info()).state == "delayed"
    assert (await tm.handle("7").info()).run == second.run


@pytest.mark.parametrize("event", ["greet", "e" * 32])
async def test_what_is_kept_of_a_plain_job_takes_few_bytes(
    tm: TaskManager, redis: redis_py.Redis, event: str
) -> None:
    tm.registerHandler(lambda job: None, event=event)
    await tm.start()
    handle = await tm.emit(event)
    await handle.result(timeout=PATIENCE)

    stored = redis.get(KEYS.result(handle.id))
    assert isinstance(stored, bytes)
    kept, worker = end_of(stored).kept, worker_of(tm_id(tm))
    # A semicolon, the layout, two times, how long it waited, five commas.
    assert len(kept) + 1 <= len(worker) + len(event) + 2 + 2 * 13 + 5 + 5
    assert stored.endswith(b" null")


def test_states_are_those_of_the_engine_and_equal_their_texts() -> None:
    assert set(get_args(State)) == set(JobState)
    assert JobState.DEAD == "dead"
    assert f"{JobState.DEAD}" == "dead"


@pytest.mark.parametrize("given", ["yes", 1])
def test_keep_data_is_true_or_false(given: Any) -> None:
    with pytest.raises(InvalidOption, match=r"keep_data .* give True or False"):
        TaskManager("redis://x").registerHandler(print, {"event": "a", "keepData": given})


async def has_state(handle: Any, state: JobState) -> bool:
    return await handle.status() is state


def parts(tm: TaskManager) -> Any:
    worker = tm._life.worker
    assert worker is not None
    return worker._consumer._parts  # type: ignore[union-attr]


def tm_id(tm: TaskManager) -> str:
    """Return what Redis knows this start of the worker by."""
    found: str = parts(tm).terms.id
    return found


def type_in_tests(kind: type) -> str:
    return f"{kind.__module__}.{kind.__qualname__}"


async def test_a_timeout_of_zero_asks_once_whether_a_job_has_ended(make: Make) -> None:
    tm = make()
    go_on = asyncio.Event()

    @tm.registerHandler(event="slow")
    async def slow(job: Job[Any]) -> str:
        await go_on.wait()
        return "done"

    async with tm:
        await tm.start()
        handle = await tm.emit("slow")
        later = await tm.emit("slow", data=2, delay=60)

        for live in (handle, tm.handle(handle.id), later):
            with pytest.raises(ResultTimeout):
                await live.result(timeout=0)
        go_on.set()
        await handle.result(timeout=PATIENCE)

        assert await handle.result(timeout=0) == "done"
        assert await tm.handle(handle.id).result(timeout=-1) == "done"
        assert await handle.result(timeout=timedelta()) == "done"
        assert await handle.result(timeout=timedelta(seconds=PATIENCE)) == "done"
        for wrong in (math.nan, "soon"):
            with pytest.raises(InvalidOption, match="timeout"):
                await handle.result(timeout=wrong)  # type: ignore[arg-type]
        with pytest.raises(JobNotFound):
            await tm.handle("nobody").result(timeout=0)
