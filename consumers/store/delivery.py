"""A delivery: an entry that Redis handed to this consumer, and the proof that it did."""

from __future__ import annotations

import math
from collections.abc import Sequence

from consumers.jobs.envelope import Envelope, foreign_envelope, read_envelope
from consumers.jobs.lanes import Lane
from consumers.store.keys import Keys

SOLO_AFTER_CRASHES = 2


class Stream:
    """One stream that is read: a lane or a lane's front, under its key in Redis."""

    __slots__ = (
        "front", "gave", "group", "is_routed", "key", "keys", "lane", "last_ms", "looked"
    )  # fmt: skip

    def __init__(self, keys: Keys, lane: Lane, group: str, *, front: bool) -> None:
        self.keys = keys
        self.lane = lane
        self.group = group
        self.front = front
        # Whether its jobs require something of a worker, which may change while they are here.
        self.is_routed = bool(lane.route)
        self.key = keys.front(lane) if front else keys.lane(lane)
        # Whether it gave anything when it was read last, and when that was (monotonic).
        self.gave, self.looked = False, -math.inf
        # When the last job that any worker has read was added, in ms by Redis' clock; 0: not known.
        self.last_ms = 0

    @property
    def name(self) -> str:
        """The stream's name as in the queue's index of live jobs."""
        return f"{self.lane.name}:front" if self.front else self.lane.name


class Delivery:
    """An entry in our hands; (entry, consumer, count) is its token.

    renewed_at is the monotonic time at which the last request that renewed the
    lease was sent: the lease surely holds until then plus the lease.
    """

    __slots__ = (
        "cancelled", "count", "entry", "envelope", "given_up", "keeps_data", "key", "renewed_at",
        "solo", "started_ms", "stream",
    )  # fmt: skip

    def __init__(
        self, stream: Stream, entry: str, count: int, envelope: Envelope, renewed_at: float
    ) -> None:
        self.stream = stream
        self.entry = entry
        self.count = count
        self.envelope = envelope
        self.renewed_at = renewed_at
        # What identifies the entry in the whole of Redis.
        self.key = (stream.key, entry)
        self.solo = False
        # Set before the handler is called; middleware may call it again. By Redis' clock.
        self.started_ms = 0
        # Whether the job's data are kept with its end.
        self.keeps_data = False
        # Set when somebody cancelled the job: whatever is recorded, it ends as cancelled.
        self.cancelled = False
        # Set when this run no longer decides the outcome: lost, or already released.
        self.given_up = False

    @property
    def begun(self) -> bool:
        """Whether its handler was called."""
        return self.started_ms > 0

    @property
    def first_started(self) -> int:
        """When the job began first: ms, 1 where nobody knows that, 0 before it has begun."""
        envelope = self.envelope
        if envelope.first_started > 1:
            return envelope.first_started
        return self.started_ms or envelope.first_started if envelope.begins_first else 1

    @property
    def crashes(self) -> int:
        """How many deliveries of this job ended without an outcome."""
        return self.envelope.crashes + self.count - 1


def delivery_of(
    stream: Stream,
    entry: str,
    count: int,
    fields: Sequence[bytes],
    asked: float,
    *,
    cancelled: bool = False,
) -> Delivery:
    """Return an entry as a delivery; one that is not a job gets a stand-in with version 0."""
    envelope = read_envelope(fields) or foreign_envelope(entry, fields)
    delivery = Delivery(stream, entry, count, envelope, asked)
    if cancelled:
        delivery.cancelled = True
    return delivery
