"""Document 004: what emit takes, and what becomes of it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any, TypeAlias

import pytest
import redis as redis_py

from consumers import RetryAt, process_job
from taskmanager import (
    ConflictingOptions,
    InvalidOption,
    InvalidPriority,
    Job,
    JobFailed,
    NoEventLoop,
    TaskManager,
    gen_job_id_sync,
)
from tests.documents.handlers import failing, recording
from tests.support.facade import KEYS, run_all
from tests.support.waiting import PATIENCE, aeventually

Make: TypeAlias = Callable[..., TaskManager[Any]]


def due_of(redis: redis_py.Redis, job_id: str) -> float:
    """Return when a job that is put off is due, in ms since 1970."""
    due = redis.zscore(KEYS.delayed, job_id)
    assert due is not None, f"{job_id} is not put off"
    return float(due)


def now_ms(redis: redis_py.Redis) -> int:
    seconds, micros = redis.time()
    return int(seconds) * 1000 + int(micros) // 1000


async def runs_of(tm: TaskManager[Any], **emit: Any) -> int:
    """Return how often a job of an event that fails is run until it is dead."""
    with pytest.raises(JobFailed) as failed:
        await (await tm.emit("fail", **emit)).result(timeout=PATIENCE)
    letter = failed.value.letter
    return letter.attempts if letter is not None else 0


async def test_249_emit_has_defaults_and_works_with_and_without_an_event_loop(
    tm: TaskManager,
) -> None:
    """The document's one object is taken as well as keywords. Awaiting it confirms it."""
    ran = recording(tm, "process-user")

    first = tm.emit("process-user")
    second = await tm.emit({"event": "process-user", "data": {"userId": "123"}, "options": {}})
    third = await asyncio.to_thread(tm.emit_sync, "process-user", data=3, queue="default")
    with pytest.raises(NoEventLoop, match="emit_sync"):
        await asyncio.to_thread(tm.emit, "process-user")
    await run_all(tm)

    assert sorted(job.id for job in ran) == sorted([first.id, second.id, third.id])
    assert ran[0].data == {}
    assert {job.queue for job in ran} == {"default"}


async def test_250_the_default_id_makes_equal_jobs_one_while_it_lives(tm: TaskManager) -> None:
    data = {"to": "ada", "cc": ["bob"]}
    recording(tm, "send")

    first = await tm.emit("send", data=data)
    again = await tm.emit("send", data=dict(reversed(data.items())))
    named = await tm.emit("send", data=data, options={"id": "m-1"})

    assert first.id == again.id == gen_job_id_sync("send", data)
    assert (first.created, again.created, named.created) == (True, False, True)
    assert named.id == "m-1"
    await run_all(tm)
    # Once it has ended, the same id may run again.
    assert (await tm.emit("send", data=data)).created is True
    await tm.until_idle()


async def test_251_a_higher_priority_runs_first(make: Make) -> None:
    """Whole numbers from -100 to 100; the default is 0."""
    tm = make(concurrency=1)
    ran = recording(tm, "work")

    for priority in (-5, None, 10, 100):
        given = {} if priority is None else {"priority": priority}
        await tm.emit("work", data=priority or 0, options=given)
    with pytest.raises(InvalidPriority):
        await tm.emit("work", options={"priority": 101})
    await run_all(tm)

    assert [job.data for job in ran] == [100, 10, 0, -5]


async def test_252_delay_until_is_when_a_job_may_start(
    tm: TaskManager, redis: redis_py.Redis
) -> None:
    ran = recording(tm, "work")
    aware = datetime.now(UTC) + timedelta(hours=1)
    naive = datetime.now() + timedelta(hours=2)  # noqa: DTZ005 - it is local time
    past = datetime.now(UTC) - timedelta(hours=1)

    for name, until in (("aware", aware), ("naive", naive), ("past", past), ("now", None)):
        await tm.emit("work", id=name, options={"delayUntil": until})
    await run_all(tm)

    assert sorted(job.id for job in ran) == ["now", "past"]
    for name, until in (("aware", aware), ("naive", naive)):
        assert await tm.handle(name).status() == "delayed"
        assert abs(due_of(redis, name) - until.timestamp() * 1000) <= 1


async def test_253_256_retry_count_and_attempts_are_one_number_of_retries(make: Make) -> None:
    """Runs after the first one. Not given, the handler's number counts, then the processor's."""
    tm = make(processor={"retry": {"maxRetries": 1, "retryDelayMs": 1}})
    failing(tm, "fail")
    await tm.start()

    assert await runs_of(tm, options={"retryCount": 2}) == 3
    assert await runs_of(tm, options={"attempts": 2}) == 3
    assert await runs_of(tm, options={"retryCount": 2, "attempts": 2, "max_retries": 2}) == 3
    assert await runs_of(tm, options={"retryCount": 0}) == 1
    assert await runs_of(tm) == 2
    with pytest.raises(ConflictingOptions, match="'retryCount' and 'attempts'"):
        tm.emit("fail", options={"retryCount": 2, "attempts": 3})


async def test_254_the_first_retry_comes_after_retry_delay_ms_or_a_second(
    tm: TaskManager, redis: redis_py.Redis
) -> None:
    failing(tm, "fail")
    await tm.start()
    before = now_ms(redis)
    handle = await tm.emit("fail", options={"retryCount": 1, "retryDelayMs": 30_000})

    async def is_retrying() -> bool:
        return await handle.status() == "retrying"

    await aeventually(is_retrying)
    assert before + 30_000 <= due_of(redis, handle.id) <= now_ms(redis) + 30_000

    policy = tm.create_unified_processor()
    outcome = await process_job(Job.fake(1, event="fail", options={"max_retries": 1}), policy)
    assert isinstance(outcome, RetryAt)
    assert outcome.delay_ms == 1000


async def test_255_an_emits_pattern_makes_a_schedule(tm: TaskManager) -> None:
    ran = recording(tm, "tick")
    repeat = {"pattern": "0 * * * *"}
    handle = await tm.emit({"event": "tick", "data": 7, "options": {"repeat": repeat}})
    again = await tm.emit("tick", data=7, options={"repeat": repeat})

    (info,) = await tm.schedules()
    assert (info.event, info.pattern, info.source) == ("tick", "0 * * * *", "emit")
    assert (handle.created, again.created, handle.id) == (True, False, again.id)
    assert await handle.status() == "delayed"
    await tm.start()
    fired = await tm.schedule(info.name).run()

    assert await fired.result(timeout=PATIENCE) == 7
    assert [job.data for job in ran] == [7]


async def test_257_268_debounced_emits_become_one_run_of_the_last_data(tm: TaskManager) -> None:
    """An emit's debounce is in milliseconds, so that a float is refused with a hint."""
    ran = recording(tm, "index")
    await tm.start()

    options = {"debounce": 200, "debounceKey": "article-7"}
    # In one batch: a busy machine may take longer than a window for two emits.
    handles = await tm.emit_many(
        [{"event": "index", "data": n, "options": options} for n in range(5)]
    )
    other = await tm.emit("index", data="other", options={"debounce": 1, "debounceKey": "b"})

    assert len({it.id for it in handles}) == 1
    assert await handles[0].result(timeout=PATIENCE) == 4
    assert await other.result(timeout=PATIENCE) == "other"
    assert sorted(str(job.data) for job in ran) == ["4", "other"]
    with pytest.raises(InvalidOption, match=r"debounce 0\.5 .* milliseconds.*debounce_seconds"):
        tm.emit("index", options={"debounce": 0.5})


async def test_269_a_delayed_job_starts_when_it_is_due_and_not_before(
    tm: TaskManager, redis: redis_py.Redis
) -> None:
    started: list[int] = []

    @tm.registerHandler(event="work")
    def work(job: Job[Any]) -> None:
        started.append(now_ms(redis))

    await tm.start()
    until = datetime.now(UTC) + timedelta(milliseconds=150)
    handle = await tm.emit("work", options={"delayUntil": until})
    await handle.result(timeout=PATIENCE)

    assert started[0] >= int(until.timestamp() * 1000)
