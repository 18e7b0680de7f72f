"""How times, numbers and names stand in the sentences of explain."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

# The end of the year 9999.
_LATEST_MS = 253_402_300_799_999
_UNITS = ((86_400_000, "d", 3_600_000, "h"), (3_600_000, "h", 60_000, "min"),
          (60_000, "min", 1000, "s"))  # fmt: skip
# So many names are listed, the rest is counted.
MOST_NAMES = 5
# An error or reason of somebody else's may be long.
_MOST_TEXT = 200


def for_how_long(ms: int) -> str:
    """Return a duration in its two largest units: 0.4 s, 12 s, 3 min 20 s, 2 h, 4 d 3 h."""
    ms = max(0, ms)
    for size, unit, below, smaller in _UNITS:
        if ms >= size:
            rest = ms % size // below
            return f"{ms // size} {unit} {rest} {smaller}" if rest else f"{ms // size} {unit}"
    return f"{ms / 1000:.1f} s" if ms < 10_000 else f"{ms // 1000} s"


def at(ms: float) -> str:
    """Return a time in UTC, to the second."""
    moment = datetime.fromtimestamp(min(max(ms, 0), _LATEST_MS) / 1000, UTC)
    return f"{moment:%Y-%m-%dT%H:%M:%SZ}"


def counted(number: int, noun: str, plural: str = "") -> str:
    """Return a number and a noun: 1 job, 2 jobs, 1,200 jobs."""
    return f"{number:,} {noun if number == 1 else plural or noun + 's'}"


def listed(names: Sequence[str], conjunction: str = "and") -> str:
    """Return names as in a sentence: a, b and c; of many the first and how many others."""
    if len(names) > MOST_NAMES + 1:
        names = [*names[:MOST_NAMES], f"{len(names) - MOST_NAMES:,} others"]
    *most, last = names
    return f"{', '.join(most)} {conjunction} {last}" if most else last


def brief(text: str) -> str:
    """Return somebody's text in one line of bounded length."""
    line = " ".join(text.split())
    return line if len(line) <= _MOST_TEXT else f"{line[: _MOST_TEXT - 3]}..."
