"""How deep to read: to the level that last had a backlog, and further while that brings little."""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from operator import attrgetter

from consumers.fetch.levels import Levels
from consumers.store.delivery import Delivery, Stream

_STREAM = attrgetter("stream")

# Reads some streams, at most so many of each, and takes in what came.
Bring = Callable[[Sequence[Stream], int], Awaitable[list[Delivery]]]
# Takes note of how far all workers together have read some streams.
Learn = Callable[[Sequence[Stream]], Awaitable[None]]


class Depth:
    """Reads the levels from the highest on.

    asked is the number of levels from the top whose streams have nothing more, as far as the
    last read has shown: what is held from a level below may start once it was asked above.
    """

    def __init__(self, levels: Levels, bring: Bring, learn: Learn) -> None:
        self.asked = 0
        # True when the last pass over all levels found nothing.
        self.idle = False
        self._levels = levels
        self._bring = bring
        self._learn = learn
        self._deepest = 0

    def fit(self) -> None:
        """Take note that there may be fewer levels now."""
        self._deepest = min(self._deepest, max(0, len(self._levels) - 1))

    async def ask_above(self, top: Delivery, wanted: int, free: int) -> None:
        """Before what is held starts, see whether something higher has come."""
        level = self._levels.level_of(top.stream)
        end = max(level, self._deepest + 1) if wanted else level
        self.asked = level
        if end > 0:
            # One for every free slot: what is higher takes them all, if there is as much.
            await self._read(0, end, max(1, wanted, free))

    async def read_backlog(
        self, wanted: int, free: Callable[[], int], *, is_stale: Callable[[], bool]
    ) -> None:
        """Read down to the level with a backlog; for the rest go on, twice as far each time.

        free says how many slots are free by now, is_stale whether the levels may be others.
        """
        start, end = 0, self._deepest + 1
        found, further = 0, 1
        while True:
            found += await self._read(start, end, wanted - found)
            if self.asked < end or end >= len(self._levels) or is_stale():
                break
            if found >= max(1, min(wanted, free())):
                break
            # Each level in one read gives its share: far too many for the free
            # slots, if all those below were read at once.
            start, end, further = end, min(len(self._levels), end + further), further * 2
        self.idle = found == 0

    def has_blocked(self, deliveries: Sequence[Delivery], count: int) -> None:
        """Take note of what a read of all levels brought that was to bring count of each stream."""
        # What came while we were blocked came from one stream: others have not been asked.
        self.asked = 0
        self.idle = len(deliveries) < count
        if deliveries:
            self._deepest = max(self._levels.level_of(it.stream) for it in deliveries)

    async def _read(self, start: int, end: int, wanted: int) -> int:
        """Read some levels; where a stream gave all it was asked for, there may be more."""
        if unordered := self._levels.unordered(start, end, wanted):
            await self._learn(unordered)
        sharing, reached = self._levels.sharing(start, end, wanted), [0]
        found = 0
        for share in sharing:
            deliveries = await self._bring(share.streams, share.most)
            given = Counter(map(_STREAM, deliveries))
            sharing.brought(share, given)
            found += len(deliveries)
            reached += map(self._levels.level_of, given)
        more_in = None if sharing.more_in is None else start + sharing.more_in
        self.asked = end if more_in is None else more_in
        if found:
            self._deepest = max(reached) if more_in is None else more_in
        return found
