"""Check numbers and lists that consumers and jobs are given, before anything is sent."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from consumers.errors import InvalidInput
from consumers.jobs.names import check_name

YEAR = 365 * 24 * 3600.0
MOST_SLOTS = 10_000
# A lease is renewed three times: a shorter one (s) would be lost to one slow reply.
LEAST_LEASE = 0.1
# Up to here every whole number is a float as well: readers may take it for either.
MOST_PROGRESS = 2**53


@dataclass(frozen=True, slots=True)
class DeadLetterBounds:
    """How many dead letters are kept: most of them (0 keeps none), bytes, and age in ms.

    stream names the stream that keeps them; None leaves that to the queue.
    """

    most: int = 10_000
    most_bytes: int = 256 * 1024 * 1024
    max_age_ms: int = 30 * 24 * 3600 * 1000
    stream: str | None = None

    def __post_init__(self) -> None:
        if self.stream is not None:
            check_name("dead-letter stream", self.stream)


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
            f"{name} {given!r} is not allowed: give seconds from {least:g} to {YEAR:.0f} (a year)"
        )
    return float(given)  # type: ignore[arg-type]


def check_timeout(given: object) -> float:
    """Return the timeout of a run in seconds, else raise InvalidInput.

    The options of a job that somebody else added may say anything, and next to NaN no
    deadline has an order.
    """
    usable = isinstance(given, int | float) and type(given) is not bool
    if not usable or not math.isfinite(given) or given < 0:  # type: ignore[arg-type, operator]
        raise InvalidInput(f"timeout {given!r} is not allowed: give seconds, 0 or more")
    return float(given)  # type: ignore[arg-type]


def check_progress(done: object, total: object, note: object) -> None:
    """Raise InvalidInput unless these are two numbers, the second may be None, and a text or None.

    NaN says nothing of how far a job is, and is refused like everything that is no number.
    """
    amount = f"give a number from 0 to {MOST_PROGRESS:,}"
    example = 'as in job.progress(3, 10, "parsed")'
    if not _is_amount(done):
        raise InvalidInput(f"done {done!r} of job.progress is not allowed: {amount}, {example}")
    if total is not None and not _is_amount(total):
        raise InvalidInput(
            f"total {total!r} of job.progress is not allowed: {amount}, or None, {example}"
        )
    if note is not None and not isinstance(note, str):
        raise InvalidInput(
            f"note {note!r} of job.progress is not allowed: give text or None, {example}"
        )


def _is_amount(given: object) -> bool:
    number = isinstance(given, int | float) and not isinstance(given, bool)
    return number and 0 <= given <= MOST_PROGRESS  # type: ignore[operator]


def check_queues(given: object) -> list[str]:
    """Return the names of at least one queue, else raise InvalidInput."""
    if isinstance(given, str | bytes) or not isinstance(given, Sequence) or not given:
        raise InvalidInput(f"queues {given!r} is not allowed: give a list of at least one name")
    return [check_name("queue", queue) for queue in given]
