"""What a process holds is told apart by delivery, not only by entry."""

from __future__ import annotations

import time

from consumers.fetch.held import Held
from consumers.jobs.envelope import Envelope
from consumers.jobs.lanes import Lane
from consumers.lease.leases import Leases
from consumers.store.delivery import Delivery, Stream
from consumers.store.keys import Keys

_STREAM = Stream(Keys("default"), Lane("default"), "workers", front=False)


def delivery(count: int) -> Delivery:
    """The same entry, handed out for the count-th time."""
    envelope = Envelope("a", "e", b"{}", b"", 1, 1, 0, 0, 0, 0)
    return Delivery(_STREAM, "1-0", count, envelope, time.monotonic())


def taken(held: Held) -> Delivery | None:
    """Take what is to be started next."""
    top = held.top()
    return top if top is not None and held.take(top) else None


def test_g7_a_job_taken_over_again_is_started_although_its_first_run_is_still_unsettled() -> None:
    leases = Leases()
    held = Held(leases)
    first, second = delivery(1), delivery(2)
    held.push(first)
    assert taken(held) is first
    # Its lease is lost while its outcome is on the way; then this worker takes it over.
    leases.drop(first)
    held.push(second)

    # The outcome of the first delivery is refused.
    leases.drop(first)

    assert taken(held) is second
    assert second.key in leases


def test_what_was_handed_back_is_not_started_in_place_of_its_next_delivery() -> None:
    leases = Leases()
    held = Held(leases)
    first, second = delivery(1), delivery(2)
    held.push(first)
    leases.drop(first)
    held.push(second)

    assert held.top() is second
    assert taken(held) is second
    assert taken(held) is None
    assert not leases.start(first)
