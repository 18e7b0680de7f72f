"""Count from outside what handlers have done, by the file that they all append to."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from benchmarks.failures import Failed

_POLL_S = 0.002
# To look after processes costs more than to look at a file.
_CHECK_S = 0.1


@dataclass(frozen=True, slots=True)
class Moment:
    """How many marks there were, and when that was seen; at is in monotonic seconds."""

    count: int
    at: float

    def rate_until(self, later: Moment) -> float:
        """Return the marks a second between the two; Failed when one look saw them all."""
        if later.count == self.count:
            raise Failed(f"all {self.count:,} jobs were done at one look: too few to be timed")
        return (later.count - self.count) / (later.at - self.at)


class Marks:
    """The file of marks: a byte a job, or a line a job that says how long it waited."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.clear()

    def clear(self) -> None:
        """Forget all marks; workers that have the file open go on with it."""
        # Emptied, not replaced: who appends to it finds the new end.
        with self.path.open("wb"):
            pass

    def bytes(self) -> int:
        """Return how many jobs have left their byte."""
        return self.path.stat().st_size

    def lines(self) -> int:
        """Return how many jobs have left their line."""
        return self.path.read_bytes().count(b"\n")

    def waits_us(self) -> list[int]:
        """Return what the lines say, in microseconds."""
        return [int(line) for line in self.path.read_bytes().split()]

    def until(
        self, count: int, *, within: float, check: Callable[[], object], lines: bool = False
    ) -> Moment:
        """Return when so many jobs have left their mark, or within seconds are over.

        check is called now and then, to raise when nobody is left to wait for.
        """
        counted = self.lines if lines else self.bytes
        deadline = time.monotonic() + within
        checked_at = 0.0
        while True:
            moment = Moment(counted(), time.monotonic())
            if moment.count >= count or moment.at > deadline:
                return moment
            if moment.at - checked_at > _CHECK_S:
                check()
                checked_at = moment.at
            time.sleep(_POLL_S)
