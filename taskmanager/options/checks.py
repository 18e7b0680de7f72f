"""Check the values of options; each check raises InvalidOption, which explains what is allowed.

A duration is seconds or a timedelta. Names that end in `_ms` take whole milliseconds.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from math import ceil

from taskmanager.errors import InvalidOption

YEAR_S = 365 * 24 * 3600
_YEAR_MS = YEAR_S * 1000
_MOST_CHARACTERS = 1024


def delay_ms(name: str, value: object) -> int:
    """Return a delay of 0 to 1 year in ms, rounded up, since a job must not be early."""
    return ceil(_seconds(name, value, "from 0 to 1 year", lowest=0.0) * 1000)


def positive_s(name: str, value: object) -> float:
    """Return a duration in seconds, above 0 and at most 1 year."""
    return _seconds(name, value, "above 0 and at most 1 year", lowest=0.001)


def interval_ms(name: str, value: object) -> int:
    """Return a duration of 1 second to 1 year in whole ms."""
    return round(_seconds(name, value, "from 1 second to 1 year", lowest=1.0) * 1000)


def whole_ms(name: str, value: object) -> int:
    """Return a whole number of milliseconds, from 0 to 1 year."""
    if type(value) is not int or not 0 <= value <= _YEAR_MS:
        raise InvalidOption(name, value, "give a whole number of milliseconds, from 0 to 1 year")
    return value


def moment_ms(name: str, value: object) -> int:
    """Return a datetime in ms since 1970, rounded up. Without a time zone it is local time."""
    if not isinstance(value, datetime):
        raise InvalidOption(name, value, "give a datetime; without a time zone it is local time")
    try:
        return ceil(value.timestamp() * 1000)
    except (OverflowError, OSError, ValueError):
        raise InvalidOption(name, value, "it is too far away") from None


def whole_number(name: str, value: object, *, lowest: int = 0) -> int:
    """Return a whole number of at least `lowest`."""
    if type(value) is not int or value < lowest:
        raise InvalidOption(name, value, f"give a whole number of at least {lowest}")
    return value


def text(name: str, value: object) -> str:
    """Return a text of 1 to 1,024 characters."""
    if not isinstance(value, str) or not 1 <= len(value) <= _MOST_CHARACTERS:
        raise InvalidOption(name, value, f"give a string of 1 to {_MOST_CHARACTERS:,} characters")
    return value


def truth(name: str, value: object) -> bool:
    """Return True or False; other values that are true or false are refused."""
    if type(value) is not bool:
        raise InvalidOption(name, value, "give True or False")
    return value


def _seconds(name: str, value: object, allowed: str, *, lowest: float) -> float:
    seconds = value.total_seconds() if isinstance(value, timedelta) else value
    if (
        isinstance(seconds, bool)
        or not isinstance(seconds, int | float)
        or not lowest <= seconds <= YEAR_S
    ):
        raise InvalidOption(name, value, f"give seconds or a timedelta {allowed}")
    return float(seconds)


def flag(name: str, given: object) -> bool:
    """Return True or False; raise InvalidOption for anything else."""
    if type(given) is not bool:
        raise InvalidOption(name, given, "give True or False")
    return given
