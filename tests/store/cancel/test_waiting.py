"""cancel.lua on real Redis: jobs that wait in a lane, whoever reads along."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from consumers.jobs.envelope import NewJob
from consumers.jobs.lanes import Lane
from consumers.jobs.outcome import Completed, Released
from tests.store.cancel.jobs import GONE, OUTCOME, result, settled_apart, settlement
from tests.support.queue import GROUP, ME, OTHER, RESULT_TTL_MS, Queue, new_job

# Waiting


def in_its_lane(queue: Queue) -> tuple[Lane, bool]:
    queue.emit(new_job())
    return queue.lane, False


def in_its_lanes_front(queue: Queue) -> tuple[Lane, bool]:
    queue.settle((queue.one(), Released("stop")))
    return queue.lane, True


def in_its_events_lane(queue: Queue) -> tuple[Lane, bool]:
    queue.settle((queue.one(), Released("no handler", event="e")))
    return Lane("default", "event.e"), True


def in_a_lane_that_lost_its_group(queue: Queue) -> tuple[Lane, bool]:
    queue.emit(new_job())
    queue.redis.xgroup_destroy(queue.stream().key, GROUP)
    return queue.lane, False


Waits = Callable[[Queue], tuple[Lane, bool]]
WAITING = pytest.mark.parametrize("waits", [in_its_lane, in_its_lanes_front, in_its_events_lane])


@pytest.mark.parametrize(
    "waits", [in_its_lane, in_its_lanes_front, in_its_events_lane, in_a_lane_that_lost_its_group]
)
def test_a_waiting_job_ends_at_once_and_its_entry_stays_where_it_is_marked(
    queue: Queue, waits: Waits
) -> None:
    lane, front = waits(queue)
    stream = queue.stream(lane, front=front)
    ((entry, _),) = queue.redis.xrange(stream.key)

    assert queue.cancel() == ("cancelled", 1)

    assert queue.ids(lane, front=front) == ["a"]
    assert queue.marks() == ({f"{stream.name} {entry.decode()}"}, set())
    assert (queue.pointer(), result(queue)) == (None, b"1 cancelled cancelled")
    assert 0 < queue.redis.pttl(queue.keys.result("a")) <= RESULT_TTL_MS
    assert queue.stat("cancelled") == 1


@WAITING
@OUTCOME
def test_whoever_gets_a_job_that_was_cancelled_while_it_waited_can_record_nothing(
    queue: Queue, waits: Waits, kind: str
) -> None:
    lane, front = waits(queue)
    stream = queue.stream(lane, front=front)
    queue.cancel()
    before = settled_apart(queue, stream.key)
    (delivery,) = queue.deliver(lane, front=front)

    assert queue.settle(settlement(delivery, kind)) == ["C"]

    assert settled_apart(queue, stream.key) == before
    assert (queue.redis.xlen(stream.key), queue.pending(delivery)) == (0, None)
    assert queue.marks() == (set(), set())


def test_a_job_that_waited_is_passed_over_among_others_that_are_settled(queue: Queue) -> None:
    queue.emit(*(new_job(it) for it in "xay"))
    queue.cancel()
    x, a, y = queue.deliver()

    assert queue.settle(*((it, Completed()) for it in (x, a, y))) == ["1", "C", "1"]

    assert (queue.stat("completed"), queue.stat("cancelled")) == (2, 1)
    assert (queue.ids(), queue.marks()) == ([], (set(), set()))
    assert (result(queue, "x"), result(queue)) == (b"1 completed null", b"2 cancelled cancelled")


@OUTCOME
def test_g4_a_settle_that_learned_of_the_cancellation_answers_the_same_when_repeated(
    queue: Queue, kind: str
) -> None:
    queue.emit(new_job())
    queue.cancel()
    (delivery,) = queue.deliver()
    first = queue.settle(settlement(delivery, kind), number=50)
    after = queue.snapshot()

    assert queue.settle(settlement(delivery, kind), number=50) == first == ["C"]

    assert queue.snapshot() == after


def test_g2_only_who_has_the_entry_learns_that_it_is_cancelled(queue: Queue) -> None:
    delivery = queue.one()
    queue.cancel()
    queue.hand_over(delivery, OTHER)
    before = queue.writes()

    assert queue.settle((delivery, Completed())) == ["0"]

    assert queue.writes() == before
    delivery.count = 2
    assert queue.settle((delivery, Completed()), consumer=OTHER) == ["C"]


def test_a_job_that_waited_and_is_cancelled_twice_is_too_late_the_second_time(
    queue: Queue,
) -> None:
    queue.emit(new_job())
    queue.cancel()
    before = queue.snapshot()

    assert queue.cancel() == GONE

    assert queue.snapshot() == before


# Groups of others


# XINFO tells groups in the order of their names.
READS_ALONG = pytest.mark.parametrize("group", ["a-monitor", "z-monitor"])


@READS_ALONG
@pytest.mark.parametrize("waits", [in_its_lane, in_its_lanes_front, in_a_lane_that_lost_its_group])
def test_a_group_that_only_reads_along_has_no_job(queue: Queue, waits: Waits, group: str) -> None:
    lane, front = waits(queue)
    queue.read_along(group, lane, front=front)

    assert queue.cancel() == ("cancelled", 1)

    assert [len(marks) for marks in queue.marks()] == [1, 0]
    assert (queue.pointer(), result(queue)) == (None, b"1 cancelled cancelled")


@READS_ALONG
def test_a_running_job_is_to_end_whoever_reads_along(queue: Queue, group: str) -> None:
    delivery = queue.one()
    queue.read_along(group)

    assert queue.cancel() == ("requested", 1)

    assert queue.settle((delivery, Completed())) == ["C"]


@READS_ALONG
def test_a_job_in_its_events_lane_is_to_end_whoever_reads_along(queue: Queue, group: str) -> None:
    lane, front = in_its_events_lane(queue)
    queue.read_along(group, lane, front=front)

    assert queue.cancel() == ("cancelled", 1)


def test_a_running_job_of_another_type_is_to_end_in_its_events_lane(queue: Queue) -> None:
    lane = Lane("default", "gpu").for_event("e")
    queue.emit(NewJob("a", "e", b"{}", lane))
    queue.redis.xreadgroup("gpu", ME, {queue.stream(lane).key: ">"})

    assert queue.cancel() == ("requested", 1)
