"""What this process holds: every delivery from its fetch to its settle."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from operator import attrgetter

from consumers.store.delivery import Delivery
from consumers.store.keys import Keys

# Renewing three times a lease lets two renewals fail before it runs out.
RENEWALS_PER_LEASE = 3
# The part of a lease that is left unused: a commit on its way, and clocks that
# run a little differently here and in Redis.
MARGIN = 0.1
_USABLE = 1 - MARGIN
HELD_AT_MOST = 1.0
_RENEWED_AT = attrgetter("renewed_at")


class Leases:
    """The deliveries in our hands. Both the event loop and the renewal thread use it.

    held: fetched, not started. Taking one out of held decides whether it is
    started here or goes back; dict.pop is atomic, so only one side gets it. An
    entry may be delivered to us again while the outcome of its first delivery
    is still on the way, so deliveries count here, not entries.
    """

    def __init__(self) -> None:
        self.all: dict[tuple[str, str], Delivery] = {}
        # Since when, in monotonic seconds.
        self.held: dict[Delivery, float] = {}
        # Lease of each queue in seconds; a property of the queue, not of the worker.
        self.seconds: dict[str, float] = {}

    def __contains__(self, key: tuple[str, str]) -> bool:
        return key in self.all

    def add(self, delivery: Delivery) -> None:
        """Take in a delivery that was just fetched, as held."""
        self.all[delivery.key] = delivery
        self.held[delivery] = time.monotonic()

    def start(self, delivery: Delivery) -> bool:
        """Whether the delivery is still held; it is not held any more afterwards."""
        return self.held.pop(delivery, None) is not None

    def drop(self, delivery: Delivery) -> None:
        """Forget a delivery: it was settled or lost."""
        key = delivery.key
        if self.all.get(key) is delivery:
            del self.all[key]
        self.held.pop(delivery, None)

    def overdue(self, *, after: float) -> Iterator[Delivery]:
        """Take out of held what has waited longer than ``after`` seconds for a start."""
        before = time.monotonic() - after
        for delivery, since in list(self.held.items()):
            if since <= before and self.start(delivery):
                yield delivery

    def stale(self, stream_key: str) -> list[str]:
        """Return entries of a stream that we run and that Redis may take for abandoned.

        Any other one was renewed by a request younger than its lease.
        """
        now = time.monotonic()
        return [
            delivery.entry
            for (key, _), delivery in list(self.all.items())
            if key == stream_key
            and now - delivery.renewed_at > 0.9 * self.seconds[delivery.stream.lane.queue]
        ]

    def due(self) -> dict[Keys, list[Delivery]]:
        """Return the deliveries whose lease wants renewing, by queue."""
        now, due = time.monotonic(), defaultdict(list)
        for delivery in list(self.all.values()):
            keys = delivery.stream.keys
            if delivery.given_up:
                continue
            if now - delivery.renewed_at >= 0.9 * self.seconds[keys.queue] / RENEWALS_PER_LEASE:
                due[keys].append(delivery)
        return due

    def expired(self) -> list[Delivery]:
        """Return the deliveries whose lease may have run out and that are not given up yet."""
        return [
            delivery
            for delivery in list(self.all.values())
            if not delivery.given_up and self.has_expired(delivery)
        ]

    def has_expired(self, delivery: Delivery) -> bool:
        """Whether the lease may have run out: then nothing may be committed any more."""
        lease = self.seconds[delivery.stream.lane.queue]
        return time.monotonic() - delivery.renewed_at >= _USABLE * lease

    def came_late(self, deliveries: Sequence[Delivery]) -> bool:
        """Whether leases of what one request brought may have run out on the way."""
        if not deliveries:
            return False
        asked: float = min(map(_RENEWED_AT, deliveries))
        return time.monotonic() - asked >= _USABLE * min(self.seconds.values())
