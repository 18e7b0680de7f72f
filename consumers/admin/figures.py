"""The figures of a queue, as values."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class LaneStats:
    """The figures of one lane: the stream of one priority and partition of a queue.

    - `name`: the lane, as type:partition:priority.
    - `waiting`, `active`: how many of its jobs wait, and how many a worker has.
    - `oldest_waiting_ms`: for how long its oldest waiting job has waited. None if none waits.
    """

    name: str
    waiting: int
    active: int
    oldest_waiting_ms: int | None


@dataclass(frozen=True, slots=True)
class QueueStats:
    """The figures of a queue at one moment.

    How many jobs there are now:

    - `waiting`: in the queue, and no worker has them.
    - `delayed`: not due yet, retries and snoozed jobs included.
    - `active`: handed to a worker, and their outcome is not recorded yet.
    - `parked`: set aside by a newer version, where this version cannot read them.
    - `dead`: dead letters that are kept.

    Counts of outcomes since the queue was created:

    - `completed_total`, `failed_total`, `retried_total`, `cancelled_total`: runs that completed,
      became dead letters, will be retried, were cancelled.
    - `debounced_total`: emits that were merged into another one.
    - `vanished_total`: jobs that were lost because their entries were deleted in Redis.

    And:

    - `oldest_waiting_ms`: for how long the oldest waiting job has waited. None if none waits.
    - `lanes`: the figures of each lane. Jobs cancelled while they wait still count here until a
      worker passes over them, but no longer in `waiting` of the queue.
    - `paused`: whether the queue is paused.
    - `paused_events`: the events that are paused individually.
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
