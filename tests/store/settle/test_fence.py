"""settle.lua on real Redis: outcomes are recorded once, and for the delivery that is ours."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from redis.exceptions import ResponseError

from consumers.jobs.outcome import Buried, Cancelled, Completed
from consumers.store import tending
from consumers.store.delivery import Delivery
from tests.store.settle.outcomes import OUTCOMES, neighbours, settlement
from tests.support.queue import GROUP, ME, OTHER, Queue, new_job

# The fence


def another_consumer(queue: Queue, delivery: Delivery) -> None:
    queue.hand_over(delivery, OTHER)


def another_consumer_with_the_same_count(queue: Queue, delivery: Delivery) -> None:
    queue.redis.execute_command(
        "XCLAIM", delivery.stream.key, GROUP, OTHER, 0, delivery.entry, "RETRYCOUNT", 1
    )


def the_same_consumer_again(queue: Queue, delivery: Delivery) -> None:
    queue.hand_over(delivery, ME)


TAKEN = [another_consumer, another_consumer_with_the_same_count, the_same_consumer_again]


def a_group_that_is_gone(queue: Queue, delivery: Delivery) -> None:
    queue.redis.xgroup_destroy(delivery.stream.key, GROUP)


def a_group_that_was_made_again(queue: Queue, delivery: Delivery) -> None:
    queue.redis.xgroup_destroy(delivery.stream.key, GROUP)
    queue.run(tending.repair(queue.keys, delivery.stream.lane, GROUP))


def a_lane_that_is_gone(queue: Queue, delivery: Delivery) -> None:
    queue.redis.delete(delivery.stream.key)


def an_acknowledged_entry(queue: Queue, delivery: Delivery) -> None:
    queue.redis.xack(delivery.stream.key, GROUP, delivery.entry)


LOST = [a_group_that_is_gone, a_group_that_was_made_again, a_lane_that_is_gone]


@pytest.mark.parametrize("taken", [*TAKEN, *LOST, an_acknowledged_entry])
def test_g2_nothing_is_written_for_a_delivery_that_is_not_ours_any_more(
    queue: Queue, kind: str, taken: Callable[[Queue, Delivery], None]
) -> None:
    delivery = queue.one()
    first, last = neighbours(queue)
    taken(queue, delivery)
    before = queue.writes()

    assert queue.settle(settlement(delivery, kind)) == ["0"]

    assert queue.writes() == before
    assert queue.settle(first, settlement(delivery, kind), last) == ["1", "0", "1"]
    assert (queue.stat("fenced"), queue.stat("completed")) == (2, 2)


@pytest.mark.parametrize("taken", TAKEN)
def test_g2_the_one_who_took_a_job_over_settles_it(
    queue: Queue, kind: str, taken: Callable[[Queue, Delivery], None]
) -> None:
    delivery = queue.one()
    taken(queue, delivery)
    queue.settle(settlement(delivery, kind))

    owner = queue.pending(delivery)
    assert owner is not None
    consumer, delivery.count = owner
    assert queue.settle(settlement(delivery, kind), consumer=consumer) == ["1"]


def test_g2_two_outcomes_for_one_delivery_in_a_batch_count_once(queue: Queue, kind: str) -> None:
    delivery = queue.one()

    words = queue.settle(settlement(delivery, kind), settlement(delivery, "complete"))

    assert words == ["1", "0"]
    assert queue.stat("completed") == (1 if kind.startswith("complete") else 0)


@pytest.mark.parametrize("every", [1, 2, 5, 60])
def test_g2_a_batch_is_told_from_all_else_that_the_consumer_holds(queue: Queue, every: int) -> None:
    queue.emit(*[new_job(f"j{number}") for number in range(300)])
    held = queue.deliver()
    mine, kept = held[::every], [it for it in held if it not in held[::every]]
    stolen, recounted = mine[-1], mine[-2]
    queue.hand_over(stolen)
    recounted.count += 1

    words = queue.settle(*[(it, Completed()) for it in mine])

    assert words == ["1"] * (len(mine) - 2) + ["0", "0"]
    assert queue.stat("fenced") == 2
    assert queue.redis.xlen(queue.keys.lane(queue.lane)) == len(kept) + 2
    assert all(queue.pending(it) == (ME, 1) for it in [*kept, recounted])


def test_a_batch_with_much_else_in_it_completes_the_plain_ones(queue: Queue) -> None:
    queue.emit(*[new_job(f"j{number}") for number in range(40)])
    deliveries = queue.deliver()
    kinds = list(OUTCOMES)
    batch = [settlement(it, kinds[at % len(kinds)]) for at, it in enumerate(deliveries)]

    assert set(queue.settle(*batch)) == {"1"}

    for one in batch:
        ended = isinstance(one.outcome, Completed | Buried | Cancelled)
        assert queue.pending(one.delivery) is None
        assert (queue.pointer(one.delivery.envelope.id) is None) == ended
    assert queue.stat("completed") == sum(isinstance(it.outcome, Completed) for it in batch)


# Twice in a row


def test_a_settle_under_a_new_number_is_told_from_a_repeated_one(queue: Queue, kind: str) -> None:
    delivery = queue.one()
    queue.settle(settlement(delivery, kind))
    after = queue.writes()

    assert queue.settle(settlement(delivery, kind)) == ["0"]

    assert queue.writes() == after


@pytest.mark.parametrize("batch", [{"number": 5, "digest": "another"}, {"number": 4}])
def test_a_settle_that_is_not_newer_is_refused_and_writes_nothing(
    queue: Queue, batch: dict[str, object]
) -> None:
    delivery = queue.one()
    queue.settle(number=5, digest="this")
    before = queue.snapshot()

    with pytest.raises(ResponseError, match="WRITERREFUSED"):
        queue.settle((delivery, Completed()), **batch)

    assert queue.snapshot() == before


def test_a_settle_numbered_zero_is_not_remembered_and_the_fence_guards_it(queue: Queue) -> None:
    delivery = queue.one()

    assert queue.settle((delivery, Completed()), number=0, writer="none") == ["1"]
    assert queue.settle((delivery, Completed()), number=0, writer="none") == ["0"]

    assert not queue.redis.exists(queue.keys.writer("none"))
