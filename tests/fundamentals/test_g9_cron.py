"""G9: a schedule fires once for each fire time, however many workers live."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import replace
from typing import Any

import pytest
import redis as redis_py

from consumers.connections.connector import Connector
from consumers.connections.wire import Wire
from consumers.jobs.job import Job
from consumers.jobs.lanes import Lane
from consumers.store import tending
from consumers.store.keys import Keys
from consumers.upkeep.service import LOOK
from processors.schedules.cron import CronSpec
from processors.schedules.schedule import Overlap, Schedule, fire_id
from processors.schedules.scheduler import Scheduler
from processors.schedules.timetable import Timetable
from tests.support.engine import QueueView, working
from tests.support.queue import GROUP, Queue, new_job
from tests.support.servers import RedisServer
from tests.support.waiting import aeventually

pytestmark = pytest.mark.timeout(180)

KEYS = Keys("default")


@pytest.fixture
async def wire(server: RedisServer) -> AsyncIterator[Wire]:
    wire = Wire(Connector.of(server.url), name="test")
    yield wire
    await wire.close()


@pytest.fixture
def timetable(wire: Wire) -> Timetable:
    return Timetable(wire, KEYS)


SECOND, MINUTE, HOUR = "* * * * * *", "* * * * *", "0 * * * *"


def every(pattern: str, *, overlap: Overlap = "allow", **given: Any) -> Schedule:
    """Return a schedule of the one job that there is here."""
    return Schedule("tick", CronSpec(pattern), "work", Lane("default"), overlap=overlap, **given)


def services(*own: Schedule) -> dict[str, Any]:
    """Return what a consumer does beside its jobs: fire schedules."""
    return {"cron": lambda wire, keys: Scheduler(wire, keys, own)}


async def test_g9_five_schedulers_fire_each_time_once(
    server: RedisServer, redis: redis_py.Redis
) -> None:
    ran: list[tuple[str, int]] = []

    async def work(job: Job[Any]) -> None:
        ran.append((job.id, job.generation))

    tick = every(SECOND, missed="all")
    async with AsyncExitStack() as stack:
        for n in range(5):
            await stack.enter_async_context(
                working(server.url, {"work": work}, name=f"w{n}", services=services(tick))
            )
        await aeventually(lambda: len(ran) >= 4)

    # Five workers start what is fired late at once in any order.
    times = sorted(int(job_id.rpartition(":")[2]) for job_id, _ in ran)
    assert times == list(range(times[0], times[0] + 1000 * len(times), 1000))
    assert len({generation for _, generation in ran}) == len(ran)


async def test_g9_a_fire_is_never_early_by_the_clock_of_redis(
    timetable: Timetable, redis: redis_py.Redis
) -> None:
    schedule = every(MINUTE)
    await timetable.register(schedule, source="handler")
    record = await timetable.record("tick")
    assert record is not None
    assert record.slot is not None

    assert await timetable.fire(record, schedule, record.slot) == ("early", 0)
    assert redis.xlen(KEYS.lane(Lane("default"))) == 0


async def test_g9_a_fire_computed_twice_is_fired_once(
    timetable: Timetable, redis: redis_py.Redis
) -> None:
    schedule = every(MINUTE)
    record = await _due(timetable, redis, schedule)
    assert record.slot is not None
    slot = record.slot

    both = await asyncio.gather(*(timetable.fire(record, schedule, slot) for _ in range(2)))

    assert sorted(both) == [("fired", 1), ("stale", 0)]
    assert QueueView(redis).live(fire_id("tick", slot)) is not None
    # Nor does whatever registers it later give the time again.
    assert (await timetable.register(every(HOUR), source="handler")).word == "replaced"
    again = await timetable.record("tick")
    assert again is not None
    assert again.fired == slot
    assert again.slot is not None
    assert again.slot > slot


@pytest.mark.parametrize(
    ("overlap", "word"), [("allow", "fired"), ("skip", "fired"), ("queue", "busy")]
)
async def test_g9_what_a_fire_does_while_the_job_of_an_earlier_one_lives(
    timetable: Timetable, redis: redis_py.Redis, overlap: Overlap, word: str
) -> None:
    schedule = every(MINUTE, overlap=overlap)
    first = await _due(timetable, redis, schedule)
    assert first.slot is not None
    assert await timetable.fire(first, schedule, first.slot) == ("fired", 1)
    second = await _due(timetable, redis, schedule, minutes_ago=1)
    assert second.slot is not None

    assert await timetable.fire(second, schedule, second.slot) == (word, int(overlap == "allow"))

    record = await timetable.record("tick")
    assert record is not None
    assert record.skipped == int(overlap == "skip")
    assert (record.fired == second.slot) is (overlap != "queue")


async def test_g9_a_queued_fire_follows_when_the_run_before_has_ended(
    server: RedisServer, redis: redis_py.Redis
) -> None:
    running, most, ends = 0, 0, 0

    async def work(job: Job[Any]) -> None:
        nonlocal running, most, ends
        running += 1
        most = max(most, running)
        await asyncio.sleep(1.2)
        running -= 1
        ends += 1

    schedule = every(SECOND, overlap="queue")
    async with working(server.url, {"work": work}, concurrency=4, services=services(schedule)):
        await aeventually(lambda: ends >= 3)

    assert most == 1


async def test_g9_a_schedule_is_registered_again_after_redis_lost_its_data(
    server: RedisServer, redis: redis_py.Redis
) -> None:
    ran: list[str] = []

    async def work(job: Job[Any]) -> None:
        ran.append(job.id)

    async with working(server.url, {"work": work}, services=services(every(SECOND))):
        await aeventually(lambda: ran)
        redis.flushall()
        ran.clear()
        await aeventually(lambda: ran)


async def test_g9_a_definition_that_nobody_registers_for_a_week_is_paused_and_comes_back(
    server: RedisServer, redis: redis_py.Redis, timetable: Timetable
) -> None:
    ran: list[str] = []

    async def work(job: Job[Any]) -> None:
        ran.append(job.id)

    await timetable.register(every(SECOND), source="handler")
    redis.hincrby(KEYS.schedule("tick"), "registered", -8 * 24 * 3600 * 1000)
    async with working(server.url, {"work": work}, services=services()):
        await aeventually(lambda: redis.hget(KEYS.schedule("tick"), "paused") == b"unregistered")
    assert ran == []

    async with working(server.url, {"work": work}, services=services(every(SECOND))):
        await aeventually(lambda: ran)


async def test_g9_a_schedule_whose_record_somebody_spoiled_does_not_stop_the_others(
    server: RedisServer, redis: redis_py.Redis, timetable: Timetable
) -> None:
    ran: list[str] = []

    async def work(job: Job[Any]) -> None:
        ran.append(job.id)

    spoiled = Schedule("spoiled", CronSpec("* * * * * *"), "work", Lane("default"))
    await timetable.register(spoiled, source="emit")
    redis.hset(KEYS.schedule("spoiled"), "definition", "{}")
    redis.zadd(KEYS.schedules, {"nothing": 0})
    async with working(server.url, {"work": work}, services=services(every(SECOND))):
        await aeventually(lambda: len(ran) >= 2)

    assert redis.zscore(KEYS.schedules, "nothing") is None


UNREADABLE: list[dict[str, Any]] = [
    {"version": "1.7e+18"},
    {"slot": "soon"},
    {"fired": "9" * 30},
    {"registered": "x"},
    {"source": b"\xff"},
    {"definition": b"\xff"},
    {"definition": '{"every": 5}'},
]


async def test_g9_no_record_that_cannot_be_read_stops_the_others(
    server: RedisServer, redis: redis_py.Redis, timetable: Timetable
) -> None:
    ran: list[str] = []

    async def work(job: Job[Any]) -> None:
        ran.append(job.id)

    for number, fields in enumerate(UNREADABLE):
        await _in_trouble(timetable, redis, f"spoiled{number}", fields)
    async with working(server.url, {"work": work}, services=services(every(SECOND))):
        await aeventually(lambda: len(ran) >= 2)

    assert {fire.rpartition(":")[0] for fire in ran} == {"cron:tick"}
    # Nor does it keep them from being listed, or itself from being removed.
    found = {record.name: record for record in await timetable.records()}
    assert len(found) == len(UNREADABLE) + 1
    for record in found.values():
        assert (record.unreadable is None) is (record.name in ("tick", "spoiled5", "spoiled6"))
    assert await timetable.remove("spoiled0")


async def test_g9_a_foreign_value_in_place_of_one_handlers_schedule_keeps_no_other(
    server: RedisServer, redis: redis_py.Redis, timetable: Timetable
) -> None:
    ran: list[str] = []

    async def work(job: Job[Any]) -> None:
        ran.append(job.id)

    other = Schedule("other", CronSpec(HOUR), "work", Lane("default"))
    redis.set(KEYS.schedule("other"), "foreign")
    redis.sadd(KEYS.schedule_names, "other")
    async with working(server.url, {"work": work}, services=services(other, every(SECOND))):
        await aeventually(lambda: len(ran) >= 2)
        assert [it.unreadable is None for it in await timetable.records()] == [False, True]

        # As soon as it is gone, the schedule is registered.
        redis.delete(KEYS.schedule("other"))
        await aeventually(lambda: redis.exists(KEYS.schedule("other")))


async def test_g9_registering_that_fails_does_not_stop_the_firing(
    wire: Wire, redis: redis_py.Redis, timetable: Timetable
) -> None:
    due = await _due_as(timetable, redis, "other")
    redis.delete(KEYS.schedule_names)
    redis.set(KEYS.schedule_names, "foreign")

    await Scheduler(wire, KEYS, [every(MINUTE)]).step()

    record = await timetable.record("other")
    assert record is not None
    assert record.fired == due


async def test_g9_schedules_that_cannot_be_fired_delay_no_other(
    wire: Wire, redis: redis_py.Redis, timetable: Timetable, monkeypatch: pytest.MonkeyPatch
) -> None:
    # However long the steps here take, nothing is due for another look meanwhile.
    look = 3600.0
    monkeypatch.setattr(Scheduler, "interval", look)
    monkeypatch.setattr("processors.schedules.scheduler._LEFT_ALONE", 2 * look)
    for number in range(100):
        await _in_trouble(timetable, redis, f"newer{number}", {"definition": '{"every": 5}'})
    scheduler = Scheduler(wire, KEYS)
    due = await _due_as(timetable, redis, "tick")
    steps = 0
    while (record := await timetable.record("tick")) is not None and record.fired != due:
        await scheduler.step()
        steps += 1
        assert steps < 10

    # From then on they are not looked at again, and the next fire alone says how long to wait.
    soon = await timetable.now_ms() + round(look * 1000 / 2)
    redis.hset(KEYS.schedule("tick"), "slot", soon)
    redis.zadd(KEYS.schedules, {"tick": soon})
    reads = _reads(redis)
    waits = [await scheduler.step() for _ in range(3)]
    assert _reads(redis) == reads
    assert all(look / 4 < wait < look for wait in waits)
    assert redis.zcard(KEYS.schedules) == 101


async def test_g9_what_was_in_trouble_fires_once_it_is_well(
    wire: Wire, redis: redis_py.Redis, timetable: Timetable
) -> None:
    await _in_trouble(timetable, redis, "tick", {"definition": '{"every": 5}'})
    scheduler = Scheduler(wire, KEYS)
    await scheduler.step()
    schedule = every(SECOND)
    redis.hset(KEYS.schedule("tick"), "definition", schedule.definition)

    scheduler.wake()
    await scheduler.step()

    record = await timetable.record("tick")
    assert record is not None
    assert record.fires >= 1


async def test_g9_what_is_changed_while_it_is_looked_at_is_looked_at_again(
    wire: Wire, redis: redis_py.Redis, timetable: Timetable, monkeypatch: pytest.MonkeyPatch
) -> None:
    await _in_trouble(timetable, redis, "tick", {"definition": '{"every": 5}'})
    scheduler = Scheduler(wire, KEYS)
    read = Timetable.record

    async def changed_meanwhile(it: Timetable, name: str) -> Any:
        record = await read(it, name)
        redis.hset(KEYS.schedule("tick"), "definition", every(SECOND).definition)
        scheduler.wake()
        return record

    with monkeypatch.context() as patched:
        patched.setattr(Timetable, "record", changed_meanwhile)
        await scheduler.step()
    await scheduler.step()

    record = await timetable.record("tick")
    assert record is not None
    assert record.fires >= 1


async def test_g9_who_fires_second_waits_for_the_next_fire_time(
    wire: Wire, redis: redis_py.Redis, timetable: Timetable, monkeypatch: pytest.MonkeyPatch
) -> None:
    due = await _due_as(timetable, redis, "tick")
    scheduler, other, read = Scheduler(wire, KEYS), Scheduler(wire, KEYS), Timetable.record

    async def fired_meanwhile(it: Timetable, name: str) -> Any:
        record = await read(it, name)
        monkeypatch.setattr(Timetable, "record", read)
        await other.step()
        return record

    monkeypatch.setattr(Timetable, "record", fired_meanwhile)
    before = await timetable.now_ms()
    wait = await scheduler.step()
    after = await timetable.now_ms()

    record = await timetable.record("tick")
    assert record is not None
    assert (record.fired, record.fires) == (due, 1)
    assert record.slot is not None
    # It asks for the time at some moment between the two; a millisecond more is not early.
    latest, earliest = ((record.slot - now + 1) / 1000 for now in (before, after))
    assert min(LOOK, earliest) <= wait <= min(LOOK, latest)


async def test_g9_a_schedule_goes_on_behind_its_last_fire_when_the_clock_is_set_back(
    timetable: Timetable, redis: redis_py.Redis
) -> None:
    await timetable.register(every(HOUR), source="emit")
    ahead = await timetable.now_ms() + 90 * 60_000
    redis.hset(KEYS.schedule("tick"), "fired", ahead)

    done = await timetable.register(every(MINUTE), source="handler")

    assert done == ("replaced", CronSpec(MINUTE).next_after(ahead))
    await timetable.pause("tick")
    assert await asyncio.wait_for(timetable.resume("tick"), 30) == "done"
    record = await timetable.record("tick")
    assert record is not None
    assert (record.paused, record.slot) == (None, CronSpec(MINUTE).next_after(ahead))


async def test_g9_a_schedule_that_changes_all_the_time_is_not_resumed_for_ever(
    timetable: Timetable, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert await timetable.resume("tick") == "unknown"
    await timetable.register(every(HOUR), source="emit")
    record = await timetable.record("tick")
    assert record is not None
    stale = replace(record, digest="of an earlier definition")

    async def read(name: str) -> Any:
        return stale

    monkeypatch.setattr(timetable, "record", read)
    assert await asyncio.wait_for(timetable.resume("tick"), 30) == "other"


async def test_g9_a_handlers_definition_comes_in_force_though_the_clock_was_set_back(
    wire: Wire, redis: redis_py.Redis, timetable: Timetable
) -> None:
    await timetable.register(every(HOUR), source="emit")
    redis.hset(KEYS.schedule("tick"), "fired", await timetable.now_ms() + 90 * 60_000)

    await Scheduler(wire, KEYS, [every(MINUTE)]).step()

    record = await timetable.record("tick")
    assert record is not None
    assert record.digest == every(MINUTE).digest


async def test_g9_what_is_removed_comes_back_without_the_old_definitions_of_others(
    wire: Wire, redis: redis_py.Redis, timetable: Timetable
) -> None:
    mine = Schedule("mine", CronSpec(HOUR), "work", Lane("default"))
    old = Scheduler(wire, KEYS, [mine, every(HOUR)])
    await old.step()
    await timetable.register(every(MINUTE), source="handler")

    await timetable.remove("mine")
    await old.step()

    found = {record.name: record.digest for record in await timetable.records()}
    assert found == {"mine": mine.digest, "tick": every(MINUTE).digest}


async def test_g9_after_redis_lost_its_data_the_highest_version_counts_again(
    wire: Wire, redis: redis_py.Redis, timetable: Timetable
) -> None:
    new = Scheduler(wire, KEYS, [every(MINUTE, version=2)])
    await new.step()
    await new.step()
    redis.flushall()
    await timetable.register(every(HOUR, version=1), source="handler")

    await new.step()

    record = await timetable.record("tick")
    assert record is not None
    assert (record.digest, record.version) == (every(MINUTE).digest, 2)


@pytest.mark.parametrize("lose", ["group", "lane"])
async def test_g9_a_repaired_lane_brings_no_replaced_definition_back(
    wire: Wire, redis: redis_py.Redis, timetable: Timetable, lose: str
) -> None:
    queue, old = Queue(redis), Scheduler(wire, KEYS, [every(HOUR)])
    await old.step()
    await timetable.register(every(MINUTE), source="handler")
    queue.emit(new_job())
    await old.step()
    if lose == "group":
        redis.xgroup_destroy(queue.stream().key, GROUP)
    else:
        redis.delete(queue.stream().key)
    assert queue.run(tending.repair(KEYS, Lane("default"), GROUP)) != [[], []]

    await old.step()

    record = await timetable.record("tick")
    assert record is not None
    assert record.digest == every(MINUTE).digest


async def test_g9_a_schedule_that_was_just_registered_is_not_forgotten(
    wire: Wire, redis: redis_py.Redis, timetable: Timetable
) -> None:
    await timetable.register(every(SECOND), source="handler")
    redis.hincrby(KEYS.schedule("tick"), "registered", -8 * 24 * 3600 * 1000)
    record = await timetable.record("tick")
    assert record is not None
    await timetable.register(every(SECOND), source="handler", confirm_only=True)

    await Scheduler(wire, KEYS)._forget(record)

    assert redis.hget(KEYS.schedule("tick"), "paused") is None


async def test_g9_a_loop_that_was_busy_for_seconds_loses_no_fire_time(
    wire: Wire, redis: redis_py.Redis, timetable: Timetable
) -> None:
    await timetable.register(every(SECOND), source="handler")
    record = await timetable.record("tick")
    assert record is not None
    assert record.slot is not None
    slot = record.slot - 5000
    redis.hset(KEYS.schedule("tick"), "slot", slot)
    redis.zadd(KEYS.schedules, {"tick": slot})

    await Scheduler(wire, KEYS).step()

    after = await timetable.record("tick")
    assert after is not None
    assert after.fired is not None
    assert (after.fires, after.skipped) == ((after.fired - slot) // 1000 + 1, 0)
    assert after.fires >= 5


def _reads(redis: redis_py.Redis) -> int:
    calls: int = redis.info("commandstats")["cmdstat_hgetall"]["calls"]
    return calls


async def _in_trouble(
    timetable: Timetable, redis: redis_py.Redis, name: str, fields: dict[str, Any]
) -> None:
    """Register a schedule, spoil it, and let it be due before any other."""
    schedule = Schedule(name, CronSpec(SECOND), "work", Lane("default"))
    await timetable.register(schedule, source="emit")
    redis.hset(KEYS.schedule(name), mapping={"slot": 1000, **fields})
    redis.zadd(KEYS.schedules, {name: 1000})


async def _due_as(timetable: Timetable, redis: redis_py.Redis, name: str) -> int:
    """Register a schedule of each hour that is due now; return its fire time."""
    schedule = Schedule(name, CronSpec(HOUR), "work", Lane("default"))
    await timetable.register(schedule, source="emit")
    slot = schedule.spec.missed(0, await timetable.now_ms(), 1)[0]
    redis.hset(KEYS.schedule(name), "slot", slot)
    redis.zadd(KEYS.schedules, {name: slot})
    return slot


async def _due(
    timetable: Timetable, redis: redis_py.Redis, schedule: Schedule, *, minutes_ago: int = 2
) -> Any:
    """Register a schedule and make one of its past fire times the next one."""
    await timetable.register(schedule, source="handler")
    now = await timetable.now_ms()
    slot = schedule.spec.missed(0, now - (minutes_ago - 1) * 60_000, 1)[0]
    redis.hset(KEYS.schedule(schedule.name), "slot", slot)
    redis.zadd(KEYS.schedules, {schedule.name: slot})
    return await timetable.record(schedule.name)
