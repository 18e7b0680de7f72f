"""When a schedule fires: by a cron pattern, or at an interval."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TypeAlias

from consumers.store.schedule_record import MAX_TIME
from processors.schedules.cron import CronSpec
from processors.schedules.pattern import InvalidSchedule

SHORTEST_MS = 1000
LONGEST_MS = 365 * 24 * 3600 * 1000
_EVERY = re.compile(r"every ([0-9]{1,8})(?:\.([0-9]{1,3}))? s")


@dataclass(frozen=True, slots=True)
class IntervalSpec:
    """The fire times of an interval: its multiples since 1970, UTC.

    So every worker knows them without asking, and neither a restart nor a deploy moves
    them: 90 s fire at 00:00:00, 00:01:30 and so on, a day at midnight UTC. The first fire
    comes within one interval. All times are in ms since the epoch.
    """

    every_ms: int

    def __post_init__(self) -> None:
        if not SHORTEST_MS <= self.every_ms <= LONGEST_MS:
            raise InvalidSchedule("schedule", self.pattern, "give 1 second to 1 year")

    @property
    def pattern(self) -> str:
        """The text that it is kept and shown as, which spec_of reads."""
        whole, rest = divmod(self.every_ms, 1000)
        return f"every {whole}.{rest:03} s" if rest else f"every {whole} s"

    @property
    def tz(self) -> str:
        """UTC: an interval has no clocks of its own."""
        return "UTC"

    def next_after(self, after_ms: int) -> int | None:
        """Return the first fire time later than after_ms; None beyond the last date there is."""
        fire = (max(after_ms, -1) // self.every_ms + 1) * self.every_ms
        return fire if fire <= MAX_TIME else None

    def upcoming(self, after_ms: int, count: int) -> list[int]:
        """Return the next fire times later than after_ms, at most count of them."""
        first = self.next_after(after_ms)
        if first is None:
            return []
        return [*range(first, MAX_TIME + 1, self.every_ms)[:count]]

    def missed(self, after_ms: int, until_ms: int, most: int) -> list[int]:
        """Return the newest fire times later than after_ms and not later than until_ms.

        They are in order, at most most of them.
        """
        first = self.next_after(after_ms)
        if first is None or most < 1:
            return []
        return [*range(first, min(until_ms, MAX_TIME) + 1, self.every_ms)[-most:]]


Spec: TypeAlias = CronSpec | IntervalSpec


def spec_of(pattern: str, tz: str = "UTC") -> Spec:
    """Return the fire times of a pattern: cron's, or "every 90 s"; raises InvalidSchedule."""
    every = _EVERY.fullmatch(pattern) if isinstance(pattern, str) else None
    if every is None:
        return CronSpec(pattern, tz)
    if tz != "UTC":
        raise InvalidSchedule("tz", tz, "an interval has no time zone: it counts from 1970 in UTC")
    whole, rest = every.groups(default="")
    return IntervalSpec(int(whole) * 1000 + int(rest.ljust(3, "0")))
