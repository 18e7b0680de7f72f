"""Check numbers and lists that a consumer is given, before anything is connected."""

from __future__ import annotations

import math
from collections.abc import Sequence

from consumers.errors import InvalidInput
from consumers.names import check_name

YEAR = 365 * 24 * 3600.0
MOST_SLOTS = 10_000


def check_count(name: str, given: object, least: int, most: int) -> int:
    """Return given when it is a whole number from least to most, else raise InvalidInput."""
    if type(given) is not int or not least <= given <= most:
        raise InvalidInput(
            f"{name} {given!r} is not allowed: give a whole number from {least} to {most:,}"
        )
    return given


def check_seconds(name: str, given: object, least: float) -> float:
    """Return given when it is a number of seconds from least to a year, else raise InvalidInput."""
    usable = isinstance(given, (int, float)) and type(given) is not bool
    if not usable or math.isnan(given) or not least <= given <= YEAR:  # type: ignore[arg-type, operator]
        raise InvalidInput(
            f"{name} {given!r} is not allowed: give {least:g} seconds to a year ({YEAR:.0f})"
        )
    return float(given)  # type: ignore[arg-type]


def check_queues(given: object) -> list[str]:
    """Return the names of at least one queue, else raise InvalidInput."""
    if isinstance(given, str | bytes) or not isinstance(given, Sequence) or not given:
        raise InvalidInput(f"queues {given!r} are not allowed: give a list of one name or more")
    return [check_name("queue", queue) for queue in given]
