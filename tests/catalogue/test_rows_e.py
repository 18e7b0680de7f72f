"""Rows E4 to E7 and E9 of the fault catalogue: schedules and time.

E8, E10 and E11 need processes: tests/processes/test_schedules.py.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any
from zoneinfo import ZoneInfo

import pytest
import redis as redis_py

from consumers.connections.connector import Connector
from consumers.connections.wire import Wire
from consumers.jobs.job import Job
from consumers.jobs.lanes import Lane
from consumers.store.keys import Keys
from processors.schedules.cron import CronSpec
from processors.schedules.pattern import InvalidSchedule
from processors.schedules.schedule import MOST_CAUGHT_UP, Missed, Schedule, fire_of
from processors.schedules.scheduler import Scheduler
from processors.schedules.timetable import Timetable
from tests.support.engine import QueueView, working
from tests.support.servers import RedisServer
from tests.support.waiting import aeventually

HOUR_MS = 3_600_000


def fires(pattern: str, tz: str, day: datetime, days: int = 1) -> list[str]:
    """Return the fires of some days, as the clocks of the zone show them."""
    zone = ZoneInfo(tz)
    start = int(day.replace(tzinfo=zone).timestamp() * 1000)
    end = int((day.replace(tzinfo=zone) + timedelta(days=days)).timestamp() * 1000)
    spec, found, at = CronSpec(pattern, tz), [], start - 1
    while (fire := spec.next_after(at)) is not None and fire < end:
        found.append(datetime.fromtimestamp(fire / 1000, zone).strftime("%d %H:%M %z"))
        at = fire
    return found


def test_row_e4_a_fixed_time_that_the_clocks_skip_fires_once_after_the_gap() -> None:
    assert fires("30 2 * * *", "Europe/Berlin", datetime(2026, 3, 28), days=3) == [  # noqa: DTZ001
        "28 02:30 +0100",
        "29 03:00 +0200",
        "30 02:30 +0200",
    ]


def test_row_e5_a_fixed_time_that_comes_twice_fires_once_and_an_interval_each_time() -> None:
    autumn = datetime(2026, 10, 25)  # noqa: DTZ001
    assert fires("30 2 * * *", "Europe/Berlin", autumn) == ["25 02:30 +0200"]
    quarters = fires("*/15 * * * *", "Europe/Berlin", autumn)
    assert len(quarters) == 25 * 4
    assert [it for it in quarters if it.startswith("25 02:15")] == [
        "25 02:15 +0200",
        "25 02:15 +0100",
    ]


@pytest.mark.parametrize(
    ("tz", "day"),
    [
        ("Africa/Cairo", datetime(2026, 4, 24)),  # noqa: DTZ001
        ("America/Sao_Paulo", datetime(2018, 11, 4)),  # noqa: DTZ001
    ],
)
def test_row_e6_no_day_is_skipped_where_midnight_is(tz: str, day: datetime) -> None:
    around = fires("0 0 * * *", tz, day - timedelta(days=1), days=3)

    assert [it[:5] for it in around] == [
        f"{day - timedelta(days=1):%d} 00",
        f"{day:%d} 01",
        f"{day + timedelta(days=1):%d} 00",
    ]


def test_row_e7_the_leap_day_is_found_and_a_day_that_never_comes_is_refused() -> None:
    spec = CronSpec("0 0 29 2 *")
    after = int(datetime(2026, 1, 1, tzinfo=UTC).timestamp() * 1000)
    leap = [datetime.fromtimestamp(it / 1000, UTC) for it in spec.upcoming(after, 2)]

    assert leap == [datetime(2028, 2, 29, tzinfo=UTC), datetime(2032, 2, 29, tzinfo=UTC)]
    with pytest.raises(InvalidSchedule, match="no month"):
        CronSpec("0 0 31 2 *")


@pytest.fixture
async def wire(server: RedisServer) -> AsyncIterator[Wire]:
    wire = Wire(Connector.of(server.url), name="test")
    yield wire
    await wire.close()


def report(missed: Missed = "one", pattern: str = "0 * * * *") -> Schedule:
    """Return a schedule of each full hour."""
    return Schedule("report", CronSpec(pattern), "work", Lane("default"), missed=missed)


async def put_back(wire: Wire, schedule: Schedule, slot: int) -> None:
    """Make Redis look as if nobody had been there since a fire time."""
    keys = Keys("default")
    await Timetable(wire, keys).register(schedule, source="handler")
    await wire.send("HSET", keys.schedule(schedule.name), "slot", slot)
    await wire.send("ZADD", keys.schedules, slot, schedule.name)


@pytest.mark.parametrize(("missed", "expected"), [("skip", 0), ("one", 1), ("all", 3)])
async def test_row_e9_three_missed_hours_fire_as_the_policy_says(
    server: RedisServer, redis: redis_py.Redis, wire: Wire, missed: Missed, expected: int
) -> None:
    ran: list[str] = []

    async def work(job: Job[Any]) -> None:
        ran.append(job.id)

    now = await Timetable(wire, Keys("default")).now_ms()
    # A full hour some time ago, so that the latest missed one is over the grace of "skip".
    spec = CronSpec(f"{datetime.fromtimestamp((now - 600_000) / 1000, UTC).minute} * * * *")
    missed_times = spec.missed(now - 3 * HOUR_MS, now, 10)
    assert len(missed_times) == 3
    schedule = report(missed, spec.pattern)
    await put_back(wire, schedule, missed_times[0])

    services = {"cron": lambda wire, keys: Scheduler(wire, keys)}
    async with working(server.url, {"work": work}, services=services):
        keys = Keys("default")
        await aeventually(
            lambda: redis.hget(keys.schedule("report"), "fired") == str(missed_times[-1]).encode()
        )
        await aeventually(QueueView(redis).is_empty)
        assert ran == [f"cron:report:{it}" for it in missed_times[3 - expected :]]
    record = await Timetable(wire, keys).record("report")
    assert record is not None
    assert (record.fires, record.skipped) == (expected, 3 - expected)
    assert record.slot == spec.next_after(missed_times[-1])


def test_row_e9_a_flood_is_bounded_whatever_the_policy() -> None:
    spec, now = CronSpec("* * * * * *"), 1_800_000_000_000
    slot = now - 24 * HOUR_MS
    due = Schedule("s", spec, "work", Lane("default"), missed="all").fires(slot, now)

    assert due.chosen == [now - n * 1000 for n in range(MOST_CAUGHT_UP - 1, -1, -1)]
    assert (due.latest, due.following) == (now, now + 1000)
    assert due.passed_over == 1000 - MOST_CAUGHT_UP
    assert all(later - sooner == 1000 for sooner, later in pairwise(due.chosen))
    assert fire_of(schedule_id := f"cron:s:{now}") == ("s", now), schedule_id
