"""How outcomes are put into a batch."""

from __future__ import annotations

from consumers.jobs.envelope import Envelope
from consumers.jobs.lanes import Lane
from consumers.jobs.outcome import Completed, Released
from consumers.store.delivery import Delivery, Stream
from consumers.store.keys import Keys
from consumers.store.settling import Settlement, by_stream, settle_items

KEYS = Keys("default")


def stream(priority: int) -> Stream:
    return Stream(KEYS, Lane("default", "workers", "default", priority), "workers", front=False)


def delivery(where: Stream, number: int, count: int = 1) -> Delivery:
    envelope = Envelope(f"job-{number}", "e", b"{}", b"", 1, number, 5, 0, 0, 0)
    return Delivery(where, f"5-{number}", count, envelope, 0.0)


def test_those_of_a_stream_come_together_in_their_order() -> None:
    one, other = stream(0), stream(1)
    batch = [
        Settlement(delivery(where, number), Completed())
        for number, where in enumerate([one, other, one, other, one])
    ]

    entries = [it.delivery.entry for it in by_stream(batch)]

    assert entries == ["5-0", "5-2", "5-4", "5-1", "5-3"]


def test_completed_jobs_of_a_share_travel_as_one_section_up_to_another_outcome() -> None:
    where = stream(0)
    completed = [Settlement(delivery(where, number), Completed()) for number in range(6)]
    released = Settlement(delivery(where, 7), Released("stop"))
    again = Settlement(delivery(where, 8, count=2), Completed())

    call = settle_items(KEYS, "me", 1000, [*completed[:4], released, *completed[4:], again])

    assert [it for it in call.args if it in ("plain", "release")] == [
        "plain", "release", "plain", "plain",
    ]  # fmt: skip
