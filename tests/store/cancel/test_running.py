"""cancel.lua on real Redis: jobs that somebody runs end as cancelled, once."""

from __future__ import annotations

import pytest

from consumers.jobs.outcome import Completed, Released
from consumers.store import tending
from tests.store.cancel.jobs import (
    LONG_AGO_MS,
    OUTCOME,
    renew,
    result,
    settled_apart,
    settlement,
    sweep,
)
from tests.support.queue import (
    GROUP,
    ME,
    OTHER,
    RESULT_TTL_MS,
    Queue,
    full_memory,
    listening,
    new_job,
    without_facts,
)


def test_a_running_job_is_to_end_and_keeps_its_place_until_then(queue: Queue) -> None:
    delivery = queue.one()
    pointer = queue.pointer()
    mark = f"{delivery.stream.name} {delivery.entry}"

    with listening(queue.redis, queue.keys.control) as hints:
        assert queue.cancel() == ("requested", 1)

    assert hints == [f"cancel {mark}"]
    assert queue.marks() == (set(), {mark})
    assert (queue.pointer(), result(queue)) == (pointer, None)
    assert queue.pending(delivery) == (ME, 1)
    assert queue.stat("cancelled") == 1


def test_a_running_job_that_is_cancelled_twice_is_told_twice_and_counted_once(
    queue: Queue,
) -> None:
    queue.one()
    queue.cancel()
    before = queue.snapshot()

    with listening(queue.redis, queue.keys.control) as hints:
        assert queue.cancel() == ("requested", 1)

    assert len(hints) == 1
    assert queue.snapshot() == before


@OUTCOME
def test_a_cancelled_run_ends_as_cancelled_whatever_it_came_to(queue: Queue, kind: str) -> None:
    delivery = queue.one()
    queue.cancel()
    before = settled_apart(queue, delivery.stream.key)

    assert queue.settle(settlement(delivery, kind)) == ["C"]

    after = settled_apart(queue, delivery.stream.key)
    kind, has_ttl, kept = after.pop(queue.keys.result("a"))
    assert (kind, has_ttl, without_facts(kept)) == ("string", True, b"1 cancelled cancelled")
    for key in (queue.keys.live("a"), queue.keys.cancelling):
        del before[key]
    assert after == before
    assert (queue.ids(), queue.pending(delivery)) == ([], None)
    assert 0 < queue.redis.pttl(queue.keys.result("a")) <= RESULT_TTL_MS


def test_a_cancelled_run_keeps_no_result_where_none_is_kept(queue: Queue) -> None:
    delivery = queue.one()
    queue.cancel()

    assert queue.settle((delivery, Completed(b"1")), result_ttl_ms=0) == ["C"]

    assert (result(queue), queue.pointer()) == (None, None)


def test_a_cancelled_run_in_a_front_ends_as_cancelled(queue: Queue) -> None:
    queue.settle((queue.one(), Released("stop")))
    (delivery,) = queue.deliver(front=True)

    assert queue.cancel() == ("requested", 1)

    assert queue.marks()[1] == {f"workers:default:0:front {delivery.entry}"}
    assert queue.settle((delivery, Completed())) == ["C"]
    assert (queue.ids(front=True), queue.marks()) == ([], (set(), set()))


def test_a_renewal_tells_the_owner_that_its_run_is_cancelled_and_nobody_else(
    queue: Queue,
) -> None:
    queue.emit(new_job("x"), new_job("a"), new_job("y"))
    deliveries = queue.deliver()
    queue.cancel()
    for delivery in deliveries:
        queue.age(delivery, LONG_AGO_MS)

    assert renew(queue, *deliveries) == "1C1"
    assert renew(queue, *deliveries, consumer=OTHER) == "000"

    # It may need its lease until it has ended.
    assert max(queue.idle(it) for it in deliveries) < LONG_AGO_MS
    assert [queue.pending(it) for it in deliveries] == [(ME, 1)] * 3


@OUTCOME
def test_g12_a_running_job_is_cancelled_in_full_memory_and_ends_there(
    queue: Queue, kind: str
) -> None:
    delivery = queue.one()

    with full_memory(queue.redis):
        assert queue.cancel() == ("requested", 1)
        assert queue.settle(settlement(delivery, kind)) == ["C"]

    assert (queue.pointer(), result(queue)) == (None, b"1 cancelled cancelled")
    assert (queue.marks(), queue.stat("cancelled")) == ((set(), set()), 1)


def test_g12_a_renewal_tells_of_the_cancellation_in_full_memory(queue: Queue) -> None:
    delivery = queue.one()
    queue.cancel()

    with full_memory(queue.redis):
        assert renew(queue, delivery) == "C"


def test_a_renewal_tells_of_an_entry_that_was_cancelled_before_it_was_delivered(
    queue: Queue,
) -> None:
    queue.emit(new_job())
    queue.cancel()
    (delivery,) = queue.deliver()

    assert renew(queue, delivery) == "C"


@OUTCOME
def test_g7_a_cancelled_run_whose_worker_died_is_handed_out_with_its_mark(
    queue: Queue, kind: str
) -> None:
    delivery = queue.one(consumer=OTHER)
    queue.cancel()
    queue.age(delivery, LONG_AGO_MS)

    assert sweep(queue) == [(delivery.entry, 2, True)]

    assert queue.settle(settlement(delivery, kind), consumer=OTHER) == ["0"]
    delivery.count = 2
    assert queue.settle(settlement(delivery, kind)) == ["C"]
    assert (queue.pointer(), result(queue)) == (None, b"1 cancelled cancelled")
    assert (queue.marks(), queue.stat("cancelled")) == ((set(), set()), 1)


def test_g7_an_entry_that_was_cancelled_before_its_worker_died_is_handed_out_with_its_mark(
    queue: Queue,
) -> None:
    queue.emit(new_job("a"), new_job("b"))
    queue.cancel()
    marked, other = queue.deliver(consumer=OTHER)
    for delivery in (marked, other):
        queue.age(delivery, LONG_AGO_MS)

    assert sweep(queue) == [(marked.entry, 2, True), (other.entry, 2, False)]


@pytest.mark.parametrize("before_delivery", [True, False])
def test_the_mark_of_an_entry_that_somebody_deleted_goes_with_the_sweep(
    queue: Queue, before_delivery: bool
) -> None:
    queue.emit(new_job())
    if before_delivery:
        queue.cancel()
    (delivery,) = queue.deliver(consumer=OTHER)
    if not before_delivery:
        queue.cancel()
    queue.age(delivery, LONG_AGO_MS)
    queue.redis.xdel(delivery.stream.key, delivery.entry)

    assert sweep(queue) == []

    assert (queue.marks(), queue.pending(delivery)) == ((set(), set()), None)


def test_a_cancelled_run_that_is_delivered_anew_after_a_lost_group_still_ends_as_cancelled(
    queue: Queue,
) -> None:
    delivery = queue.one()
    queue.cancel()
    queue.redis.xgroup_destroy(delivery.stream.key, GROUP)
    queue.run(tending.repair(queue.keys, queue.lane, GROUP))
    (again,) = queue.deliver()

    assert queue.settle((again, Completed())) == ["C"]

    assert (queue.pointer(), result(queue)) == (None, b"1 cancelled cancelled")
