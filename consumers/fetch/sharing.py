"""Share what a worker wants over the lanes it reads: COUNT is for each stream, not for all.

Asked for all it wants, each of many lanes would give as much: what does not fit into the slots
would be kept from idle workers.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping, Sequence
from typing import NamedTuple

from consumers.store.delivery import Stream

# A lane and its front are named in one read.
LaneStreams = tuple[Stream, ...]

# The number of a level, and lanes of it.
_Part = tuple[int, Sequence[LaneStreams]]

# For less than this part of what was wanted no further read is worth its round trip.
_WORTH_A_READ = 8
# So many reads that brought nothing make the next ones wider.
_IN_VAIN = 4
# What was empty is not looked at by itself again within so long (s).
_QUIET = 0.05


class Share(NamedTuple):
    """The streams that one read names, and how much each of them may give."""

    streams: list[Stream]
    most: int


class Sharing:
    """The reads that bring what is wanted from some levels, each a list of its lanes.

    Iterate, and say of each read what it brought before the next. Levels that have room for all
    their lanes in what is wanted are named in one read. Else they are asked one after another, as
    many lanes at a time as are wanted; twice as many after some reads that brought nothing,
    or hundreds of empty lanes would take hundreds of reads. What gave its whole share is asked
    again for the rest, before lanes that had nothing when they were asked last, and before the
    next level.

    Where all lanes of a level were empty a moment ago, they are named beside the first of a lower
    level that were not: they cost no read of their own. That may bring more than is wanted only
    where several of them fill within that moment.
    """

    def __init__(
        self, levels: Sequence[Sequence[LaneStreams]], wanted: int, *, now: float = 0.0
    ) -> None:
        self._levels = levels
        self._now = now
        self._wanted = self._left = wanted
        self._full: set[Stream] = set()
        # The number of the highest level that may have more, once all is read; None: none has.
        self.more_in: int | None = None

    def __iter__(self) -> Iterator[Share]:
        for step in _steps(self._levels):
            yield from self._together(step)
            if self.more_in is not None:
                return

    def brought(self, share: Share, given: Mapping[Stream, int]) -> None:
        """Take note of how much each stream gave in a read."""
        self._left -= sum(given.values())
        self._full.difference_update(share.streams)
        self._full.update(it for it, number in given.items() if number >= share.most)
        for stream in share.streams:
            stream.gave, stream.looked = stream in given, self._now

    def _together(self, step: Sequence[_Part]) -> Iterator[Share]:
        widest = max(len(lanes) for _, lanes in step)
        is_narrow = 0 < widest <= self._left
        if is_narrow:
            named = [lane for _, lanes in step for lane in lanes]
            yield Share(streams_of(named), self._left // widest)
            # What was named just now is only asked again.
            step = [(number, it) for number, lanes in step if (it := self._still_full(lanes))]
            if not step:
                return
            if not self._is_worth_a_read():
                self.more_in = step[0][0]
                return
        beside = list[LaneStreams]()
        for number, lanes in step:
            quiet = [lane for lane in lanes if is_quiet(lane, self._now)]
            awake = [lane for lane in lanes if not is_quiet(lane, self._now)]
            if not awake:
                beside += quiet
                continue
            if not (
                (yield from self._of(awake, beside))
                and (not quiet or (yield from self._of(quiet, ())))
            ):
                self.more_in = number
                return
            beside = []
        if beside and not (yield from self._of(beside, ())):
            self.more_in = step[-1][0]

    def _of(
        self, lanes: Sequence[LaneStreams], beside: Sequence[LaneStreams]
    ) -> Generator[Share, None, bool]:
        """Yield the reads of lanes of one level; return whether nothing can be left in them."""
        rest, reach, in_vain = list(lanes), self._left, 0
        while rest and self._is_worth_a_read():
            named, rest = rest[:reach], rest[reach:]
            before, most = self._left, max(1, self._left // len(named))
            named, beside = [*beside, *named], ()
            yield Share(streams_of(named), most)
            if again := self._still_full(named):
                rest = [*filter(gave, rest), *again, *(it for it in rest if not gave(it))]
            if self._left < before:
                reach, in_vain = self._left, 0
            else:
                in_vain += 1
                # Not at once: others may have emptied these just now, and not the rest.
                reach *= 2 if in_vain % _IN_VAIN == 0 else 1
        return not rest

    def _is_worth_a_read(self) -> bool:
        return self._left * _WORTH_A_READ >= max(1, self._wanted)

    def _still_full(self, lanes: Sequence[LaneStreams]) -> list[LaneStreams]:
        return [lane for lane in lanes if not self._full.isdisjoint(lane)]


def is_quiet(lane: LaneStreams, now: float) -> bool:
    """Return whether a lane was empty when it was read, a moment ago."""
    return now - lane[-1].looked < _QUIET and not gave(lane)


def gave(lane: LaneStreams) -> bool:
    """Return whether a lane gave anything when it was read last."""
    return any(stream.gave for stream in lane)


def _steps(levels: Sequence[Sequence[LaneStreams]]) -> Iterator[list[_Part]]:
    """Yield the parts of levels that may be named together, in their order.

    A front is empty as a rule and named with its lane. One that gave something when it was
    asked last is asked before its lane, or both would give all that is wanted.
    """
    step: list[_Part] = []
    for number, lanes in enumerate(levels):
        fronts = [lane[:1] for lane in lanes if lane[0].front and lane[0].gave]
        if fronts:
            yield [*step, (number, fronts)]
            step, rest = [], [lane[1:] if lane[:1] in fronts else lane for lane in lanes]
            step.append((number, [lane for lane in rest if lane]))
        else:
            step.append((number, lanes))
    if step:
        yield step


def streams_of(lanes: Sequence[LaneStreams]) -> list[Stream]:
    """Return the streams of lanes: all fronts, then the lanes themselves."""
    streams = [stream for lane in lanes for stream in lane]
    return [it for it in streams if it.front] + [it for it in streams if not it.front]
