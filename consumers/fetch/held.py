"""Deliveries that were fetched and are not started yet, in the order to start them."""

from __future__ import annotations

from bisect import insort
from collections import deque

from consumers.lease.leases import Leases
from consumers.store.delivery import Delivery

_Rank = tuple[int, int]
# Within one priority: taken over from the dead, then handed back, then new.
RECLAIMED, FRONT, LANE = range(3)


class Held:
    """By priority, then age. What was handed back meanwhile is passed over.

    A line for each of the few ranks there are: what joins or leaves one is compared with nothing.
    """

    def __init__(self, leases: Leases) -> None:
        self._leases = leases
        self._held = leases.held
        self._lines: dict[_Rank, deque[Delivery]] = {}
        # The ranks with a line, from the first to be started on.
        self._ranks: list[_Rank] = []

    def __len__(self) -> int:
        return len(self._leases.held)

    def push(self, delivery: Delivery, *, reclaimed: bool = False) -> None:
        """Hold a delivery; among equals, what is pushed first is started first."""
        stream = delivery.stream
        within = RECLAIMED if reclaimed else FRONT if stream.front else LANE
        rank = (-stream.lane.priority, within)
        line = self._lines.get(rank)
        if line is None:
            line = self._lines[rank] = deque()
            insort(self._ranks, rank)
        self._leases.add(delivery)
        line.append(delivery)

    def top(self) -> Delivery | None:
        """Return what is to be started next, without taking it."""
        while self._ranks:
            line = self._lines[self._ranks[0]]
            while line:
                if line[0] in self._held:
                    return line[0]
                line.popleft()
            del self._lines[self._ranks.pop(0)]
        return None

    def take(self, top: Delivery) -> bool:
        """Whether what top returned just now is ours to start: nobody else will hand it back."""
        self._lines[self._ranks[0]].popleft()
        # As Leases.start does: this is done for every job.
        return self._held.pop(top, None) is not None
