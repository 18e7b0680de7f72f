"""Outcomes of every kind, and what else a batch does."""

from __future__ import annotations

from collections.abc import Sequence

from consumers.jobs.envelope import NewJob
from consumers.jobs.lanes import Lane
from consumers.jobs.outcome import Buried, Cancelled, Completed, Outcome, Released, RetryAt
from consumers.store.delivery import Delivery
from consumers.store.settling import Settlement
from tests.support.queue import Queue, new_job

OUTCOMES: dict[str, tuple[Outcome, Sequence[NewJob]]] = {
    "complete": (Completed(b'{"r":1}'), ()),
    "complete with a child": (Completed(b"1"), [new_job("child", priority=1)]),
    "bury": (Buried("failed", "Traceback ..."), ()),
    "bury raw": (Buried("foreign", "not a job", raw=b"\x00raw"), ()),
    "cancel": (Cancelled("discarded"), ()),
    "retry": (RetryAt(0, b'[{"error":"x"}]'), ()),
    "retry later": (RetryAt(60_000, b'[{"error":"x"}]'), ()),
    "complete with a child elsewhere": (Completed(b"1"), [new_job("child", queue="other")]),
    "release": (Released("stop"), ()),
    "release to its event": (Released("no handler", event="e"), ()),
}


def settlement(delivery: Delivery, kind: str) -> Settlement:
    return Settlement(delivery, *OUTCOMES[kind])


def neighbours(queue: Queue) -> list[Settlement]:
    """Two jobs of another lane that can be completed."""
    queue.emit(new_job("n", priority=9), new_job("m", priority=9))
    return [Settlement(it, Completed()) for it in queue.deliver(Lane("default", priority=9))]


def open_lanes(queue: Queue, count: int) -> None:
    have = queue.redis.zcard(queue.keys.lanes)
    queue.emit(*(new_job(f"lane-{n}", priority=-1 - n) for n in range(count - have)))
    assert queue.redis.zcard(queue.keys.lanes) == count
