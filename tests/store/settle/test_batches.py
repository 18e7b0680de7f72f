"""settle.lua on real Redis: items of a large batch do not disturb each other."""

from __future__ import annotations

from collections.abc import Callable

from consumers.jobs.lanes import MAX_LANES
from consumers.jobs.outcome import Buried, Completed, Released
from consumers.store import steps
from consumers.store.delivery import Delivery
from consumers.store.settling import Settlement
from tests.store.settle.outcomes import open_lanes
from tests.support.queue import OTHER, Queue, new_job


def test_a_batch_of_500_settles_each_item(queue: Queue) -> None:
    queue.emit(*(new_job(f"job-{n}") for n in range(steps.BATCH_ITEMS)))
    deliveries = queue.deliver()

    words = queue.settle(*((it, Completed(b"1")) for it in deliveries))

    assert words == ["1"] * steps.BATCH_ITEMS
    assert (queue.ids(), queue.stat("completed")) == ([], steps.BATCH_ITEMS)
    assert queue.end("job-499") == b"500 completed 1"


def test_a_batch_of_500_with_every_kind_of_answer_keeps_them_apart(queue: Queue) -> None:
    count = steps.BATCH_ITEMS
    queue.emit(*(new_job(f"job-{n}") for n in range(count)))
    open_lanes(queue, MAX_LANES)
    deliveries = queue.deliver()[:count]
    batch, expected = [], []
    for n, delivery in enumerate(deliveries):
        case, word = _CASES[n % len(_CASES)]
        batch.append(case(queue, delivery))
        expected.append(word)

    assert queue.settle(*batch) == expected

    for (_, word), delivery in zip(_CASES * count, deliveries, strict=False):
        is_pending = queue.pending(delivery) is not None
        assert is_pending == (word in "LM" or queue.pending(delivery) == (OTHER, 2))


def _completed(_: Queue, delivery: Delivery) -> Settlement:
    return Settlement(delivery, Completed(), [new_job(f"child-of-{delivery.envelope.id}")])


def _buried(_: Queue, delivery: Delivery) -> Settlement:
    return Settlement(delivery, Buried("failed"))


def _released(_: Queue, delivery: Delivery) -> Settlement:
    return Settlement(delivery, Released("stop"))


def _taken(queue: Queue, delivery: Delivery) -> Settlement:
    queue.hand_over(delivery, OTHER)
    return Settlement(delivery, Completed())


def _crowded(_: Queue, delivery: Delivery) -> Settlement:
    return Settlement(delivery, Completed(), [new_job("c", priority=77)])


def _missing(queue: Queue, delivery: Delivery) -> Settlement:
    queue.redis.xdel(delivery.stream.key, delivery.entry)
    return Settlement(delivery, Released("stop"))


_CASES: list[tuple[Callable[[Queue, Delivery], Settlement], str]] = [
    (_completed, "1"),
    (_buried, "1"),
    (_taken, "0"),
    (_released, "1"),
    (_crowded, "L"),
    (_missing, "M"),
]


def test_an_empty_settle_writes_nothing(queue: Queue) -> None:
    queue.settle()

    assert queue.writes() == {}
