"""Document 004: what processor= says for all handlers, and what a job's end leaves behind."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from itertools import pairwise
from typing import Any, TypeAlias

import pytest
import redis as redis_py

from taskmanager import InvalidName, Job, JobCancelled, JobFailed, TaskManager, UnknownOption
from tests.documents.handlers import failing, recording
from tests.support.engine import QueueView
from tests.support.facade import KEYS, run_all
from tests.support.waiting import PATIENCE, aeventually

Make: TypeAlias = Callable[..., TaskManager[Any]]


async def end_of(tm: TaskManager[Any], event: str, **emit: Any) -> None:
    """Emit a job that fails and wait until it is dead."""
    with pytest.raises(JobFailed):
        await (await tm.emit(event, **emit)).result(timeout=PATIENCE)


async def test_236_266_all_jobs_are_retried_as_retry_says_with_growing_delays(make: Make) -> None:
    """maxRetries are runs after the first; each delay is twice the one before."""
    tm = make(processor={"retry": {"maxRetries": 3, "retryDelayMs": 20}})
    ran = failing(tm, "fail")
    await tm.start()

    await end_of(tm, "fail", id="7")

    assert [job.attempt for job in ran] == [1, 2, 3, 4]
    letter = await tm.dlq.get("7")
    assert letter is not None
    times = [error["at"] for error in letter.errors]
    waits = [later - earlier for earlier, later in pairwise(times)]
    # Never early; a busy machine may be late.
    assert all(wait >= 20 * 2**n for n, wait in enumerate(waits))
    assert len(waits) == 3


async def test_237_dlq_names_the_stream_of_dead_letters_or_keeps_none(
    make: Make, redis: redis_py.Redis, caplog: pytest.LogCaptureFixture
) -> None:
    """The name belongs to the queue: whoever reads or replays its letters need not know it."""
    other = make()
    with pytest.raises(InvalidName, match="dead-letter stream 'a b' is not allowed"):
        make(processor={"dlq": "a b"})
    tm = make(processor={"dlq": "shop-dead"})
    ran = failing(tm, "fail")
    await tm.start()
    await end_of(tm, "fail", id="7", data={"n": 1})

    entries: Any = redis.xrange("tm:{default}:dead:shop-dead")
    assert [fields[b"job"] for _, fields in entries] == [b"7"]
    assert redis.exists(KEYS.dead) == 0
    assert [(it.id, it.data) for it in await other.dlq.list()] == [("7", {"n": 1})]
    assert (await other.stats()).dead == 1
    handle = await other.dlq.replay("7")
    with pytest.raises(JobFailed):
        await handle.result(timeout=PATIENCE)
    assert len(ran) == 2
    await tm.stop()

    # A queue with letters keeps them where they are.
    elsewhere = make(processor={"dlq": {"stream": "elsewhere"}})
    failing(elsewhere, "fail")
    with caplog.at_level(logging.WARNING):
        await elsewhere.start()
    assert "already keeps dead letters in" in caplog.text
    await end_of(elsewhere, "fail", id="8")
    assert [it.id for it in await other.dlq.list()] == ["8", "7"]

    off = make(processor={"dlq": {"enabled": False}})
    failing(off, "fail", queue="mail")
    await off.start()
    await end_of(off, "fail", queue="mail")
    stats = await other.stats("mail")
    assert (await other.dlq.list("mail"), stats.dead, stats.failed_total) == ([], 0, 1)


async def test_238_processors_debounce_skips_an_id_that_ran_within_so_many_seconds(
    make: Make, redis: redis_py.Redis
) -> None:
    """In seconds, as the document's comment has it: ``debounce: 300 // 5 minutes``."""
    tm = make(processor={"debounce": 300})
    ran = recording(tm, "work")
    await tm.start()

    first = await tm.emit("work", data=1)
    assert await first.result(timeout=PATIENCE) == 1
    again = await tm.emit("work", data=1)
    with pytest.raises(JobCancelled, match="the same id ran within the last 300000 ms"):
        await again.result(timeout=PATIENCE)

    assert (again.created, again.id, len(ran)) == (True, first.id, 1)
    assert 240_000 < redis.pttl(KEYS.ran(first.id)) <= 300_000


async def test_239_ignore_config_errors_makes_unknown_options_warnings(
    make: Make, caplog: pytest.LogCaptureFixture
) -> None:
    processor = {"retry": {"maxRetries": 1, "retryDelay": 5}, "dql": {}}
    with pytest.raises(
        UnknownOption, match=r"unknown option 'dql' in processor.*; allowed: retry, dlq"
    ):
        make(processor=processor)

    with caplog.at_level(logging.WARNING):
        tm = make(processor={**processor, "ignoreConfigErrors": True})
    ran = failing(tm, "fail", options={"retryDelayMs": 1})
    await tm.start()
    await end_of(tm, "fail")

    said = [
        it.getMessage() for it in caplog.records if "ignoring unknown option" in it.getMessage()
    ]
    assert [text.split(";")[0] for text in said] == [
        "ignoring unknown option 'dql' in processor (did you mean 'dlq'?)",
        "ignoring unknown option 'retryDelay' in processor's retry "
        "(did you mean 'retry_delay_ms'?)",
    ]
    assert len(ran) == 2


async def test_265_a_job_is_acknowledged_when_its_outcome_is_recorded_and_not_before(
    tm: TaskManager, redis: redis_py.Redis
) -> None:
    queue, began, may_end = QueueView(redis), asyncio.Event(), asyncio.Event()

    @tm.registerHandler(event="work")
    async def work(job: Job[Any]) -> str:
        began.set()
        await may_end.wait()
        return "done"

    await tm.start()
    handle = await tm.emit("work")
    await began.wait()
    (pending,) = queue.pending()
    assert (pending[3], redis.xlen(queue.lane()), queue.has_result(handle.id)) == (1, 1, False)
    may_end.set()
    assert await handle.result(timeout=PATIENCE) == "done"

    # In the step that has its result.
    assert (queue.pending(), redis.xlen(queue.lane()), queue.live(handle.id)) == ([], 0, None)


async def test_267_a_job_without_retries_left_is_a_dead_letter_and_can_be_replayed(
    tm: TaskManager,
) -> None:
    broken = True

    @tm.registerHandler(event="work")
    async def work(job: Job[Any]) -> str:
        if broken:
            raise ValueError("the printer is on fire")
        return "printed"

    await tm.emit("work", id="7", data={"page": 1}, options={"retryCount": 1, "retryDelayMs": 1})
    await tm.start()
    await aeventually(lambda: tm.dlq.get("7"))

    letter = await tm.dlq.get("7")
    assert letter is not None
    assert (letter.data, letter.reason, letter.attempts) == ({"page": 1}, "failed", 2)
    assert "the printer is on fire" in letter.error
    broken = False
    handle = await tm.dlq.replay("7")
    assert await handle.result(timeout=PATIENCE) == "printed"
    assert await tm.dlq.list() == []
    await run_all(tm)
