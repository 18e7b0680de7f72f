"""When a schedule fires, also where clocks change. Nothing else knows croniter."""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Iterator
from contextlib import suppress
from copy import copy
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from functools import lru_cache
from itertools import pairwise
from typing import NamedTuple
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from croniter import CroniterBadDateError, croniter  # type: ignore[import-untyped]

from processors.schedules.pattern import InvalidSchedule, fields_of

_DAY = 86_400
# No zone has changed its clocks twice within less than 6 days since 1970.
_PROBE = 2 * _DAY
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
# 29 February on a given weekday comes back after 40 years at most.
_YEARS_AHEAD = 50
# Far from the last year that datetime knows, however far ahead is looked. Seconds.
_END = 7900 * 365 * _DAY
_REFERENCE = 1_704_067_200
# "localtime" is another zone on each machine, "right/..." counts leap seconds.
_ZONE_NAME = re.compile(r"(?!localtime$|right/)[A-Za-z0-9_+/-]{1,64}")


@dataclass(frozen=True, slots=True)
class CronSpec:
    """The fire times of a cron pattern, by the clocks of a time zone.

    pattern has five fields: minute, hour, day of the month, month, weekday; or six
    with the second first; or is @hourly, @daily (@midnight), @weekly, @monthly or
    @yearly (@annually). tz is an IANA name. All times are in ms since the epoch.

    A field is * or a list of numbers, ranges (1-5), and steps (*/15, 10-40/10).
    Months and weekdays have names (JAN-DEC, SUN-SAT) in any case; 0 and 7 are
    Sunday, at the end of a range Sunday is the last day. L is the last day of the
    month, MON#2 the second Monday. When the day and the weekday are both
    restricted, either is enough; both must match when one begins with * (*/2).
    Refused: steps without a range (5/15) or that reach one value only (*/90),
    ranges backwards, ?, W, H, R, years, and dates that never come.

    Where clocks change, the rule is that of Vixie's and Debian's cron:

    * When neither the minute nor the hour begins with *, the schedule has a fixed
      time. A time that the clocks skip fires at the first instant after the gap,
      once, however many times fell into it and whatever the size of the gap. A time
      that the clocks show twice fires the first time. So a daily schedule fires
      on each day, unless the calendar itself skips one.
    * Any other pattern fires at every instant at which the clocks show a matching
      time: twice where they show it twice, not where they skip it.
    """

    pattern: str
    tz: str = "UTC"

    def __post_init__(self) -> None:
        _check_text("schedule", self.pattern, "'0 3 * * *'")
        _check_text("tz", self.tz, "'Europe/Berlin'")
        fields_of(self.pattern)
        _zone(self.tz)
        # From 2024 on, so that every process says the same.
        if _Walls(self.pattern).first(_REFERENCE, _END) is None:
            raise InvalidSchedule("schedule", self.pattern, "no month that it names has such a day")
        if self.next_after(_REFERENCE * 1000) is None:
            reason = f"the clocks of {self.tz} always skip that time"
            raise InvalidSchedule("schedule", self.pattern, reason)

    @property
    def is_fixed_time(self) -> bool:
        """Whether a time that the clocks skip or repeat fires exactly once."""
        minute, hour = fields_of(self.pattern)[-5:-3]
        return not (minute.startswith("*") or hour.startswith("*"))

    def next_after(self, after_ms: int) -> int | None:
        """Return the first fire time later than after_ms; None when 50 years have none."""
        earliest = max(after_ms // 1000 + 1, 0)
        if earliest >= _END:
            return None
        walls, first_wall = _Walls(self.pattern), self._first_wall
        for piece in _pieces_from(_zone(self.tz), earliest):
            low = first_wall(piece)
            if earliest > piece.start:
                low = max(low, earliest + piece.offset)
            wall = walls.first(low, piece.end + piece.offset)
            if wall is not None:
                return piece.instant(wall) * 1000
        return None

    def upcoming(self, after_ms: int, count: int) -> list[int]:
        """Return the next fire times later than after_ms, at most count of them."""
        fires: list[int] = []
        while len(fires) < count and (fire := self.next_after(after_ms)) is not None:
            fires.append(fire)
            after_ms = fire
        return fires

    def missed(self, after_ms: int, until_ms: int, most: int) -> list[int]:
        """Return the newest fire times later than after_ms and not later than until_ms.

        They are in order, at most most of them, and cost nothing for the ones left out.
        """
        fires: list[int] = []
        for fire in self._backwards(after_ms // 1000, until_ms // 1000):
            if len(fires) >= most:
                break
            fires.append(fire * 1000)
        return fires[::-1]

    def _backwards(self, after: int, until: int) -> Iterator[int]:
        after, until = max(after, -1), min(until, _END)
        walls = _Walls(self.pattern)
        for piece in _pieces_back(_zone(self.tz), after, until):
            latest = min(until, piece.end - 1)
            low = self._first_wall(piece)
            while latest >= piece.start:
                wall = walls.last(low, latest + piece.offset + 1)
                if wall is None or piece.instant(wall) <= after:
                    break
                latest = piece.instant(wall) - 1
                yield latest + 1

    def _first_wall(self, piece: _Piece) -> int:
        # Fixed times: what the clocks skipped just before counts, what they repeat does not.
        return piece.unseen if self.is_fixed_time else piece.start + piece.offset


class _Piece(NamedTuple):
    """Seconds from start to before end in which a zone's clocks are offset ahead of UTC.

    unseen: the first wall time that the clocks had not shown before start.
    """

    start: int
    end: int
    offset: int
    unseen: int

    def instant(self, wall: int) -> int:
        # A wall time of the gap is earlier than the start.
        return max(wall - self.offset, self.start)


class _Walls:
    """The wall times of a pattern: seconds since the epoch if the clocks were those of UTC.

    croniter is asked for these only. Its answers are remembered as a stretch
    without matches, or a rare schedule would ask again for every year.
    """

    def __init__(self, pattern: str) -> None:
        # The prototype is shared by threads, its position is not.
        self._cron = copy(_prototype(pattern))
        self._empty_from = self._empty_until = 0

    def first(self, low: int, until: int) -> int | None:
        """Return the first one from low to before until."""
        if self._is_empty(low, until):
            return None
        self._empty_from, self._empty_until = low, _END * 2
        try:
            self._empty_until = int(self._cron.get_next(float, start_time=low - 1))
        except CroniterBadDateError:
            return None
        return self._empty_until if self._empty_until < until else None

    def last(self, low: int, until: int) -> int | None:
        """Return the last one from low to before until."""
        if self._is_empty(low, until):
            return None
        try:
            found = int(self._cron.get_prev(float, start_time=until))
        except CroniterBadDateError:
            found = -_END
        self._empty_from, self._empty_until = found + 1, until
        return found if found >= low else None

    def _is_empty(self, low: int, until: int) -> bool:
        return self._empty_from <= low and until <= self._empty_until


def _pieces_from(zone: tzinfo, earliest: int) -> Iterator[_Piece]:
    first = _year_of(earliest)
    for year in range(first, first + _YEARS_AHEAD + 1):
        for piece in _pieces(zone, year):
            if piece.end > earliest:
                yield piece


def _pieces_back(zone: tzinfo, after: int, until: int) -> Iterator[_Piece]:
    if until <= after:
        return
    for year in range(_year_of(until), _year_of(after) - 1, -1):
        for piece in reversed(_pieces(zone, year)):
            if piece.end > after:
                yield piece


@lru_cache(maxsize=4096)
def _pieces(zone: tzinfo, year: int) -> tuple[_Piece, ...]:
    """Cut a year (of UTC) where the zone's clocks change."""
    start, end = _new_year(year), _new_year(year + 1)
    # Earlier, for an hour that is repeated over New Year.
    early = start - 2 * _DAY
    cuts = sorted({early, *_changes(zone, early, end), start, end})
    pieces, unseen = [], early - _DAY
    for cut, until in pairwise(cuts):
        unseen = max(unseen, cut + _offset(zone, cut - 1))
        if cut >= start:
            pieces.append(_Piece(cut, until, _offset(zone, cut), unseen))
    return tuple(pieces)


def _changes(zone: tzinfo, start: int, end: int) -> Iterator[int]:
    """Yield the instants after start and before end that begin another offset."""
    if zone is UTC:
        return
    probes = [*range(start, end, _PROBE), end - 1]
    offsets = [_offset(zone, at) for at in probes]
    for (low, before), (high, after) in pairwise(zip(probes, offsets, strict=True)):
        if before != after:
            yield _change(zone, low, high)


def _change(zone: tzinfo, low: int, high: int) -> int:
    before = _offset(zone, low)
    return low + bisect_left(range(low, high), True, key=lambda at: _offset(zone, at) != before)


def _offset(zone: tzinfo, at: int) -> int:
    local = datetime.fromtimestamp(at, zone).replace(tzinfo=UTC)
    return (local - _EPOCH) // timedelta(seconds=1) - at


def _new_year(year: int) -> int:
    return int(datetime(year, 1, 1, tzinfo=UTC).timestamp())


def _year_of(at: int) -> int:
    return datetime.fromtimestamp(at, UTC).year


def _check_text(what: str, given: object, example: str) -> None:
    if not isinstance(given, str):
        raise InvalidSchedule(what, given, f"give a string such as {example}")


@lru_cache(maxsize=256)
def _zone(name: str) -> tzinfo:
    # UTC is the default and needs no data.
    if name == "UTC":
        return UTC
    if _ZONE_NAME.fullmatch(name):
        # A folder's name raises OSError, a broken file ValueError.
        with suppress(ZoneInfoNotFoundError, ValueError, OSError):
            return ZoneInfo(name)
    hint = "if it is one, the time zone data of this machine is missing or old: update tzdata"
    raise InvalidSchedule("tz", name, f"give an IANA name such as 'Europe/Berlin'; {hint}")


@lru_cache(maxsize=1024)
def _prototype(pattern: str) -> croniter:
    fields = fields_of(pattern)
    return croniter(
        " ".join(fields),
        0.0,
        second_at_beginning=len(fields) == 6,
        # Vixie's: a day or a weekday that begins with * must match beside the other.
        implement_cron_bug=True,
    )
