"""Deduplication, debounce, cancel and pause through the public API, on a real Redis."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
import redis as redis_py

from consumers.jobs.lanes import Lane
from consumers.store.keys import Keys
from taskmanager import (
    CancelOutcome,
    Context,
    InvalidInput,
    InvalidName,
    Job,
    JobCancelled,
    OwnJob,
    RedisUnavailable,
    TaskManager,
    TooManyPaused,
)
from tests.support.servers import RedisServer
from tests.support.waiting import PATIENCE, aeventually

Make = Callable[..., TaskManager]
KEYS = Keys("default")
# Longer than a busy machine holds up one process; a storm's emits take some ms.
WINDOW_MS = 600
LONG = 60.0


def recording(tm: TaskManager, event: str = "work", **options: Any) -> list[Any]:
    """Register a handler that returns its data; return what it was run with."""
    ran: list[Any] = []

    @tm.registerHandler(event=event, **options)
    async def record(job: Job[Any]) -> Any:
        ran.append(job.data)
        return job.data

    return ran


# Idempotency keys


async def test_a_second_emit_with_the_key_returns_the_job_that_lives(tm: TaskManager) -> None:
    first = await tm.emit("work", data={"n": 1}, idempotency_key="order 7")
    second = await tm.emit("work", data={"n": 2}, idempotency_key="order 7")
    other = await tm.emit("work", data={"n": 3}, idempotency_key="order 8")

    assert (first.created, second.created, other.created) == (True, False, True)
    assert (second.id, second.run) == (first.id, first.run)
    assert (await tm.stats()).waiting == 2


async def test_after_its_end_the_key_still_stands_for_the_job_and_its_result(
    tm: TaskManager,
) -> None:
    ran = recording(tm)
    await tm.start()
    first = await tm.emit("work", data={"n": 1}, idempotency_key="order 7")
    assert await first.result(timeout=PATIENCE) == {"n": 1}

    again = await tm.emit("work", data={"n": 2}, idempotency_key="order 7", id="mine")

    assert (again.created, again.id, again.run) == (False, first.id, first.run)
    assert await again.result(timeout=PATIENCE) == {"n": 1}
    assert ran == [{"n": 1}]


async def test_a_key_lives_a_day_longer_than_its_job(
    tm: TaskManager, redis: redis_py.Redis
) -> None:
    recording(tm)
    handle = await tm.emit("work", idempotency_key="order 7")
    (key,) = redis.scan_iter("tm:{default}:idem:*")
    assert redis.ttl(key) == -1

    await tm.start()
    await handle.result(timeout=PATIENCE)

    assert 24 * 3600 - 60 < redis.ttl(key) <= 24 * 3600


async def test_jobs_with_keys_and_ids_of_their_own_are_known_by_both(tm: TaskManager) -> None:
    named = await tm.emit("work", idempotency_key="order 7", id="mine")
    by_key = await tm.emit("work", idempotency_key="order 7")
    by_id = await tm.emit("work", id="mine")

    assert (named.id, named.created) == ("mine", True)
    assert (by_key.id, by_key.created) == ("mine", False)
    assert (by_id.id, by_id.created) == ("mine", False)


async def test_many_emits_with_one_key_at_once_are_one_job(tm: TaskManager) -> None:
    item = {"event": "work", "options": {"idempotencyKey": "order 7"}}

    handles = await tm.emit_many([{**item, "data": n} for n in range(50)])

    assert [it.created for it in handles].count(True) == 1
    assert len({it.id for it in handles}) == 1
    assert (await tm.stats()).waiting == 1


async def test_a_handler_cannot_emit_the_key_that_it_runs_under(tm: TaskManager) -> None:
    @tm.registerHandler(event="work")
    async def work(job: Job[Any], ctx: Context) -> str:
        with pytest.raises(OwnJob):
            ctx.emit("work", idempotency_key="order 7")
        return "refused"

    await tm.start()
    handle = await tm.emit("work", idempotency_key="order 7")

    assert await handle.result(timeout=PATIENCE) == "refused"


# Debounce


async def test_a_storm_of_emits_becomes_one_run_of_the_last(tm: TaskManager) -> None:
    ran = recording(tm)
    await tm.start()

    handles = [
        await tm.emit("work", data={"n": n}, debounce=WINDOW_MS, debounce_key="k")
        for n in range(20)
    ]

    assert [it.created for it in handles] == [True] + [False] * 19
    assert len({(it.id, it.run) for it in handles}) == 1
    assert await handles[7].result(timeout=PATIENCE) == {"n": 19}
    assert ran == [{"n": 19}]
    assert (await tm.stats()).debounced_total == 19


async def test_a_storms_job_is_debounced_until_it_is_due(tm: TaskManager) -> None:
    handle = await tm.emit("work", debounce=timedelta(minutes=1))

    assert await handle.status() == "debounced"
    info = await tm.get_job(handle.id)
    assert info is not None
    assert info.due_at is not None
    left = info.due_at - info.created_at  # type: ignore[operator]
    assert timedelta(seconds=59) < left < timedelta(seconds=61)


async def test_other_data_are_another_storm_unless_a_key_joins_them(tm: TaskManager) -> None:
    async def ids(**given: Any) -> int:
        storm = {"debounce_seconds": LONG, **given}
        handles = [await tm.emit("work", data={"n": n % 2}, **storm) for n in range(6)]
        return len({it.id for it in handles})

    assert await ids() == 2
    assert await ids(id="mine") == 1
    assert await ids(debounce_key="k") == 1


async def test_an_endless_storm_is_put_off_for_the_longest_wait_only(tm: TaskManager) -> None:
    ran = recording(tm)
    await tm.start()
    options: dict[str, Any] = {
        "debounce_seconds": 60,
        "debounce_key": "k",
        "options": {"debounceMaxWait": 60},
    }
    first = await tm.emit("work", data=0, **options)
    info = await tm.get_job(first.id)
    assert info is not None
    due_at = info.due_at

    for n in range(1, 20):
        await tm.emit("work", data=n, **options)
        await asyncio.sleep(0.01)  # so that the window alone would put it off

    info = await tm.get_job(first.id)
    assert info is not None
    assert info.due_at == due_at
    assert info.data == 19
    assert ran == []


async def test_leading_runs_the_first_at_once_and_drops_the_rest(tm: TaskManager) -> None:
    ran = recording(tm)
    await tm.start()

    handles = [
        await tm.emit("work", data=n, debounce=60_000, debounce_key="k", debounce_mode="leading")
        for n in range(5)
    ]

    assert await handles[4].result(timeout=PATIENCE) == 0
    assert [it.created for it in handles] == [True] + [False] * 4
    assert ran == [0]


async def test_an_emit_during_the_run_leads_to_a_second_run(tm: TaskManager) -> None:
    ran: list[Any] = []
    started, go_on = asyncio.Event(), asyncio.Event()

    @tm.registerHandler(event="work", debounce=50)
    async def work(job: Job[Any]) -> None:
        ran.append(job.data)
        started.set()
        await go_on.wait()

    await tm.start()
    first = await tm.emit("work", data=1, debounce_key="k")
    await asyncio.wait_for(started.wait(), PATIENCE)
    second = await tm.emit("work", data=2, debounce_key="k")
    go_on.set()
    await second.result(timeout=PATIENCE)

    assert second.created
    assert second.id != first.id
    assert ran == [1, 2]


async def test_a_handler_may_start_its_own_storm_again(tm: TaskManager) -> None:
    ran: list[int] = []

    @tm.registerHandler(event="work", debounce=50)
    async def work(job: Job[Any], ctx: Context) -> None:
        ran.append(job.data)
        if job.data < 3:
            await ctx.emit("work", data=job.data + 1, debounce_key="k")

    await tm.start()
    await tm.emit("work", data=1, debounce_key="k")

    await aeventually(lambda: ran == [1, 2, 3])


async def test_a_handlers_debounce_counts_where_it_is_registered_only(make: Make) -> None:
    worker, elsewhere = make(), make()
    recording(worker, debounce_seconds=LONG)

    here = await worker.emit("work", data=1)
    switched_off = await worker.emit("work", data=2, debounce=0)
    there = await elsewhere.emit("work", data=3)

    assert await here.status() == "debounced"
    assert await switched_off.status() == "waiting"
    assert await there.status() == "waiting"


async def test_children_are_debounced_with_their_parents_completion(tm: TaskManager) -> None:
    ran = recording(tm, "child", debounce=50)

    @tm.registerHandler(event="parent")
    async def parent(job: Job[Any], ctx: Context) -> None:
        for n in range(5):
            await ctx.emit("child", data=n, debounce_key="k", on_success=True)

    await tm.start()
    await (await tm.emit("parent")).result(timeout=PATIENCE)

    await aeventually(lambda: ran == [4])
    await tm.drain()
    assert ran == [4]


def test_storms_and_keys_work_without_an_event_loop(server: RedisServer) -> None:
    tm = TaskManager(server.url)
    try:
        storm = [tm.emit_sync("work", data=n, debounce=60_000, debounce_key="k") for n in range(3)]
        keyed = [tm.sync.emit("work", idempotency_key="order 7") for _ in range(3)]

        assert [it.created for it in storm] == [it.created for it in keyed] == [True, False, False]
        assert storm[0].cancel() == "cancelled"
        assert storm[0].cancel() is CancelOutcome.TOO_LATE
    finally:
        tm.sync.drain("nothing")


# Cancel


@pytest.mark.parametrize(
    ("given", "state"),
    [
        ({}, "waiting"),
        ({"delay": LONG}, "delayed"),
        ({"debounce_seconds": LONG}, "debounced"),
        ({"idempotency_key": "order 7"}, "waiting"),
    ],
)
async def test_a_job_that_nobody_has_is_cancelled(
    tm: TaskManager, given: dict[str, Any], state: str
) -> None:
    handle = await tm.emit("work", data={"n": 1}, **given)
    assert await handle.status() == state

    outcome = await handle.cancel()

    assert outcome is CancelOutcome.CANCELLED
    assert outcome
    assert str(outcome) == "cancelled"
    assert await handle.status() == "cancelled"
    assert not await handle.cancel()
    with pytest.raises(JobCancelled, match=r"was cancelled$"):
        await handle.result(timeout=PATIENCE)


async def test_a_cancelled_job_does_not_run_and_another_emit_of_it_does(tm: TaskManager) -> None:
    ran = recording(tm)
    cancelled = await tm.emit("work", id="7", data="first")
    assert await cancelled.cancel()
    again = await tm.emit("work", id="7", data="second")
    await tm.start()

    assert again.created
    assert await again.result(timeout=PATIENCE) == "second"
    await tm.drain()
    assert ran == ["second"]
    assert (await tm.stats()).cancelled_total == 1


@pytest.mark.parametrize("group", ["a-monitor", "z-monitor"])
async def test_a_group_that_only_reads_along_keeps_no_job_from_being_cancelled(
    tm: TaskManager, redis: redis_py.Redis, group: str
) -> None:
    ran = recording(tm)
    handle = await tm.emit("work", id="7")
    lane = KEYS.lane(Lane("default"))
    redis.xgroup_create(lane, group, "0")
    redis.xreadgroup(group, "somebody", {lane: ">"})
    info = await tm.get_job("7")

    assert info is not None
    assert (info.state, info.worker) == ("waiting", None)
    stats = await tm.stats()
    assert (stats.waiting, stats.active) == (1, 0)
    assert await handle.cancel() is CancelOutcome.CANCELLED
    await tm.start()
    await tm.drain()
    assert ran == []
    assert await handle.status() == "cancelled"


async def test_a_handle_cancels_its_own_run_only(tm: TaskManager) -> None:
    first = await tm.emit("work", id="7")
    await first.cancel()
    second = await tm.emit("work", id="7")

    assert await first.cancel() is CancelOutcome.TOO_LATE
    assert await second.status() == "waiting"
    # Of an id without a run the live one is meant.
    assert await tm.handle("7").cancel() is CancelOutcome.CANCELLED


async def test_a_running_coroutine_is_cancelled(tm: TaskManager) -> None:
    ended: list[str] = []

    @tm.registerHandler(event="work")
    async def work(job: Job[Any]) -> str:
        try:
            await asyncio.sleep(LONG)
        except asyncio.CancelledError:
            ended.append(f"cancelled: {job.cancelled}")
            raise
        return "done"

    await tm.start()
    handle = await tm.emit("work", id="7")
    await aeventually(lambda: status(handle, "running"))

    assert await handle.cancel() is CancelOutcome.REQUESTED
    with pytest.raises(JobCancelled):
        await handle.result(timeout=PATIENCE)
    assert ended == ["cancelled: True"]
    assert await handle.cancel() is CancelOutcome.TOO_LATE
    again = await tm.emit("work", id="7")
    assert again.created


async def status(handle: Any, wanted: str) -> bool:
    return bool(await handle.status() == wanted)


async def test_a_running_synchronous_handler_sees_that_it_is_cancelled(tm: TaskManager) -> None:
    started, seen = threading.Event(), threading.Event()

    @tm.registerHandler(event="work")
    def work(job: Job[Any]) -> str:
        started.set()
        deadline = time.monotonic() + PATIENCE
        while not job.cancelled and time.monotonic() < deadline:
            time.sleep(0.01)  # the thread has nothing to wait for
        seen.set()
        return "too late"

    await tm.start()
    handle = await tm.emit("work")
    await aeventually(started.is_set)

    assert await handle.cancel() is CancelOutcome.REQUESTED
    with pytest.raises(JobCancelled):
        await handle.result(timeout=PATIENCE)
    assert seen.is_set()


async def test_a_job_may_cancel_itself(tm: TaskManager) -> None:
    @tm.registerHandler(event="work")
    async def work(job: Job[Any]) -> str:
        await tm.handle(job.id, job.queue).cancel()
        await asyncio.sleep(LONG)
        return "done"

    await tm.start()
    handle = await tm.emit("work")

    with pytest.raises(JobCancelled):
        await handle.result(timeout=PATIENCE)


async def test_somebody_who_waits_is_told_of_a_cancelled_job(tm: TaskManager) -> None:
    handle = await tm.emit("work", delay=LONG)
    waiting = asyncio.create_task(handle.result(timeout=PATIENCE))
    await aeventually(lambda: not waiting.done())

    await handle.cancel()

    with pytest.raises(JobCancelled):
        await waiting


async def test_a_cancelled_jobs_key_stands_for_it_a_day(tm: TaskManager) -> None:
    handle = await tm.emit("work", idempotency_key="order 7")
    await handle.cancel()

    again = await tm.emit("work", idempotency_key="order 7")

    assert (again.id, again.created) == (handle.id, False)


async def test_what_was_never_emitted_is_too_late_to_cancel(tm: TaskManager) -> None:
    assert await tm.handle("nothing").cancel() is CancelOutcome.TOO_LATE
    with pytest.raises(InvalidName):
        await tm.handle("a b").cancel()


async def test_the_end_of_a_cancelled_job_is_kept_where_results_are(
    server: RedisServer, redis: redis_py.Redis
) -> None:
    other = server.url.removesuffix("/0") + "/1"
    tm = TaskManager(db=other, streamdb=server.url, result_ttl=60)
    started = asyncio.Event()

    @tm.registerHandler(event="work")
    async def work(job: Job[Any]) -> None:
        started.set()
        await asyncio.sleep(LONG)

    async with tm:
        waits = await tm.emit("later", id="waits")
        assert await waits.cancel() is CancelOutcome.CANCELLED
        await tm.start()
        runs = await tm.emit("work", id="runs")
        await asyncio.wait_for(started.wait(), PATIENCE)
        assert await runs.cancel() is CancelOutcome.REQUESTED
        for handle in (waits, runs):
            with pytest.raises(JobCancelled):
                await handle.result(timeout=PATIENCE)

    with redis_py.Redis.from_url(other) as kept:
        for job_id in ("waits", "runs"):
            assert 0 < kept.pttl(KEYS.result(job_id)) <= 60_000
            assert not redis.exists(KEYS.result(job_id))
        kept.flushdb()


async def test_without_a_time_to_live_the_end_of_a_cancelled_job_is_not_kept(
    make: Make, redis: redis_py.Redis
) -> None:
    tm = make(result_ttl=0)
    handle = await tm.emit("work", id="7")

    assert await handle.cancel()

    assert await handle.status() == "unknown"
    assert not redis.exists(KEYS.result("7"))


# Pause


async def test_a_paused_queue_takes_jobs_and_starts_none(tm: TaskManager) -> None:
    ran = recording(tm)
    await tm.start()
    await tm.pause(wait=True)
    handle = await tm.emit("work", data=1)
    other = await tm.emit("work", queue="other", data=2)

    assert (await tm.stats()).paused
    assert not (await tm.stats("other")).paused
    assert await handle.status() == "waiting"
    assert await other.status() == "waiting"
    assert ran == []

    await tm.resume()
    assert await handle.result(timeout=PATIENCE) == 1
    assert not (await tm.stats()).paused


async def test_one_event_is_paused_and_the_others_go_on(tm: TaskManager) -> None:
    paused, others = recording(tm, "mail"), recording(tm, "work")
    await tm.start()
    await tm.pause(event="mail", wait=True)
    mail = await tm.emit("mail", data=1)
    work = await tm.emit("work", data=2)

    assert await work.result(timeout=PATIENCE) == 2
    assert (await tm.stats()).paused_events == ["mail"]
    assert (await tm.stats()).paused is False
    assert (paused, others) == ([], [2])

    await tm.resume(event="mail")
    assert await mail.result(timeout=PATIENCE) == 1


async def test_a_queue_and_its_event_have_a_pause_each(tm: TaskManager) -> None:
    ran = recording(tm, "mail")
    await tm.pause("default")
    await tm.pause("default", event="mail")
    await tm.start()
    handle = await tm.emit("mail", data=1)

    await tm.resume()
    assert (await tm.stats()).paused is False
    assert ran == []
    await tm.resume(event="mail")

    assert await handle.result(timeout=PATIENCE) == 1


async def test_after_a_pause_that_was_waited_for_nothing_starts(make: Make) -> None:
    workers = [make(concurrency=2) for _ in range(2)]
    started = [recording(tm) for tm in workers]
    for tm in workers:
        await tm.start()
    await workers[0].emit_many([{"event": "work", "data": n} for n in range(200)])

    await workers[0].pause(wait=True)
    ran = sum(len(it) for it in started)
    await workers[0].emit("work", data="more")

    async def all_others_wait() -> bool:
        return (await workers[0].stats()).waiting == 201 - ran

    # What was held is handed back.
    await aeventually(all_others_wait)
    # Nothing to wait for: what must not happen has a while to happen.
    await asyncio.sleep(0.3)
    assert sum(len(it) for it in started) == ran


async def test_what_runs_when_a_queue_is_paused_ends_as_usual(tm: TaskManager) -> None:
    started, go_on = asyncio.Event(), asyncio.Event()

    @tm.registerHandler(event="work")
    async def work(job: Job[Any]) -> str:
        started.set()
        await go_on.wait()
        return "done"

    await tm.start()
    handle = await tm.emit("work")
    await asyncio.wait_for(started.wait(), PATIENCE)
    await tm.pause(wait=True)
    go_on.set()

    assert await handle.result(timeout=PATIENCE) == "done"


def test_a_queue_is_paused_without_an_event_loop(server: RedisServer) -> None:
    tm = TaskManager(server.url)

    tm.sync.pause("default", wait=True)
    tm.sync.pause("default", event="mail")
    assert (tm.sync.stats().paused, tm.sync.stats().paused_events) == (True, ["mail"])
    tm.sync.resume("default")
    tm.sync.resume("default", event="mail")
    assert (tm.sync.stats().paused, tm.sync.stats().paused_events) == (False, [])


async def test_names_are_checked_before_anything_is_paused(
    tm: TaskManager, redis: redis_py.Redis
) -> None:
    for given in ({"queue": "a b"}, {"event": "a b"}, {"event": ""}):
        with pytest.raises(InvalidInput):
            await tm.pause(**given)  # type: ignore[arg-type]
        with pytest.raises(InvalidInput):
            await tm.resume(**given)

    assert redis.keys("*") == []


async def test_more_paused_events_than_a_queue_may_have_are_an_error(tm: TaskManager) -> None:
    await asyncio.gather(*(tm.pause(event=f"event-{n}") for n in range(1000)))

    with pytest.raises(TooManyPaused, match=r"'mail' was not paused: queue .* already has 1000"):
        await tm.pause(event="mail")


# Redis away


async def test_without_redis_cancel_and_pause_say_that_it_is_unavailable(
    server: RedisServer, tm: TaskManager
) -> None:
    handle = await tm.emit("work", delay=LONG)
    server.kill()

    for ask in (handle.cancel, tm.pause, tm.resume):
        with pytest.raises(RedisUnavailable) as caught:
            await ask()
        assert caught.value.outcome == "unknown"
