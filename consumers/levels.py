"""Which streams to read, in which order: priorities from high to low."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

from consumers.delivery import Stream
from consumers.job import ENVELOPE_VERSION
from consumers.keys import Keys
from consumers.lanes import Lane
from consumers.pauses import Pauses, PauseState
from consumers.policy import Policy


class Level:
    """The lanes of one priority: first their fronts, then themselves."""

    def __init__(self, priority: int, lanes: list[tuple[Keys, Lane]], group: str) -> None:
        self.priority = priority
        fronts = [Stream(keys, lane, group, front=True) for keys, lane in lanes]
        own = [Stream(keys, lane, group, front=False) for keys, lane in lanes]
        self.streams = fronts + own


def is_read(lane: Lane, type_: str, policy: Policy, state: PauseState) -> bool:
    """Whether a worker of a type reads a lane: its type's, or that of an event it handles.

    What is paused is not read.
    """
    if state.holds(lane.event):
        return False
    if lane.event is None:
        return lane.type == type_
    return lane.version <= ENVELOPE_VERSION and lane.event in policy.events(lane.queue)


class Levels:
    """The levels of all queues of a worker, highest first.

    turn moves the queues of a level on by one, so that equals take turns at
    being named (and so served) first.
    """

    def __init__(self, type_: str, policy: Policy, pauses: Pauses) -> None:
        self._type = type_
        self._policy = policy
        self._pauses = pauses
        self._lanes: dict[Keys, tuple[Lane, ...]] = {}
        self._left_out: set[str] = set()
        self.levels: list[Level] = []
        # The streams that are read, by their key, and the level of each.
        self.by_key: dict[bytes, Stream] = {}
        self._level_of: dict[str, int] = {}

    def __len__(self) -> int:
        return len(self.levels)

    def set_lanes(self, keys: Keys, listed: Iterable[Lane]) -> bool:
        """Take over the lanes that a queue lists; return whether any that we read changed."""
        state = self._pauses.of(keys.queue)
        read = (lane for lane in listed if is_read(lane, self._type, self._policy, state))
        lanes = tuple(sorted(read, key=lambda lane: lane.name))
        if self._lanes.get(keys) == lanes:
            return False
        self._lanes[keys] = lanes
        self._rebuild()
        return True

    def leave_out(self, stream_keys: set[str]) -> None:
        """Read all streams but these."""
        if stream_keys != self._left_out:
            self._left_out = set(stream_keys)
            self._rebuild()

    def level_of(self, stream: Stream) -> int:
        """Return the number of a stream's level, from 0 for the highest; 0 for one not read."""
        return self._level_of.get(stream.key, 0)

    def lanes(self, keys: Keys) -> tuple[Lane, ...]:
        """Return the lanes of a queue that are read."""
        return self._lanes.get(keys, ())

    def streams(self, start: int = 0, end: int | None = None) -> list[Stream]:
        """Return the streams of the levels from start up to, not including, end."""
        return [stream for level in self.levels[start:end] for stream in level.streams]

    def turn(self) -> None:
        """Let the next queue come first among equals."""
        for level in self.levels:
            fronts = [stream for stream in level.streams if stream.front]
            own = [stream for stream in level.streams if not stream.front]
            level.streams = fronts[1:] + fronts[:1] + own[1:] + own[:1]

    def _rebuild(self) -> None:
        by_priority: dict[int, list[tuple[Keys, Lane]]] = defaultdict(list)
        for keys, lanes in self._lanes.items():
            for lane in lanes:
                by_priority[lane.priority].append((keys, lane))
        self.levels = [
            Level(priority, by_priority[priority], self._type)
            for priority in sorted(by_priority, reverse=True)
        ]
        for level in self.levels:
            level.streams = [s for s in level.streams if s.key not in self._left_out]
        self.by_key = {s.key.encode(): s for level in self.levels for s in level.streams}
        self._level_of = {
            stream.key: number
            for number, level in enumerate(self.levels)
            for stream in level.streams
        }
