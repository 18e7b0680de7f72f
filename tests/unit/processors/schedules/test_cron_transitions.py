"""Each kind of change of clocks from 2020 to 2040, of all time zones, against two other clocks.

The first oracle walks through real time minute by minute, with the virtual clock of
Debian's cron. The second is cronsim, which follows the same cron. They agree, but:

* cronsim names the end of a gap once for each time in it; a schedule has one job for
  one instant, so here they are one.
* cronsim has no fixed times with six fields; here the seconds change nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import takewhile
from typing import NamedTuple
from zoneinfo import ZoneInfo, available_timezones

import pytest
from cronsim import CronSim

from processors.schedules.cron import CronSpec

MINUTE, HOUR, DAY = 60, 3600, 86_400
FROM = int(datetime(2020, 1, 1, tzinfo=UTC).timestamp())
UNTIL = int(datetime(2041, 1, 1, tzinfo=UTC).timestamp())


class Change(NamedTuple):
    """The instant from which a zone's clocks are after ahead of UTC, instead of before. Seconds."""

    at: int
    before: int
    after: int

    @property
    def middle(self) -> datetime:
        """A wall time in the middle of what is skipped or repeated, as if of UTC."""
        wall = self.at + (self.before + self.after) // 2
        return datetime.fromtimestamp(wall - wall % MINUTE, UTC)

    @property
    def kind(self) -> tuple[int, int, int]:
        """What tells apart the changes around which schedules could differ."""
        return self.before, self.after, self.at % DAY

    def wall(self, at: int) -> int:
        return at + (self.before if at < self.at else self.after)


class Pattern(NamedTuple):
    """Hours and minutes of each day; text says the same to cron."""

    text: str
    hours: set[int]
    minutes: set[int]

    def shows(self, wall: int) -> bool:
        return wall // HOUR % 24 in self.hours and wall // MINUTE % 60 in self.minutes


EVERY_QUARTER = Pattern("*/15 * * * *", set(range(24)), {0, 15, 30, 45})


def fixed(hours: set[int], minutes: set[int]) -> Pattern:
    listed = [",".join(map(str, sorted(given))) for given in (minutes, hours)]
    return Pattern(f"{listed[0]} {listed[1]} * * *", hours, minutes)


def offset(zone: ZoneInfo, at: int) -> int:
    ahead = datetime.fromtimestamp(at, zone).utcoffset()
    assert ahead is not None
    return int(ahead.total_seconds())


def changes_of(zone: ZoneInfo) -> Iterator[Change]:
    # Three days: the two nearest changes of any zone are a week apart.
    for early in range(FROM, UNTIL, 3 * DAY):
        late = early + 3 * DAY
        before, after = offset(zone, early), offset(zone, late)
        while before != after and late - early > 1:
            between = (early + late) // 2
            if offset(zone, between) == before:
                early = between
            else:
                late = between
        if before != after:
            yield Change(late, before, after)


@pytest.fixture(scope="module")
def changes() -> list[tuple[str, Change]]:
    """The first and the last change of each kind: the same offsets at the same time of day.

    Zones with the same clocks count once. Late changes follow a zone's rule, not its table.
    """
    zones: dict[tuple[int, tuple[Change, ...]], str] = {}
    for name in sorted(available_timezones()):
        zone = ZoneInfo(name)
        zones.setdefault((offset(zone, FROM), tuple(changes_of(zone))), name)
    found = [(name, change) for (_, its), name in zones.items() for change in its]
    assert len(found) > 1000
    found.sort(key=lambda it: it[1].at)
    last = {it.kind: (name, it) for name, it in found}
    first = {it.kind: (name, it) for name, it in reversed(found)}
    return [*first.values(), *last.values()]


def interval_by_the_minute(pattern: Pattern, change: Change, low: int, high: int) -> list[int]:
    return [at for at in range(low, high, MINUTE) if pattern.shows(change.wall(at))]


def fixed_by_the_minute(pattern: Pattern, change: Change, low: int, high: int) -> list[int]:
    """Return the minutes in which clocks get to a matching time for the first time."""
    fires, shown = [], change.wall(low) - MINUTE
    for at in range(low, high, MINUTE):
        wall = change.wall(at)
        if any(pattern.shows(it) for it in range(shown + MINUTE, wall + MINUTE, MINUTE)):
            fires.append(at)
        shown = max(shown, wall)
    return fires


def fires_of(text: str, tz: str, low: int, high: int) -> list[int]:
    """Return the fire times from low to before high, asked in both directions."""
    spec, fires, at = CronSpec(text, tz), [], low * 1000 - 1
    while (fire := spec.next_after(at)) is not None and fire < high * 1000:
        fires.append(fire // 1000)
        at = fire
    missed = spec.missed(low * 1000 - 1, high * 1000 - 1, 10_000)
    assert missed == [fire * 1000 for fire in fires]
    return fires


def fires_of_cronsim(text: str, tz: str, low: int, high: int) -> list[int]:
    start = datetime.fromtimestamp(low - 1, ZoneInfo(tz))
    times = (int(time.timestamp()) for time in CronSim(text, start))
    return list(dict.fromkeys(takewhile(lambda at: at < high, times)))


def test_a_fixed_time_that_clocks_skip_or_repeat_fires_once_a_day(
    changes: list[tuple[str, Change]],
) -> None:
    """E4, E5 and E6: 26 hours, so that each schedule comes once before and once after."""
    for tz, change in changes:
        low, high = change.at - 26 * HOUR, change.at + 26 * HOUR
        pattern = fixed({change.middle.hour}, {change.middle.minute})

        fires = fires_of(pattern.text, tz, low, high)

        assert fires == fixed_by_the_minute(pattern, change, low, high), (tz, change)
        assert fires == fires_of_cronsim(pattern.text, tz, low, high), (tz, change)


def test_fixed_times_around_a_change_fire_when_clocks_first_get_to_them(
    changes: list[tuple[str, Change]],
) -> None:
    for tz, change in changes:
        low, high = change.at - 5 * HOUR, change.at + 5 * HOUR
        hours = {(change.middle.hour + more) % 24 for more in (-2, -1, 0, 1, 2)}
        pattern = fixed(hours, {0, 10, 30, 45})

        fires = fires_of(pattern.text, tz, low, high)

        assert fires == fixed_by_the_minute(pattern, change, low, high), (tz, change)
        assert fires == fires_of_cronsim(pattern.text, tz, low, high), (tz, change)


def test_an_interval_fires_in_each_real_quarter_hour_around_a_change(
    changes: list[tuple[str, Change]],
) -> None:
    """E5."""
    for tz, change in changes:
        low, high = change.at - 3 * HOUR, change.at + 3 * HOUR

        fires = fires_of(EVERY_QUARTER.text, tz, low, high)

        assert fires == interval_by_the_minute(EVERY_QUARTER, change, low, high), (tz, change)
        assert fires == fires_of_cronsim(EVERY_QUARTER.text, tz, low, high), (tz, change)


def test_a_daily_midnight_skips_no_day_of_twenty_years(
    changes: list[tuple[str, Change]],
) -> None:
    """E6: midnight itself is skipped in Cairo, Beirut, Asuncion and others."""
    for tz, change in changes:
        zone = ZoneInfo(tz)
        low, high = change.at - 3 * DAY, change.at + 3 * DAY

        fires = fires_of("0 0 * * *", tz, low, high)

        days = [datetime.fromtimestamp(fire, zone).toordinal() for fire in fires]
        assert days == list(range(days[0], days[0] + len(days))), (tz, change)
        assert len(days) >= 5, (tz, change)
