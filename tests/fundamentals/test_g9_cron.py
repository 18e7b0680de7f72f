"""G9: a schedule fires once for each fire time, however many workers live."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any

import pytest
import redis as redis_py

from consumers.connection import Connector
from consumers.job import Job
from consumers.keys import Keys
from consumers.lanes import Lane
from consumers.wire import Wire
from processors.cron import CronSpec
from processors.schedule import Overlap, Schedule, fire_id
from processors.scheduler import Scheduler
from processors.timetable import Timetable
from tests.support.engine import QueueView, working
from tests.support.servers import RedisServer
from tests.support.waiting import aeventually

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
        await aeventually(lambda: len(ran) >= 4, within=15)

    times = [int(job_id.rpartition(":")[2]) for job_id, _ in ran]
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
        await aeventually(lambda: ends >= 3, within=20)

    assert most == 1


async def test_g9_a_schedule_is_registered_again_after_redis_lost_its_data(
    server: RedisServer, redis: redis_py.Redis
) -> None:
    ran: list[str] = []

    async def work(job: Job[Any]) -> None:
        ran.append(job.id)

    async with working(server.url, {"work": work}, services=services(every(SECOND))):
        await aeventually(lambda: ran, within=10)
        redis.flushall()
        ran.clear()
        await aeventually(lambda: ran, within=15)


async def test_g9_a_definition_that_nobody_registers_for_a_week_is_paused_and_comes_back(
    server: RedisServer, redis: redis_py.Redis, timetable: Timetable
) -> None:
    ran: list[str] = []

    async def work(job: Job[Any]) -> None:
        ran.append(job.id)

    await timetable.register(every(SECOND), source="handler")
    redis.hincrby(KEYS.schedule("tick"), "registered", -8 * 24 * 3600 * 1000)
    async with working(server.url, {"work": work}, services=services()):
        await aeventually(
            lambda: redis.hget(KEYS.schedule("tick"), "paused") == b"unregistered", within=10
        )
    assert ran == []

    async with working(server.url, {"work": work}, services=services(every(SECOND))):
        await aeventually(lambda: ran, within=10)


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
        await aeventually(lambda: len(ran) >= 2, within=15)

    assert redis.zscore(KEYS.schedules, "nothing") is None


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
