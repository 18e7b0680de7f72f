"""Schedules through the public API, on a real Redis."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

import pytest
import redis as redis_py

from consumers.store.keys import Keys
from processors.schedules.schedule import fire_of
from taskmanager import (
    BrokenKey,
    CancelOutcome,
    Context,
    InvalidSchedule,
    Job,
    JobHandle,
    JobNotFound,
    NoSuchSchedule,
    QueueFull,
    RedisUnavailable,
    ResultExpired,
    ScheduleInfo,
    ScheduleRefused,
    TaskManager,
)
from tests.support.servers import RedisServer
from tests.support.waiting import PATIENCE, aeventually

Make = Callable[..., TaskManager]
KEYS = Keys("default")
EVERY_SECOND = {"pattern": "* * * * * *"}
# Never while a test runs.
YEARLY = {"pattern": "0 0 1 1 *"}


def recording(tm: TaskManager, event: str = "tick", **options: Any) -> list[Job[Any]]:
    """Register a handler; return the jobs it was run with."""
    ran: list[Job[Any]] = []

    @tm.registerHandler(event=event, **options)
    async def record(job: Job[Any]) -> Any:
        ran.append(job)
        return job.data

    return ran


async def only(tm: TaskManager, queue: str | None = None) -> ScheduleInfo:
    (info,) = await tm.schedules(queue)
    return info


# emit(repeat=...)


async def test_an_emit_that_repeats_runs_at_each_fire_time(tm: TaskManager) -> None:
    ran = recording(tm)
    await tm.start()

    handle = await tm.emit("tick", data={"n": 1}, repeat={**EVERY_SECOND, "name": "ticking"})

    assert (handle.created, handle.run) == (True, None)
    assert await handle.result(timeout=PATIENCE) == {"n": 1}
    await aeventually(lambda: len(ran) >= 3)
    fires = [fire_of(job.id) for job in ran]
    assert ran[0].id == handle.id
    assert len(set(fires)) == len(fires)
    assert {fire[0] for fire in fires if fire} == {"ticking"}
    slots = [fire[1] for fire in fires if fire]
    assert all(slot % 1000 == 0 for slot in slots)
    assert slots == sorted(slots)


async def test_before_its_fire_time_the_job_is_delayed_and_its_result_waited_for(
    tm: TaskManager,
) -> None:
    handle = await tm.emit("tick", repeat=YEARLY)
    waiting = asyncio.create_task(handle.result(timeout=PATIENCE))

    assert await handle.status() == "delayed"
    assert await tm.handle(handle.id).status() == "delayed"
    info = await tm.get_job(handle.id)
    assert info is not None
    assert (info.state, info.event, info.run, info.data) == ("delayed", "tick", None, {})
    assert info.due_at == (await only(tm)).next_fires[0]
    await aeventually(lambda: not waiting.done())
    # Once no schedule is going to emit it there is nothing to wait for.
    await tm.schedule("tick").remove()
    with pytest.raises(JobNotFound):
        await waiting
    assert await handle.status() == "unknown"
    assert await tm.get_job(handle.id) is None


async def test_waiting_for_a_fire_outlasts_an_outage(server: RedisServer, make: Make) -> None:
    tm = make()
    handle = await tm.emit("tick", repeat=YEARLY)
    waiting = asyncio.create_task(handle.result(timeout=PATIENCE))
    # After the first look.
    await aeventually(lambda: looked_at(server))

    server.kill()
    await asyncio.sleep(1.2)  # longer than from one look to the next
    assert not waiting.done()
    server.start()
    with pytest.raises(JobNotFound):
        await waiting


def looked_at(server: RedisServer) -> bool:
    with server.client() as client:
        return "cmdstat_hgetall" in client.info("commandstats")


async def test_the_same_definition_again_is_kept_and_another_one_replaces_it(
    tm: TaskManager,
) -> None:
    first = await tm.emit("tick", data=1, repeat=YEARLY)
    again = await tm.emit("tick", data=1, repeat=YEARLY)
    named = {**YEARLY, "name": (await only(tm)).name}
    replaced = await tm.emit("tick", data=2, repeat=named)

    assert [it.created for it in (first, again, replaced)] == [True, False, True]
    assert first.id == again.id == replaced.id
    assert (await only(tm)).data == 2


async def test_a_definition_of_a_lower_version_is_refused(tm: TaskManager) -> None:
    await tm.emit("tick", repeat={**YEARLY, "version": 3})

    with pytest.raises(ScheduleRefused, match="a definition with a higher version is in force"):
        await tm.emit("tick", repeat={**YEARLY, "version": 2, "missed": "all"})

    assert (await only(tm)).version == 3


async def test_what_emit_is_given_is_what_the_jobs_have(tm: TaskManager) -> None:
    ran = recording(tm)
    await tm.start()

    handle = await tm.emit(
        "tick",
        data={"n": 1},
        partition="acme",
        priority=7,
        max_retries=4,
        timeout=20,
        correlation_id="c",
        repeat=EVERY_SECOND,
    )
    await handle.result(timeout=PATIENCE)

    job = ran[0]
    assert (job.partition, job.priority, job.correlation_id) == ("acme", 7, "c")
    assert (job.max_retries, job.timeout) == (4, 20.0)


async def test_a_schedule_that_a_handler_emits_does_not_inherit_its_correlation(
    tm: TaskManager,
) -> None:
    @tm.registerHandler(event="parent")
    async def parent(job: Job[Any], ctx: Context) -> str:
        handle = await ctx.emit("tick", repeat=YEARLY)
        return f"{handle.created}"

    await tm.start()
    results = [
        await (await tm.emit("parent", id=name, correlation_id=name)).result(timeout=PATIENCE)
        for name in ("a", "b")
    ]

    assert results == ["True", "False"]


async def test_a_synchronous_handler_may_emit_a_schedule(tm: TaskManager) -> None:
    @tm.registerHandler(event="parent")
    def parent(job: Job[Any], ctx: Context) -> str:
        return str(ctx.emit("tick", repeat=YEARLY).handle.id)

    await tm.start()
    handle = await tm.emit("parent")

    assert fire_of(await handle.result(timeout=PATIENCE))[0] == "tick"  # type: ignore[index]


async def test_a_schedule_that_nobody_awaits_is_registered_before_the_stop(
    make: Make, server: RedisServer
) -> None:
    async with make() as tm:
        emission = tm.emit("tick", repeat=YEARLY)
        assert fire_of(emission.id) is not None

    assert [info.name for info in await make().schedules()] == ["tick"]


def test_a_schedule_is_emitted_and_listed_without_an_event_loop(server: RedisServer) -> None:
    tm = TaskManager(server.url)

    handle = tm.emit_sync("tick", queue="q", repeat=YEARLY)

    assert handle.created
    assert handle.status() == "delayed"
    assert handle.cancel() is CancelOutcome.TOO_LATE
    (info,) = tm.sync.schedules()
    assert (info.name, info.queue) == ("tick", "q")
    assert tm.sync.schedules("other") == []


async def test_a_full_or_broken_redis_refuses_a_schedule(
    server: RedisServer, tm: TaskManager, redis: redis_py.Redis
) -> None:
    redis.set(KEYS.schedules, "foreign")
    with pytest.raises(BrokenKey, match=r"tm:\{default\}:cron"):
        await tm.emit("tick", repeat=YEARLY)
    redis.delete(KEYS.schedules)
    redis.config_set("maxmemory", 1)

    with pytest.raises(QueueFull, match="out of memory"):
        await tm.emit("tick", repeat=YEARLY)

    assert await tm.schedules("default") == []


async def test_a_schedule_is_emitted_again_while_redis_is_away(
    server: RedisServer, make: Make
) -> None:
    tm = make(emit_timeout=20)
    await tm.schedules()
    server.kill()
    emission = asyncio.ensure_future(tm.emit("tick", repeat=YEARLY))
    await aeventually(lambda: not emission.done())

    server.start()

    assert (await emission).created


async def test_a_schedule_is_given_up_after_the_emit_timeout(
    server: RedisServer, make: Make
) -> None:
    tm = make(emit_timeout=0.3)
    server.kill()

    with pytest.raises(RedisUnavailable) as caught:
        await tm.emit("tick", repeat=YEARLY)

    assert caught.value.outcome == "unknown"


# Of handlers


async def test_a_handlers_schedule_fires_in_every_workers_turn_but_once(make: Make) -> None:
    workers = [make() for _ in range(3)]
    ran: list[str] = []

    for tm in workers:

        @tm.registerHandler(event="tick", options={"repeat": {**EVERY_SECOND, "data": {"n": 1}}})
        @tm.registerHandler(event="tock", repeat={"every": 1.5, "data": {"n": 1}})
        async def tick(job: Job[Any]) -> None:
            assert job.data == {"n": 1}
            ran.append(job.id)

    for tm in workers:
        await tm.start()
    await aeventually(lambda: fired(ran, "tick") >= 4 and fired(ran, "tock") >= 3)

    assert len(set(ran)) == len(ran)
    tocks = sorted(fire[1] for it in ran if (fire := fire_of(it)) and fire[0] == "tock")
    assert [later - earlier for earlier, later in pairwise(tocks)] == [1500] * (len(tocks) - 1)
    assert all(it % 1500 == 0 for it in tocks)
    ticking, tocking = sorted(await workers[0].schedules(), key=lambda info: info.name)
    assert (ticking.name, ticking.source, ticking.paused) == ("tick", "handler", None)
    assert ticking.fires >= 4
    assert ticking.last_id is not None
    assert fire_of(ticking.last_id) is not None
    assert (tocking.pattern, tocking.tz) == ("every 1.500 s", "UTC")


def fired(ran: list[str], name: str) -> int:
    return sum(it.startswith(f"cron:{name}:") for it in ran)


async def test_a_handler_in_a_process_without_a_worker_registers_nothing(make: Make) -> None:
    producer, worker = make(), make()
    recording(producer, repeat=YEARLY)
    recording(worker, "other")

    async with producer:
        await producer.emit("other")
    await worker.start()
    await worker.drain()

    assert await worker.schedules() == []


async def test_workers_without_schedules_of_their_own_fire_those_of_emits(make: Make) -> None:
    producer, worker = make(), make()
    ran = recording(worker)
    await worker.start()

    async with producer:
        handle = await producer.emit("tick", repeat=EVERY_SECOND)
        await handle.result(timeout=PATIENCE)

    assert ran[0].id == handle.id


async def test_the_last_registered_definition_of_a_handler_counts(make: Make) -> None:
    for pattern in ("0 0 1 1 *", "0 0 2 1 *"):
        tm = make()
        recording(tm, repeat={"pattern": pattern})
        await tm.start()
        await aeventually(lambda tm=tm, pattern=pattern: has_pattern(tm, pattern))
        await tm.stop()


async def has_pattern(tm: TaskManager, pattern: str) -> bool:
    return [info.pattern for info in await tm.schedules("default")] == [pattern]


# Listing and changing


async def test_schedules_are_listed_with_their_next_fires(tm: TaskManager) -> None:
    daily = {"pattern": "0 3 * * *", "tz": "Europe/Berlin", "missed": "all", "overlap": "skip"}
    await tm.emit("report", queue="mail", data={"n": 1}, repeat={**daily, "name": "nightly"})
    await tm.emit("tick", repeat=YEARLY)
    before = datetime.now(UTC) - timedelta(minutes=1)

    nightly, ticking = sorted(await tm.schedules(), key=lambda info: info.name)

    assert (nightly.name, nightly.queue, nightly.event) == ("nightly", "mail", "report")
    assert (nightly.pattern, nightly.tz, nightly.data) == ("0 3 * * *", "Europe/Berlin", {"n": 1})
    assert (nightly.missed, nightly.overlap, nightly.version) == ("all", "skip", 0)
    assert (nightly.last_fired, nightly.last_id, nightly.paused) == (None, None, None)
    assert (nightly.source, nightly.fires, nightly.skipped) == ("emit", 0, 0)
    assert nightly.registered_at > before
    assert len(nightly.next_fires) == 5
    assert nightly.next_fires == sorted(nightly.next_fires)
    assert all(fire.tzinfo is UTC and fire > before for fire in nightly.next_fires)
    assert {fire.year - before.year for fire in ticking.next_fires} == {1, 2, 3, 4, 5}
    assert await tm.schedules("default") == [ticking]
    assert await tm.schedules("nothing") == []


async def test_a_paused_schedule_does_not_fire_until_it_is_resumed(tm: TaskManager) -> None:
    ran = recording(tm)
    await tm.emit("tick", repeat=EVERY_SECOND)
    schedule = tm.schedule("tick")
    assert await schedule.pause()
    await tm.start()

    info = await schedule.info()
    assert info is not None
    assert (info.paused, info.next_fires) == ("paused", [])
    # Nothing to wait for: what must not happen has two fire times to happen.
    await asyncio.sleep(2)
    assert ran == []

    resumed_at = time.time()
    assert await schedule.resume()
    await aeventually(lambda: ran)
    # Those that passed meanwhile are left out.
    fire = fire_of(ran[0].id)
    assert fire is not None
    assert fire[1] >= resumed_at * 1000 - 1000
    assert (await only(tm)).paused is None


async def test_a_schedule_is_run_now_beside_its_fire_times(tm: TaskManager) -> None:
    ran = recording(tm)
    await tm.emit("tick", data=5, priority=3, max_retries=2, repeat=YEARLY)
    (info,) = await tm.schedules()
    schedule = tm.schedule(info.name)
    await schedule.pause()
    await tm.start()

    handles = [await schedule.run(), await schedule.run()]

    assert [await it.result(timeout=PATIENCE) for it in handles] == [5, 5]
    assert len({it.id for it in handles}) == 2
    assert all(it.id.startswith(f"cron:{info.name}:now-") and it.created for it in handles)
    assert [(job.priority, job.max_retries) for job in ran] == [(3, 2)] * 2
    after = await schedule.info()
    assert after is not None
    assert (after.last_fired, after.paused, after.fires) == (None, "paused", 0)


async def test_a_removed_schedule_is_gone(tm: TaskManager) -> None:
    await tm.emit("tick", repeat=YEARLY)
    schedule = tm.schedule("tick")

    assert await schedule.remove()

    assert await tm.schedules() == []
    assert await schedule.info() is None
    for change in (schedule.pause, schedule.resume, schedule.remove):
        assert await change() is False
    with pytest.raises(NoSuchSchedule, match="queue 'default' has no schedule 'tick'"):
        await schedule.run()


async def test_a_definition_of_a_newer_version_is_listed_and_not_run(
    tm: TaskManager, redis: redis_py.Redis
) -> None:
    await tm.emit("tick", repeat=YEARLY)
    redis.hset(KEYS.schedule("tick"), "definition", '{"lunar": true}')
    schedule = tm.schedule("tick")

    info = await only(tm)
    assert (info.name, info.event, info.pattern, info.next_fires) == ("tick", "", "", [])
    for ask in (schedule.run, schedule.resume):
        with pytest.raises(ScheduleRefused, match="this version cannot read it"):
            await ask()
    assert await schedule.pause()
    assert await schedule.remove()


async def test_a_schedule_that_somebody_spoiled_is_listed_and_can_be_removed(
    tm: TaskManager, redis: redis_py.Redis
) -> None:
    await tm.emit("tick", repeat=YEARLY)
    for name, field, value in (
        ("a", "slot", "soon"),
        ("b", "version", "1e99"),
        ("c", "last", b"\xff"),
    ):
        await tm.emit("tick", repeat={**YEARLY, "name": name})
        redis.hset(KEYS.schedule(name), field, value)
    redis.set(KEYS.schedule("foreign"), "value")
    redis.sadd(KEYS.schedule_names, "foreign", b"\xff")

    found = {info.name: info for info in await tm.schedules()}

    assert set(found) == {"a", "b", "c", "foreign", "tick"}
    assert [info.pattern for info in found.values()].count("") == 4
    for name in "abc":
        schedule = tm.schedule(name)
        info = await schedule.info()
        assert info is not None
        assert (info.event, info.next_fires) == ("", [])
        with pytest.raises(ScheduleRefused, match="this version cannot read it: its "):
            await schedule.run()
        assert await schedule.remove()
    assert len(await tm.schedules()) == 2


async def test_a_version_that_redis_cannot_compare_is_refused(tm: TaskManager) -> None:
    with pytest.raises(InvalidSchedule, match=r"version \d+ is not allowed: give a"):
        await tm.emit("tick", repeat={**YEARLY, "version": time.time_ns()})

    most = 2**53 - 1
    await tm.emit("tick", repeat={**YEARLY, "version": most})
    assert (await only(tm)).version == most


async def test_a_schedule_is_emitted_and_resumed_after_the_clock_was_set_back(
    tm: TaskManager, redis: redis_py.Redis
) -> None:
    every_minute = {"pattern": "* * * * *", "name": "s"}
    await tm.emit("tick", repeat=every_minute)
    ahead = (int(time.time()) + 3600) * 1000
    redis.hset(KEYS.schedule("s"), "fired", ahead)
    schedule = tm.schedule("s")
    assert await schedule.pause()

    assert await asyncio.wait_for(schedule.resume(), PATIENCE)

    assert int(redis.hget(KEYS.schedule("s"), "slot") or 0) > ahead
    handle = await tm.emit("tick", data=2, repeat=every_minute)
    fire = fire_of(handle.id)
    assert fire is not None
    assert fire[1] > ahead


async def test_a_removed_schedule_of_a_handler_comes_back_where_the_handler_is(
    tm: TaskManager,
) -> None:
    recording(tm, repeat=YEARLY)
    await tm.start()
    await aeventually(lambda: has_pattern(tm, YEARLY["pattern"]))

    assert await tm.schedule("tick").remove()

    await aeventually(lambda: has_pattern(tm, YEARLY["pattern"]))


async def test_the_names_of_schedules_are_checked(tm: TaskManager) -> None:
    for name, queue in (("a b", "default"), ("tick", "a b"), ("", "default")):
        with pytest.raises(ValueError, match="is not allowed"):
            tm.schedule(name, queue)
    with pytest.raises(ValueError, match="is not allowed"):
        await tm.schedules("a b")


async def test_without_redis_schedules_say_that_it_is_unavailable(
    server: RedisServer, tm: TaskManager
) -> None:
    schedule = tm.schedule("tick")
    server.kill()

    asked = (tm.schedules, schedule.info, schedule.pause, schedule.resume, schedule.remove)
    for ask in (*asked, schedule.run):
        with pytest.raises(RedisUnavailable):
            await ask()  # type: ignore[operator]


async def test_a_handle_of_a_run_that_is_known_asks_no_schedule(tm: TaskManager) -> None:
    handle = JobHandle("cron:tick:5", "default", True, 7, jobs=tm._jobs)

    assert await handle.status() == "unknown"
    with pytest.raises(ResultExpired):
        await handle.result(timeout=PATIENCE)
