"""The timeouts of all running jobs, on one timer."""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import Callable
from itertools import count

from consumers.store.delivery import Delivery

# Below this many entries it is not worth looking which of them still count.
_SMALL = 1024


class Deadlines:
    """A heap of deadlines. on_due is called with each delivery whose time is up.

    Runs that end in time leave their entry behind: most are passed over when
    they come up, which is cheaper than taking each out. When over half of them
    may be such, those that counts (a function) denies are swept out together,
    so that an hour's timeouts do not hold an hour's jobs in memory.
    """

    def __init__(
        self, on_due: Callable[[Delivery], None], *, counts: Callable[[Delivery], bool]
    ) -> None:
        self._on_due = on_due
        self._counts = counts
        self._loop = asyncio.get_running_loop()
        self._heap: list[tuple[float, int, Delivery]] = []
        self._order = count()
        self._timer: asyncio.TimerHandle | None = None
        self._sweep_at = _SMALL

    def __len__(self) -> int:
        return len(self._heap)

    def add(self, delivery: Delivery, seconds: float) -> None:
        """Have on_due called after some seconds, unless the delivery counts no more by then."""
        due = self._loop.time() + seconds
        heapq.heappush(self._heap, (due, next(self._order), delivery))
        if len(self._heap) > self._sweep_at:
            self._sweep()
        if self._heap and self._heap[0][2] is delivery:
            self._arm()

    def close(self) -> None:
        """Call nobody any more."""
        self._heap.clear()
        self._arm()

    def _sweep(self) -> None:
        self._heap = [entry for entry in self._heap if self._counts(entry[2])]
        heapq.heapify(self._heap)
        self._sweep_at = max(_SMALL, 2 * len(self._heap))
        self._arm()

    def _arm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._loop.call_at(self._heap[0][0], self._look) if self._heap else None

    def _look(self) -> None:
        now = self._loop.time()
        while self._heap and self._heap[0][0] <= now:
            delivery = heapq.heappop(self._heap)[2]
            if self._counts(delivery):
                self._on_due(delivery)
        self._arm()
