"""Deliveries that were fetched and are not started yet, in the order to start them."""

from __future__ import annotations

import heapq
from itertools import count

from consumers.lease.leases import Leases
from consumers.store.delivery import Delivery

# Within one priority: taken over from the dead, then handed back, then new.
RECLAIMED, FRONT, LANE = range(3)


class Held:
    """A heap by priority, then age. What was handed back meanwhile is passed over."""

    def __init__(self, leases: Leases) -> None:
        self._leases = leases
        self._heap: list[tuple[int, int, int, Delivery]] = []
        self._order = count()

    def __len__(self) -> int:
        return len(self._leases.held)

    def push(self, delivery: Delivery, *, reclaimed: bool = False) -> None:
        """Hold a delivery; among equals, what is pushed first is started first."""
        stream = delivery.stream
        rank = RECLAIMED if reclaimed else FRONT if stream.front else LANE
        self._leases.add(delivery)
        heapq.heappush(self._heap, (-stream.lane.priority, rank, next(self._order), delivery))

    def top(self) -> Delivery | None:
        """Return what is to be started next, without taking it."""
        while self._heap:
            delivery = self._heap[0][3]
            if delivery in self._leases.held:
                return delivery
            heapq.heappop(self._heap)
        return None

    def take(self, top: Delivery) -> bool:
        """Whether what top returned just now is ours to start: nobody else will hand it back."""
        heapq.heappop(self._heap)
        return self._leases.start(top)
