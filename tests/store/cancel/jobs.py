"""Jobs to cancel in each state, and what is left of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from consumers.admin.facts import facts_of
from consumers.jobs import guards
from consumers.jobs.envelope import NewJob
from consumers.jobs.outcome import Buried, Cancelled, Completed, Outcome, Released, RetryAt
from consumers.store import asking, leasing
from consumers.store.delivery import Delivery
from consumers.store.settling import Settlement
from tests.support.queue import ME, Queue, Snapshot, new_job

HOUR_MS = 3_600_000
LATER = f"+{HOUR_MS}"
LONG_AGO_MS = 600_000
LEASE_MS = 30_000
CHANNEL = "tm:{default}:results:me"
STORM = guards.debounced("storm", window_ms=HOUR_MS, longest_ms=HOUR_MS, mode="trailing")
GONE = ("too_late", 0)
OUTCOMES: dict[str, tuple[Outcome, Sequence[NewJob]]] = {
    "complete": (Completed(b"1"), ()),
    "complete with a child": (Completed(b"1"), [new_job("child", priority=1)]),
    "complete with its own id": (Completed(b"1"), [new_job("a")]),
    "complete with a child elsewhere": (Completed(b"1"), [new_job("child", queue="other")]),
    "bury": (Buried("failed", "Traceback ..."), ()),
    "bury raw": (Buried("foreign", "not a job", raw=b"raw"), ()),
    "retry": (RetryAt(0, b'[{"error":"x"}]'), ()),
    "retry later": (RetryAt(60_000, b'[{"error":"x"}]'), ()),
    "release": (Released("stop"), ()),
    "release to its event": (Released("no handler", event="e"), ()),
    "cancel": (Cancelled("expired"), ()),
}
OUTCOME = pytest.mark.parametrize("kind", OUTCOMES)


def settlement(delivery: Delivery, kind: str) -> Settlement:
    return Settlement(delivery, *OUTCOMES[kind])


def result(queue: Queue, job_id: str = "a") -> bytes | None:
    return queue.end(job_id)


def wait_for_its_end(queue: Queue, job_id: str = "a") -> None:
    call = asking.inspect(queue.keys, job_id, channel=CHANNEL, waiter_ttl_ms=HOUR_MS)
    assert facts_of("default", job_id, queue.run(call)).generation is not None


def renew(queue: Queue, *deliveries: Delivery, consumer: str = ME) -> str:
    answer: bytes = queue.run(leasing.renew(queue.keys, consumer, deliveries))
    return answer.decode()


def sweep(queue: Queue, consumer: str = ME) -> list[tuple[str, int, bool]]:
    """Take over what was not renewed; return entry, delivery count and whether it is cancelled."""
    call = leasing.reclaim(queue.stream(), consumer, LEASE_MS, "-", 1000, ())
    taken = leasing.entries_of(queue.run(call))
    return [(entry, count, over) for entry, count, _, over in taken]


def settled_apart(queue: Queue, stream: str) -> Snapshot:
    """Everything in Redis but what the settle of a cancelled entry touches."""
    apart = (f"{queue.keys.base}prod:", stream, queue.keys.cancelled)
    return {key: it for key, it in queue.snapshot().items() if not key.startswith(apart)}


def delayed(queue: Queue, **job: Any) -> None:
    queue.emit(new_job(due=LATER, **job))


def retrying(queue: Queue, **job: Any) -> None:
    queue.settle((queue.one(new_job(**job)), RetryAt(HOUR_MS)))


def debounced(queue: Queue, **job: Any) -> None:
    queue.emit(new_job(**{"guard": STORM, **job}))


PUT_OFF = pytest.mark.parametrize("put_off", [delayed, retrying, debounced])
