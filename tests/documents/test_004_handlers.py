"""Document 004: how handlers are registered, and what they are called with."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any, TypeAlias
from zoneinfo import ZoneInfo

import pytest
import redis as redis_py

from taskmanager import Context, DebounceManager, Job, JobFailed, TaskManager, UnknownOption
from tests.documents.handlers import failing, recording
from tests.support.facade import KEYS, run_all
from tests.support.waiting import PATIENCE, aeventually

Make: TypeAlias = Callable[..., TaskManager[Any]]
EVERY_SECOND = {"pattern": "* * * * * *"}


async def test_241_a_handler_is_registered_in_every_form(tm: TaskManager) -> None:
    ran: list[str] = []

    def handle(job: Job[Any]) -> None:
        ran.append(job.name)

    tm.registerHandler({"handler": handle, "event": "one-object", "options": {"attempts": 1}})
    tm.registerHandler(handle, {"event": "handler-and-options"})
    tm.registerHandler(handler=handle, event="keywords", queue="default", options={})
    assert tm.registerHandler(event="decorator")(handle) is handle
    tm.register_handler({"handler": handle, "event": "snake-case"})
    with pytest.raises(UnknownOption, match="unknown option 'evnt'"):
        tm.registerHandler({"handler": handle, "evnt": "x"})

    events = [event for _, event in tm.handlers]
    await tm.emit_many([{"event": event} for event in events])
    await run_all(tm)

    assert sorted(ran) == sorted(events)
    assert len(events) == 5


async def test_242_a_handlers_pattern_fires_once_for_each_time_in_all_processes(
    make: Make,
) -> None:
    """The document's initial emit is the job of the next fire, as it says of delayUntil."""
    workers, ran = [make() for _ in range(3)], []

    async def tick(job: Job[Any]) -> None:
        ran.append(job.id)

    for tm in workers:
        lunch = {"pattern": "30 12 * * *", "tz": "Europe/Berlin"}
        tm.registerHandler(handler=tick, event="lunch", options={"repeat": lunch})
        tm.registerHandler(handler=tick, event="tick", options={"repeat": EVERY_SECOND})
    await asyncio.gather(*(tm.start() for tm in workers))
    await aeventually(lambda: len(ran) >= 2)

    assert len(set(ran)) == len(ran)
    told = {info.event: info for info in await workers[0].schedules()}
    assert {name: info.source for name, info in told.items()} == {
        "lunch": "handler",
        "tick": "handler",
    }
    fire = told["lunch"].next_fires[0].astimezone(ZoneInfo("Europe/Berlin"))
    assert (fire.hour, fire.minute, fire.second) == (12, 30, 0)


async def test_243_a_handlers_attempts_are_retries_after_the_first_run(tm: TaskManager) -> None:
    ran = failing(tm, "fail", options={"attempts": 2, "retryDelayMs": 1})
    await tm.start()

    with pytest.raises(JobFailed) as failed:
        await (await tm.emit("fail")).result(timeout=PATIENCE)

    assert [job.attempt for job in ran] == [1, 2, 3]
    assert failed.value.letter is not None
    assert failed.value.letter.attempts == 3


async def test_244_a_handler_has_a_debounce_manager_of_its_own(
    tm: TaskManager, redis: redis_py.Redis
) -> None:
    """Its debounce is in milliseconds. Other handlers' emits are not held up."""
    stormy = recording(tm, "stormy", options={"debounce": 60_000})
    calm = recording(tm, "calm")
    assert tm._registry.rules_of("default", "stormy").debounce == DebounceManager(window_ms=60_000)
    await tm.start()

    handles = [await tm.emit(event) for event in ("stormy", "stormy", "calm")]
    await aeventually(lambda: len(calm) == 1)

    assert [it.created for it in handles] == [True, False, True]
    assert (handles[0].id, await handles[0].status()) == (handles[1].id, "debounced")
    assert stormy == []
    due_ms = redis.zscore(KEYS.delayed, handles[0].id)
    assert due_ms is not None
    assert 0 < due_ms - redis.time()[0] * 1000 <= 61_000


async def test_245_a_handler_stands_for_its_queue_and_event_and_a_second_one_replaces_it(
    tm: TaskManager, caplog: pytest.LogCaptureFixture
) -> None:
    replaced = recording(tm, "work")
    elsewhere = recording(tm, "work", queue="mail")
    with caplog.at_level(logging.WARNING):
        second = recording(tm, "work")
    assert [it.getMessage() for it in caplog.records if "second handler" in it.getMessage()] == [
        "a second handler for event 'work' in queue 'default' replaces the first one"
    ]
    assert tm.handlers == [("default", "work"), ("mail", "work")]

    await tm.emit_many([{"event": "work"}, {"event": "work", "queue": "mail"}])
    await run_all(tm)

    assert [len(jobs) for jobs in (replaced, second, elsewhere)] == [0, 1, 1]


async def test_246_a_handler_is_called_with_job_and_ctx_asynchronous_or_not(
    make: Make,
) -> None:
    tm = make(ctx={"greeting": "hello"})
    seen: list[tuple[Any, ...]] = []

    @tm.registerHandler(event="async", queue="mail")
    async def asynchronous(job: Job[Any], ctx: Context) -> None:
        await job.logger("here")
        seen.append((job.name, job.queue, job.data, ctx.greeting))

    @tm.registerHandler(event="sync", queue="mail")
    def synchronous(job: Job[Any], ctx: Context) -> None:
        job.logger("here")
        seen.append((job.name, job.queue, job.data, ctx.greeting))

    await tm.emit_many(
        [{"event": event, "queue": "mail", "data": 7} for event in ("async", "sync")]
    )
    await run_all(tm)

    assert sorted(seen) == [("async", "mail", 7, "hello"), ("sync", "mail", 7, "hello")]


async def test_247_a_jobs_logger_writes_a_log_that_can_be_read(tm: TaskManager) -> None:
    @tm.registerHandler(event="work")
    async def work(job: Job[Any]) -> None:
        await job.logger("Job started")
        await job.logger({"step": 2, "of": 3})
        # Fire and forget, as the document's examples may.
        job.logger("Job completed")

    handle = await tm.emit("work")
    await run_all(tm)

    messages = [line.message for line in await handle.logs()]
    assert messages == ["Job started", '{"step":2,"of":3}', "Job completed"]


async def test_248_ctx_emits_from_a_handler_beside_the_applications_own_things(
    make: Make,
) -> None:
    tm = make(ctx={"tenant": "acme"})
    children = recording(tm, "child-job")

    @tm.registerHandler(event="parent")
    async def parent(job: Job[Any], ctx: Context) -> None:
        # Not awaited, as in the document.
        ctx.emit({"event": "child-job", "data": {"parentId": job.data["id"], "by": ctx.tenant}})
        await ctx.emit("child-job", data={"parentId": job.data["id"]}, on_success=True)

    await tm.emit("parent", data={"id": 7}, correlation_id="request-1")
    await tm.start()
    await aeventually(lambda: len(children) == 2)

    assert [job.data["parentId"] for job in children] == [7, 7]
    assert children[0].data["by"] == "acme"
    assert {job.correlation_id for job in children} == {"request-1"}
