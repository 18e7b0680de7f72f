"""Which streams to read, in which order: priorities from high to low."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterable, Mapping
from itertools import zip_longest
from types import MappingProxyType
from typing import TypeVar

from consumers.chance import chance
from consumers.fetch.sharing import LaneStreams, Share, Sharing, gave, is_quiet, streams_of
from consumers.jobs.envelope import ENVELOPE_VERSION
from consumers.jobs.lanes import Lane
from consumers.jobs.routes import Profile, Route, may_run
from consumers.policy import Policy
from consumers.run.pauses import Pauses
from consumers.store.delivery import Stream
from consumers.store.keys import Keys
from consumers.store.pause_state import PauseState

T = TypeVar("T")
# Asking how far one lane is read takes Redis some three microseconds.
_ASKED_AT_MOST = 64


class Level:
    """The lanes of one priority, each with its front; without the streams that are left out."""

    def __init__(
        self, priority: int, lanes: list[tuple[Keys, Lane]], group: str, left_out: set[str]
    ) -> None:
        self.priority = priority
        both = [
            tuple(Stream(keys, lane, group, front=front) for front in (True, False))
            for keys, lane in lanes
        ]
        kept = [tuple(it for it in lane if it.key not in left_out) for lane in both]
        self.lanes: list[LaneStreams] = [lane for lane in kept if lane]
        # Or all workers of a deploy would ask the same lanes first, and find them empty together.
        self._turns = chance.randrange(len(self.lanes) or 1)
        partitions = {_partition(lane) for lane in self.lanes}
        # Whether jobs of one partition lie in several lanes, by what they require.
        self._is_split = len(partitions) < len(self.lanes)

    def turn(self) -> None:
        """Let other lanes come first."""
        self._turns += 1

    def in_turn(self, now: float) -> list[LaneStreams]:
        """Return the lanes in the order to ask them: partitions with a backlog take turns.

        Within a partition the lane comes first whose last job is the oldest, so that the lanes of
        its routes are like one queue.

        Where few of many lanes have one, a read for each of the others would come before
        each job. These are asked first once in a while, so that none waits behind a backlog.
        """
        if len(self.lanes) < 2:
            return self.lanes
        due, full, rest = list[LaneStreams](), list[LaneStreams](), list[LaneStreams]()
        for lane in self.lanes:
            (full if gave(lane) else rest if is_quiet(lane, now) else due).append(lane)
        return [*self._turned(due), *self._oldest_first(full), *rest]

    def unordered(self, wanted: int) -> list[Stream]:
        """Return the lanes of which one must be chosen without knowing which has the oldest job.

        These are none where a partition has one lane, or all lanes are named in one read.
        """
        if not self._is_split or not 0 < wanted < len(self.lanes):
            return []
        return [lane[-1] for lane in self._turned(self.lanes)[:_ASKED_AT_MOST]]

    def _oldest_first(self, lanes: list[LaneStreams]) -> Iterable[LaneStreams]:
        if not self._is_split:
            return self._turned(lanes)
        partitions = defaultdict[tuple[Keys, str], list[LaneStreams]](list)
        for lane in lanes:
            partitions[_partition(lane)].append(lane)
        in_turn = self._turned([sorted(it, key=_last_ms) for it in partitions.values()])
        return (lane for each in zip_longest(*in_turn) for lane in each if lane is not None)

    def _turned(self, lanes: list[T]) -> list[T]:
        by = self._turns % (len(lanes) or 1)
        return lanes[by:] + lanes[:by]

    @property
    def streams(self) -> list[Stream]:
        """All fronts, then the lanes themselves."""
        return streams_of(self.lanes)


def _partition(lane: LaneStreams) -> tuple[Keys, str]:
    return lane[-1].keys, lane[-1].lane.partition


def _last_ms(lane: LaneStreams) -> int:
    return lane[-1].last_ms


def is_read(
    lane: Lane,
    worker: Profile,
    routes: Mapping[str, Route],
    *,
    policy: Policy,
    state: PauseState,
) -> bool:
    """Whether a worker reads a lane: of those that it may run, its type's and its events'.

    What is paused is not read, nor what needs a newer version.
    """
    if lane.version > ENVELOPE_VERSION or not may_run(lane, worker, routes):
        return False
    # A lane of a route is for one event as well.
    event = lane.event or (routes[lane.route].event if lane.route else None)
    if event is None:
        return not state.covers(None)
    return event in policy.events(lane.queue) and not state.covers(event)


class Levels:
    """The levels of all queues of a worker, highest first.

    turn moves the lanes of each level on by one, so that equals take turns at
    being named (and so served) first. `worker` is what this worker is and can do.
    """

    def __init__(self, worker: Profile, policy: Policy, pauses: Pauses) -> None:
        self._worker = worker
        # By the keys of the streams of routes that were asked for.
        self._able: dict[str, bool] = {}
        self._policy = policy
        self._pauses = pauses
        self._lanes: dict[Keys, tuple[Lane, ...]] = {}
        self._routes: dict[Keys, Mapping[str, Route]] = {}
        self._left_out: set[str] = set()
        self.levels: list[Level] = []
        # The streams that are read, by their key, and the level of each.
        self.by_key: dict[bytes, Stream] = {}
        self._level_of: dict[str, int] = {}

    def __len__(self) -> int:
        return len(self.levels)

    @property
    def worker(self) -> Profile:
        """What this worker is and can do now."""
        return self._worker

    def become(self, worker: Profile) -> None:
        """Let this worker be and do something else from now on."""
        self._worker = worker
        self._able.clear()

    def may_run(self, stream: Stream) -> bool:
        """Return whether this worker may run the jobs of a stream, by what it is and can do now."""
        able = self._able.get(stream.key)
        if able is None:
            routes = self._routes.get(stream.keys, {})
            able = self._able[stream.key] = may_run(stream.lane, self.worker, routes)
        return able

    def set_lanes(
        self, keys: Keys, listed: Iterable[Lane], routes: Mapping[str, Route] = MappingProxyType({})
    ) -> bool:
        """Take over the lanes that a queue lists, and what their routes require.

        Returns whether any lane that we read changed.
        """
        policy, state = self._policy, self._pauses.of(keys.queue)
        self._routes[keys] = routes
        self._able.clear()
        read = (it for it in listed if is_read(it, self.worker, routes, policy=policy, state=state))
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

    def sharing(self, start: int, end: int, wanted: int) -> Sharing:
        """Return the reads that bring what is wanted from the levels from start up to end."""
        now = time.monotonic()
        return Sharing([level.in_turn(now) for level in self.levels[start:end]], wanted, now=now)

    def unordered(self, start: int, end: int, wanted: int) -> list[Stream]:
        """Return the lanes of some levels of which too little is known to read the oldest jobs."""
        return [it for level in self.levels[start:end] for it in level.unordered(wanted)]

    def share_of_all(self, wanted: int) -> Share:
        """Return the read that names everything, for when nothing is expected anywhere."""
        lanes = sum(len(level.lanes) for level in self.levels)
        return Share(self.streams(), max(1, wanted // max(1, lanes)))

    def turn(self) -> None:
        """Let the next lane come first among equals."""
        for level in self.levels:
            level.turn()

    def _rebuild(self) -> None:
        by_priority: dict[int, list[tuple[Keys, Lane]]] = defaultdict(list)
        for keys, lanes in self._lanes.items():
            for lane in lanes:
                by_priority[lane.priority].append((keys, lane))
        self.levels = [
            Level(priority, by_priority[priority], self.worker.type, self._left_out)
            for priority in sorted(by_priority, reverse=True)
        ]
        self.by_key = {s.key.encode(): s for level in self.levels for s in level.streams}
        self._level_of = {
            stream.key: number
            for number, level in enumerate(self.levels)
            for stream in level.streams
        }
