"""What a cron pattern may say. Anything else is refused here, with what to write instead."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import NamedTuple

from consumers.errors import InvalidInput

_MOST_CHARACTERS = 256
_ALIASES = {
    "@hourly": "0 * * * *",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *",
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
}
_FORMS = (
    "give 5 (minute hour day month weekday) or 6 (second first), for example '0 3 * * *', "
    f"or one of {', '.join(_ALIASES)}; for an interval, give every instead of a pattern"
)
_ITEM = re.compile(r"(\*|[0-9A-Z]+)(?:-([0-9A-Z]+))?(?:/([0-9]{1,3}))?")


class InvalidSchedule(InvalidInput):
    """Raised when the pattern or the time zone of a schedule is not allowed.

    `given` is the value, `reason` is why.
    """

    def __init__(self, what: str, given: object, reason: str) -> None:
        super().__init__(f"{what} {given!r} is not allowed: {reason}")
        self.given = given
        self.reason = reason


class _Field(NamedTuple):
    """What a field may hold: numbers from low to most, * is low to high."""

    name: str
    low: int
    high: int
    most: int
    names: tuple[str, ...] = ()
    special: str = ""

    @property
    def allowed(self) -> str:
        names = f" or {self.names[0]}-{self.names[-1]}" if self.names else ""
        return (
            f"give * or {self.low}-{self.most}{names}, a range (2-5), "
            f"a step (*/2){self.special}, or a comma-separated list of them"
        )

    def number(self, text: str, *, ends_a_range: bool = False) -> int | None:
        if text in self.names:
            number = self.names.index(text) + self.low
            # Sunday is 0, and 7 in SAT-SUN.
            return self.most if ends_a_range and number == 0 else number
        if not re.fullmatch(r"[0-9]{1,2}", text):
            return None
        return int(text) if self.low <= int(text) <= self.most else None


_MONTHS = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")
_WEEKDAYS = ("SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT")
_FIELDS = (
    _Field("second", 0, 59, 59),
    _Field("minute", 0, 59, 59),
    _Field("hour", 0, 23, 23),
    _Field("day", 1, 31, 31, special=", L for the last day of the month"),
    _Field("month", 1, 12, 12, _MONTHS),
    _Field("weekday", 0, 6, 7, _WEEKDAYS, ", MON#2 for the second Monday"),
)


@lru_cache(maxsize=1024)
def fields_of(pattern: str) -> tuple[str, ...]:
    """Return the five or six fields of a pattern, in capitals; raise InvalidSchedule."""
    fields = tuple(_text_of(pattern).upper().split())
    if len(fields) not in (5, 6):
        counted = f"it has {len(fields)} field{'' if len(fields) == 1 else 's'}"
        raise InvalidSchedule("schedule", pattern, f"{counted}: {_FORMS}")
    for field, text in zip(_FIELDS[-len(fields) :], fields, strict=True):
        if fault := _fault(text, field):
            raise InvalidSchedule(f"{field.name} {text!r} of schedule", pattern, fault)
    if "#" in fields[-1] and fields[-3] != "*":
        # There is no rule to follow: no two crons read this alike.
        hint = "a weekday with # needs * as the day; use two schedules"
        raise InvalidSchedule("schedule", pattern, hint)
    return fields


def _text_of(pattern: str) -> str:
    if len(pattern) > _MOST_CHARACTERS:
        what = f"it has {len(pattern):,} characters, the limit is {_MOST_CHARACTERS}"
        raise InvalidSchedule("schedule", f"{pattern[:32]}...", what)
    if not re.fullmatch(r"[ -~\t]*", pattern):
        raise InvalidSchedule("schedule", pattern, "give printable ASCII characters on one line")
    return _ALIASES.get(pattern.strip().lower(), pattern)


def _fault(text: str, field: _Field) -> str | None:
    """Say what is wrong with a field; None when nothing is."""
    items = text.split(",")
    if "*" in items and len(items) > 1:
        return "write * alone, not in a list"
    if any(item.startswith("*") for item in items[1:]):
        # What begins with * is another kind of schedule, so it is to be seen.
        return "write the step of * first in the list"
    if field.name == "weekday" and len({"#" in item for item in items}) > 1:
        return "weekdays with and without # cannot be mixed; use two schedules"
    return next((fault for item in items if (fault := _fault_of_item(item, field))), None)


def _fault_of_item(item: str, field: _Field) -> str | None:
    if item == "L" and field.name == "day":
        return None
    if item == "?":
        return "write * instead of ?"
    if "#" in item and field.name == "weekday":
        weekday, _, nth = item.partition("#")
        known = field.number(weekday) is not None and nth in ("1", "2", "3", "4", "5")
        return None if known else "give a weekday and 1 to 5, such as MON#2"
    match = _ITEM.fullmatch(item)
    if match is None:
        return field.allowed
    first, last, step = match.groups()
    return _fault_of_range(first, last, field) or _fault_of_step(first, last, step, field)


def _fault_of_range(first: str, last: str | None, field: _Field) -> str | None:
    if first == "*":
        return field.allowed if last else None
    low = field.number(first)
    high = field.number(last, ends_a_range=True) if last else low
    if low is None or high is None:
        return field.allowed
    if last and low == high:
        # croniter takes 5-5 for "always".
        return f"write {first} instead of a range with one value"
    if low > high:
        return f"a range must go upwards: write {_around(low, high, field)}"
    return None


def _around(low: int, high: int, field: _Field) -> str:
    # 22-2 is 22-23,0-2, and 7-2 is 0-2.
    parts = [(low, field.high)] if low <= field.high else []
    spans = [*parts, (field.low, high)]
    return ",".join(f"{low}-{high}" if low != high else f"{low}" for low, high in spans)


def _fault_of_step(first: str, last: str | None, step: str | None, field: _Field) -> str | None:
    if step is None:
        return None
    if first != "*" and last is None:
        from_there = f", or {first}-{field.high}/{step}" if first != str(field.high) else ""
        alone = f"{first} for this {field.name} alone"
        return f"a step needs a range or *: write {alone}, */{step}{from_there}"
    low = field.number(first) or field.low
    high = field.number(last, ends_a_range=True) or low if last else field.high
    if 1 <= int(step) <= high - low:
        return None
    return (
        f"a step from {low} to {high} must be 1 to {high - low}: "
        "a longer one would never reach a second value"
    )
