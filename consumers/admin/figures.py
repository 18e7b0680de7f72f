"""The figures of a queue, as values."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class LaneStats:
    """One lane, by its name: how many jobs are waiting and active there.

    oldest_waiting_ms is how long the oldest waiting one has waited, None without one.
    """

    name: str
    waiting: int
    active: int
    oldest_waiting_ms: int | None


@dataclass(frozen=True, slots=True)
class QueueStats:
    """The figures of a queue.

    waiting, delayed, active (delivered and not settled), parked and dead are
    how many there are now; completed_total, failed_total, retried_total and
    cancelled_total count runs by their outcomes since the queue was made;
    oldest_waiting_ms is how long the oldest waiting job has waited. lanes has the same of
    each lane; paused says whether the queue is, paused_events names the events that are by
    themselves. Jobs that were cancelled
    in their lane are counted there until they are passed over, and in waiting not any more.
    debounced_total is how many emits of storms became part of another one, vanished_total
    how many jobs were found to be gone with entries that somebody deleted.
    """

    waiting: int
    delayed: int
    active: int
    parked: int
    dead: int
    completed_total: int
    failed_total: int
    retried_total: int
    oldest_waiting_ms: int | None
    lanes: list[LaneStats] = field(default_factory=list)
    paused: bool = False
    paused_events: list[str] = field(default_factory=list)
    cancelled_total: int = 0
    debounced_total: int = 0
    vanished_total: int = 0
