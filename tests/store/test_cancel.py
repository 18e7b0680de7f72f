"""cancel.lua on real Redis: a cancelled job ends as that, once, whoever has it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest
import redis as redis_py
from redis.exceptions import ResponseError

from consumers.admin.inspector import facts_of
from consumers.jobs import guards
from consumers.jobs.envelope import NewJob
from consumers.jobs.lanes import Lane
from consumers.jobs.outcome import Buried, Cancelled, Completed, Outcome, Released, RetryAt
from consumers.store import asking, leasing, relaying, tending
from consumers.store.delivery import Delivery
from consumers.store.keys import bucket
from consumers.store.settling import Settlement
from tests.support.queue import (
    GROUP,
    ME,
    OTHER,
    RESULT_TTL_MS,
    Queue,
    Snapshot,
    foreign_value,
    full_memory,
    listening,
    new_job,
)
from tests.support.servers import RedisServer

HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS
LATER = f"+{HOUR_MS}"
LONG_AGO_MS = 600_000
LEASE_MS = 30_000
CHANNEL = "tm:{default}:results:me"
KEY = guards.idempotent("key")
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


@pytest.fixture
def queue(redis: redis_py.Redis) -> Queue:
    return Queue(redis)


def settlement(delivery: Delivery, kind: str) -> Settlement:
    return Settlement(delivery, *OUTCOMES[kind])


def result(queue: Queue, job_id: str = "a") -> bytes | None:
    found: bytes | None = queue.redis.get(queue.keys.result(job_id))
    return found


def wait_for_its_end(queue: Queue, job_id: str = "a") -> None:
    call = asking.inspect(queue.keys, job_id, channel=CHANNEL, waiter_ttl_ms=HOUR_MS)
    assert facts_of("default", job_id, queue.run(call)).run is not None


def reserved(queue: Queue) -> dict[str, int]:
    found = queue.redis.hgetall(f"{queue.keys.delayed}:lanes")
    return {name.decode(): int(count) for name, count in found.items()}


def renew(queue: Queue, *deliveries: Delivery, consumer: str = ME) -> str:
    answer: bytes = queue.run(leasing.renew(queue.keys, consumer, deliveries))
    return answer.decode()


def sweep(queue: Queue, consumer: str = ME) -> list[tuple[str, int, bool]]:
    """Take over what was not renewed; return entry, delivery count and whether it is cancelled."""
    call = leasing.reclaim(queue.stream(), consumer, LEASE_MS, "-", 1000, ())
    taken = leasing.entries_of(queue.run(call))
    return [(entry, count, over) for entry, count, _, over in taken]


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


def settled_apart(queue: Queue, stream: str) -> Snapshot:
    """Everything in Redis but what the settle of a cancelled entry touches."""
    apart = (f"{queue.keys.base}prod:", stream, queue.keys.cancelled)
    return {key: it for key, it in queue.snapshot().items() if not key.startswith(apart)}


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


# Put off


def delayed(queue: Queue, **job: Any) -> None:
    queue.emit(new_job(due=LATER, **job))


def retrying(queue: Queue, **job: Any) -> None:
    queue.settle((queue.one(new_job(**job)), RetryAt(HOUR_MS)))


def debounced(queue: Queue, **job: Any) -> None:
    queue.emit(new_job(**{"guard": STORM, **job}))


PUT_OFF = pytest.mark.parametrize("put_off", [delayed, retrying, debounced])


@PUT_OFF
def test_a_job_that_is_put_off_is_taken_out_of_the_delayed_set(
    queue: Queue, put_off: Callable[..., None]
) -> None:
    put_off(queue, priority=3)
    queue.emit(new_job("b", due=LATER, priority=3))

    assert queue.cancel() == ("cancelled", 1)

    assert list(queue.put_off()) == ["b"]
    assert not queue.redis.hexists(f"{queue.keys.delayed}:envelopes", "a")
    assert reserved(queue) == {"workers:default:3": 1}
    assert (queue.pointer(), result(queue)) == (None, b"1 cancelled cancelled")
    assert (queue.stat("cancelled"), queue.marks()) == (1, (set(), set()))
    assert queue.cancel("b") == ("cancelled", 2)
    assert (reserved(queue), queue.promote()) == ({}, (0, -1))


@PUT_OFF
def test_a_job_that_is_put_off_is_cancelled_once(
    queue: Queue, put_off: Callable[..., None]
) -> None:
    put_off(queue)
    queue.cancel()
    before = queue.snapshot()

    assert queue.cancel() == GONE

    assert queue.snapshot() == before


@PUT_OFF
def test_a_job_whose_envelope_is_gone_is_too_late_to_cancel(
    queue: Queue, put_off: Callable[..., None]
) -> None:
    put_off(queue)
    queue.redis.hdel(f"{queue.keys.delayed}:envelopes", "a")
    before = queue.snapshot()

    assert queue.cancel() == GONE

    assert queue.snapshot() == before


# Running


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
    assert after.pop(queue.keys.result("a")) == ("string", True, b"1 cancelled cancelled")
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


# What has ended, and what is another's


def unknown(queue: Queue) -> None:
    """No job of this id was ever emitted."""


def completed(queue: Queue) -> None:
    queue.settle((queue.one(), Completed()))


def dead(queue: Queue) -> None:
    queue.settle((queue.one(), Buried("failed")))


def discarded(queue: Queue) -> None:
    queue.settle((queue.one(), Cancelled("no use")))


@pytest.mark.parametrize("ended", [unknown, completed, dead, discarded])
def test_it_is_too_late_for_a_job_that_has_ended_and_nothing_is_written(
    queue: Queue, ended: Callable[[Queue], None]
) -> None:
    ended(queue)
    before = queue.snapshot()

    assert queue.cancel() == GONE
    assert queue.cancel(run=1) == GONE

    assert queue.snapshot() == before


@pytest.mark.parametrize("put_off", [new_job, None, delayed, debounced])
def test_another_run_than_the_one_that_is_meant_is_left_alone(queue: Queue, put_off: Any) -> None:
    if put_off is new_job:
        queue.emit(new_job())
    elif put_off is None:
        queue.one()
    else:
        put_off(queue)
    before = queue.snapshot()

    for run in (0, 2, 11):
        assert queue.cancel(run=run) == GONE

    assert queue.snapshot() == before
    assert queue.cancel(run=1)[0] in ("cancelled", "requested")


POINTERS = [
    "garbage",
    "",
    "1 0 workers:default:0 not-an-entry",
    "1 0 workers:default:0 5-5",
    "1 0 workers:default:0:front 5-5",
    "1 0 nowhere 5-5",
    "1 0 delayed 17",
    "1 0 debounced 17",
    "1 0 retrying soon",
]


@pytest.mark.parametrize("pointer", POINTERS)
def test_a_stale_pointer_leads_to_no_job_and_nothing_is_written(queue: Queue, pointer: str) -> None:
    queue.emit(new_job("b"))
    queue.redis.hset(queue.keys.live("a"), "a", pointer)
    before = queue.snapshot()

    assert queue.cancel() == GONE

    assert queue.snapshot() == before


def test_equal_entries_of_two_streams_are_not_mixed_up(queue: Queue) -> None:
    lanes = [Lane("default"), Lane("default", priority=1)]
    queue.emit(new_job("a"), new_job("open", priority=1))
    entry, fields = queue.redis.xrange(queue.keys.lane(lanes[0]))[0]
    for job_id, key in (("b", queue.keys.lane(lanes[1])), ("c", queue.keys.front(lanes[0]))):
        queue.redis.delete(key)
        queue.redis.xadd(key, {**fields, b"id": job_id}, id=entry)
        queue.redis.xgroup_create(key, GROUP, "0")
        name = key.removeprefix(f"{queue.keys.base}lane:")
        queue.redis.hset(queue.keys.live(job_id), job_id, f"1 0 {name} {entry.decode()}")

    assert queue.cancel("a") == ("cancelled", 1)
    (c,) = queue.deliver(lanes[0], front=True)
    (b,) = queue.deliver(lanes[1])
    assert queue.cancel("b") == ("requested", 1)
    (a,) = queue.deliver(lanes[0])

    assert renew(queue, a, b, c) == "CC1"
    assert queue.settle((c, Completed()), (b, Completed()), (a, Completed())) == ["1", "C", "C"]
    assert (queue.stat("completed"), queue.stat("cancelled")) == (1, 2)
    assert queue.marks() == (set(), set())


# The same id again


def test_an_id_that_was_cancelled_while_it_waited_is_emitted_anew_and_runs(queue: Queue) -> None:
    queue.emit(new_job(data=b"1"))
    queue.cancel()

    assert queue.emit(new_job(data=b"2")) == ["+2"]

    old, new = queue.deliver()
    assert queue.settle((old, Completed(b"1")), (new, Completed(b"2"))) == ["C", "1"]
    assert result(queue) == b"2 completed 2"
    assert (queue.pointer(), queue.ids(), queue.marks()) == (None, [], (set(), set()))
    assert (queue.stat("completed"), queue.stat("cancelled")) == (1, 1)


@PUT_OFF
def test_an_id_that_was_cancelled_while_it_was_put_off_is_emitted_anew(
    queue: Queue, put_off: Callable[..., None]
) -> None:
    put_off(queue)
    queue.cancel()

    assert queue.emit(new_job(data=b"2")) == ["+2"]

    (delivery,) = queue.deliver()
    assert queue.settle((delivery, Completed())) == ["1"]


@OUTCOME
def test_an_id_is_emitted_anew_while_its_cancelled_run_still_runs_and_is_not_touched_by_it(
    queue: Queue, kind: str
) -> None:
    old = queue.one()
    wait_for_its_end(queue)
    queue.cancel()

    assert queue.emit(new_job(data=b"2")) == ["+2"]

    pointer = queue.pointer()
    wait_for_its_end(queue)
    with listening(queue.redis, CHANNEL) as told:
        assert queue.settle(settlement(old, kind)) == ["C"]
    assert (queue.pointer(), result(queue)) == (pointer, None)
    # Who waited for the old run is told; who waits for the new one is not forgotten.
    assert told == [f"{queue.keys.base} a 1 cancelled cancelled"]
    assert queue.marks() == (set(), set())
    (new,) = queue.deliver()
    with listening(queue.redis, CHANNEL) as told:
        assert queue.settle((new, Completed(b"2"))) == ["1"]
    assert told == [f"{queue.keys.base} a 2 completed 2"]
    assert (queue.pointer(), queue.ids()) == (None, [])


def test_a_run_that_ended_before_the_cancelled_one_before_it_keeps_its_result(
    queue: Queue,
) -> None:
    old = queue.one()
    queue.cancel()
    queue.emit(new_job())
    (new,) = queue.deliver()
    queue.settle((new, Completed(b"2")))

    assert queue.settle((old, Completed(b"1"))) == ["C"]

    assert (result(queue), queue.pointer()) == (b"2 completed 2", None)


def test_the_run_after_a_cancelled_one_is_cancelled_on_its_own(queue: Queue) -> None:
    old = queue.one()
    queue.cancel()
    queue.emit(new_job())

    assert queue.cancel(run=1) == GONE
    assert queue.cancel(run=2) == ("cancelled", 2)

    (new,) = queue.deliver()
    assert queue.settle((old, Completed()), (new, Completed())) == ["C", "C"]
    assert (queue.stat("cancelled"), result(queue)) == (2, b"2 cancelled cancelled")


def test_an_id_whose_run_is_cancelled_may_be_a_child(queue: Queue) -> None:
    parent = queue.one(new_job("parent"))
    old = queue.one()
    queue.cancel()

    assert queue.settle(Settlement(parent, Completed(), [new_job(data=b"2")])) == ["1"]

    assert queue.settle((old, Completed())) == ["C"]
    (new,) = queue.deliver()
    assert (new.envelope.data, new.envelope.generation) == (b"2", 3)


def test_an_id_whose_run_is_cancelled_is_taken_from_an_outbox(queue: Queue) -> None:
    old = queue.one()
    queue.cancel()
    posted = ["1-1", queue.lane.name, bucket("a"), "a", "e", b"2", b"", "", ""]

    assert queue.run(relaying.relay(queue.keys, relaying.Outbox("other", "1"), [posted])) == [
        1,
        0,
    ]

    assert queue.settle((old, Completed())) == ["C"]
    (new,) = queue.deliver()
    assert (new.envelope.data, new.envelope.generation) == (b"2", 2)


def test_a_dead_letter_comes_back_while_a_cancelled_run_of_its_id_still_runs(
    queue: Queue,
) -> None:
    queue.settle((queue.one(), Buried("failed")))
    old = queue.one()
    queue.cancel()

    assert queue.replay("a") == ["+3"]

    assert queue.settle((old, Completed())) == ["C"]
    (new,) = queue.deliver()
    assert queue.settle((new, Completed(b"3"))) == ["1"]
    assert result(queue) == b"3 completed 3"


# Who waits, and the idempotency key


def running(queue: Queue, **job: Any) -> None:
    queue.one(new_job(**job))


def waiting(queue: Queue, **job: Any) -> None:
    queue.emit(new_job(**job))


@pytest.mark.parametrize("place", [waiting, delayed, retrying, debounced])
def test_who_waits_for_a_cancelled_jobs_end_is_told(
    queue: Queue, place: Callable[..., None]
) -> None:
    place(queue)
    wait_for_its_end(queue)

    with listening(queue.redis, CHANNEL) as told:
        queue.cancel()

    assert told == [f"{queue.keys.base} a 1 cancelled cancelled"]
    assert not queue.redis.exists(queue.keys.waiters)


def test_who_waits_for_a_running_jobs_end_is_told_when_it_has_ended(queue: Queue) -> None:
    delivery = queue.one()
    wait_for_its_end(queue)

    with listening(queue.redis, CHANNEL) as told:
        queue.cancel()
    assert told == []
    with listening(queue.redis, CHANNEL) as told:
        queue.settle((delivery, Completed(b"1")))
    assert told == [f"{queue.keys.base} a 1 cancelled cancelled"]


@pytest.mark.parametrize("place", [waiting, delayed, retrying, debounced])
def test_no_result_is_kept_where_results_are_kept_elsewhere(
    queue: Queue, place: Callable[..., None]
) -> None:
    place(queue)

    assert queue.cancel(result_ttl_ms=0) == ("cancelled", 1)

    assert (result(queue), queue.pointer()) == (None, None)


@pytest.mark.parametrize("place", [waiting, running, delayed])
@pytest.mark.parametrize("ttl", [9_300_000_000_000_000, -1, 10**30])
def test_a_time_to_live_that_redis_refuses_cancels_nothing(
    queue: Queue, place: Callable[..., None], ttl: int
) -> None:
    place(queue)
    before = queue.snapshot()

    with pytest.raises(ResponseError, match="no time to live"):
        queue.cancel(result_ttl_ms=ttl)

    assert queue.snapshot() == before


def key_ttl(queue: Queue) -> int:
    ttl: int = queue.redis.pttl(queue.keys.idempotency("key"))
    return ttl


@pytest.mark.parametrize("place", [waiting, delayed, retrying])
def test_the_idempotency_key_of_a_cancelled_job_expires_a_day_later(
    queue: Queue, place: Callable[..., None]
) -> None:
    place(queue, guard=KEY)
    assert key_ttl(queue) == -1

    queue.cancel()

    assert DAY_MS - 60_000 < key_ttl(queue) <= DAY_MS


def test_the_idempotency_key_of_a_running_job_expires_a_day_after_it_has_ended(
    queue: Queue,
) -> None:
    delivery = queue.one(new_job(guard=KEY))

    queue.cancel()
    assert key_ttl(queue) == -1
    queue.settle((delivery, Completed()))

    assert DAY_MS - 60_000 < key_ttl(queue) <= DAY_MS


def test_the_key_of_a_run_that_is_being_cancelled_stands_as_it_does_when_that_has_ended(
    queue: Queue,
) -> None:
    old = queue.one(new_job("a", guard=KEY))
    queue.cancel()
    assert queue.emit(new_job("b", guard=KEY)) == ["~1:a"]

    queue.settle((old, Completed()))

    assert queue.emit(new_job("b", guard=KEY)) == ["~1:a"]
    assert DAY_MS - 60_000 < key_ttl(queue) <= DAY_MS


def test_the_key_of_a_cancelled_run_expires_although_its_id_was_emitted_anew_without_it(
    queue: Queue,
) -> None:
    old = queue.one(new_job("a", guard=KEY))
    queue.cancel()
    assert queue.emit(new_job("a")) == ["+2"]

    queue.settle((old, Completed()))

    assert DAY_MS - 60_000 < key_ttl(queue) <= DAY_MS


def test_a_run_that_was_emitted_without_a_key_does_not_stand_for_one_with_it(
    queue: Queue,
) -> None:
    queue.one(new_job("a", guard=KEY))
    queue.cancel()
    queue.emit(new_job("a"))

    assert queue.emit(new_job("b", guard=KEY)) == ["+3"]


# The backlog that autoscalers read


def test_the_lag_of_a_group_stays_known_through_every_cancellation(
    queue: Queue, server: RedisServer
) -> None:
    if server.version < (7, 0):
        pytest.skip("Redis 6.2 has no lag")

    def is_known() -> bool:
        return None not in queue.lags()

    queue.emit(*(new_job(it) for it in "abcdefgh"), new_job("later", due=LATER))
    # 7.0 does not know the lag while the entry that was delivered last is deleted before
    # an earlier one: that one goes first.
    back, runs = queue.deliver(count=2)
    queue.settle((back, Released("stop")))
    for job_id in ("a", "b", "c", "e", "h", "later"):
        assert queue.cancel(job_id)[0] != "too_late"
        assert is_known()
    assert queue.settle((runs, Completed())) == ["C"]
    assert is_known()

    for delivery in (*queue.deliver(front=True), *queue.deliver(count=3)):
        queue.settle((delivery, Completed()))
        assert is_known()
    expired, *rest = queue.deliver(consumer=OTHER)
    queue.age(expired, LONG_AGO_MS)
    sweep(queue)
    expired.count = 2
    queue.settle((expired, Cancelled("expired")))
    assert is_known()
    assert queue.settle(*((it, Completed()) for it in rest), consumer=OTHER) == ["1", "C"]

    assert set(queue.lags()) == {0}
    assert (queue.ids(), queue.marks()) == ([], (set(), set()))


# What stands in the way


@pytest.mark.parametrize("place", [waiting, delayed, retrying, debounced])
def test_g12_a_job_is_cancelled_in_full_memory(queue: Queue, place: Callable[..., None]) -> None:
    place(queue)

    with full_memory(queue.redis):
        assert queue.cancel() == ("cancelled", 1)

    assert (queue.pointer(), result(queue)) == (None, b"1 cancelled cancelled")
    assert (len(queue.marks()[0]), queue.stat("cancelled")) == (place is waiting, 1)


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


def key_named(queue: Queue, name: str) -> str:
    return {
        "live bucket": queue.keys.live("a"),
        "lane": queue.stream().key,
        "cancelled": queue.keys.cancelled,
        "cancelling": queue.keys.cancelling,
        "waiters": queue.keys.waiters,
        "delayed": queue.keys.delayed,
        "envelopes": f"{queue.keys.delayed}:envelopes",
        "reserved lanes": f"{queue.keys.delayed}:lanes",
    }[name]


IN_THE_WAY = [
    *((place, key) for place in (waiting, running) for key in ("lane", "cancelled", "cancelling")),
    *((place, key) for place in (waiting, running, delayed) for key in ("live bucket", "waiters")),
    *((delayed, key) for key in ("delayed", "envelopes", "reserved lanes")),
]


@pytest.mark.parametrize(("place", "name"), IN_THE_WAY)
def test_a_foreign_value_keeps_a_job_from_being_cancelled_and_nothing_is_written(
    queue: Queue, place: Callable[..., None], name: str
) -> None:
    place(queue, guard=KEY)
    wait_for_its_end(queue)

    with foreign_value(queue.redis, key_named(queue, name)):
        before = queue.snapshot()
        with pytest.raises(ResponseError, match="WRONGTYPE"):
            queue.cancel()
        assert queue.snapshot() == before

    assert queue.cancel()[0] in ("cancelled", "requested")


@pytest.mark.foreign_keys
@pytest.mark.parametrize("place", [waiting, running, delayed])
def test_a_foreign_value_in_place_of_counters_key_or_result_does_not_stop_it(
    queue: Queue, place: Callable[..., None]
) -> None:
    place(queue, guard=KEY)
    queue.redis.delete(queue.keys.idempotency("key"), queue.keys.stats)
    for key in (queue.keys.idempotency("key"), queue.keys.stats, queue.keys.result("a")):
        queue.redis.rpush(key, "somebody else's")

    assert queue.cancel()[0] in ("cancelled", "requested")

    assert result_is_replaced(queue) is (place is not running)
    assert queue.redis.lrange(queue.keys.stats, 0, -1) == [b"somebody else's"]


def result_is_replaced(queue: Queue) -> bool:
    kind: bytes = queue.redis.type(queue.keys.result("a"))
    return kind == b"string"


@pytest.mark.parametrize("name", ["cancelled", "cancelling"])
def test_a_foreign_value_in_place_of_the_marks_does_not_stop_other_jobs(
    queue: Queue, name: str
) -> None:
    queue.emit(new_job("a"), new_job("b"))
    done, lost = queue.deliver()
    queue.age(lost, LONG_AGO_MS)

    with foreign_value(queue.redis, key_named(queue, name)):
        assert renew(queue, done) == "1"
        assert queue.settle((done, Completed())) == ["1"]
        assert sweep(queue, consumer=OTHER) == [(lost.entry, 2, False)]
