"""Lanes: the streams that jobs wait in, and their order."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field

from consumers.errors import InvalidPriority

DEFAULT_TYPE = "workers"
DEFAULT_PARTITION = "default"
LOWEST_PRIORITY = -100
HIGHEST_PRIORITY = 100
# Every lane is one more stream in every read of every worker: 32 lanes and
# their fronts cost a read about 20 us more than one.
MAX_LANES = 32
# Lanes of single events come and go with deploys and are read by few, but an
# endless supply of event names must not make an endless supply of streams.
MAX_EVENT_LANES = 1000

_EVENT = "event."


def check_priority(given: object) -> int:
    """Return given when it is an integer from -100 to 100, else raise InvalidPriority."""
    if type(given) is not int or not LOWEST_PRIORITY <= given <= HIGHEST_PRIORITY:
        raise InvalidPriority(given)
    return given


_NAME = re.compile(r"[^:@~]+(@\d{1,9}(~[^:@~]+)?)?:[^:@~]+:-?\d{1,3}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Lane:
    """One stream of a queue, in which jobs wait and run.

    - `queue`: the queue.
    - `type`: the type of workers that read it; for jobs that require something of a worker the
      name of their route, `<type>+<digest>`. For the lane of a single event it is `event.<event>`,
      followed by `@<version>` for jobs that need a newer version, and by `~` and the type or route
      if that is not the default type.
    - `partition`: the named share of the queue.
    - `priority`: -100 to 100; higher runs first.
    - `name`: the name of the lane within its queue: type:partition:priority.
    """

    queue: str
    type: str = DEFAULT_TYPE
    partition: str = DEFAULT_PARTITION
    priority: int = 0
    name: str = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        # Many jobs share a lane, and each needs the name.
        object.__setattr__(self, "name", f"{self.type}:{self.partition}:{self.priority}")

    @classmethod
    def parse(cls, queue: str, name: str) -> Lane:
        """Return the lane with a name that `name` has returned."""
        kind, partition, priority = name.split(":")
        return cls(queue, kind, partition, int(priority))

    @property
    def event(self) -> str | None:
        """The event that the lane is for; None for the lane of a worker type."""
        if not self.type.startswith(_EVENT):
            return None
        return self.type[len(_EVENT) :].partition("@")[0].partition("+")[0]

    @property
    def group(self) -> str:
        """The type of the workers that take jobs from it, and so the name of its consumer group."""
        type_ = self.type if self.event is None else self.type.partition("~")[2]
        return type_.partition("+")[0] or DEFAULT_TYPE

    @property
    def route(self) -> str:
        """The name of the route of its jobs, see routes; empty if they require no more than a type.

        Only workers that match it read the lane.
        """
        if "+" not in self.type:
            return ""
        return self.type if self.event is None else self.type.partition("~")[2]

    @property
    def version(self) -> int:
        """The envelope version that a reader of this lane must know."""
        digits = self.type.partition("@")[2].partition("~")[0].partition("+")[0]
        return int(digits or 1)

    def for_event(self, event: str, version: int = 1) -> Lane:
        """Return the event's own lane, with the same worker type, partition and priority."""
        suffix, who = f"@{version}" if version > 1 else "", self.route or self.group
        if who != DEFAULT_TYPE:
            suffix = f"@{version}~{who}"
        return Lane(self.queue, f"{_EVENT}{event}{suffix}", self.partition, self.priority)


def listed_lanes(queue: str, names: Iterable[bytes]) -> list[Lane]:
    """Return the lanes of a queue's list; what somebody else wrote into it is passed over."""
    texts = (name.decode(errors="replace") for name in names)
    return [Lane.parse(queue, text) for text in texts if _NAME.fullmatch(text)]
