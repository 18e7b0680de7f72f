"""settle.lua on real Redis: outcomes are recorded whole and once, or not at all."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest
import redis as redis_py
from redis.exceptions import ResponseError

from consumers.jobs.envelope import NewJob
from consumers.jobs.lanes import MAX_LANES, Lane
from consumers.jobs.outcome import Buried, Cancelled, Completed, Outcome, Released, RetryAt
from consumers.store import leasing, settling, steps, tending
from consumers.store.delivery import Delivery, delivery_of
from consumers.store.settling import DeadLetterBounds, Settlement
from tests.support.queue import (
    GROUP,
    ME,
    OTHER,
    RESULT_TTL_MS,
    Queue,
    foreign_value,
    full_memory,
    new_job,
)

CHILD_LANE = Lane("default", priority=1)
EVENT_LANE = Lane("default", "event.e")

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


@pytest.fixture
def queue(redis: redis_py.Redis) -> Queue:
    return Queue(redis)


@pytest.fixture(params=OUTCOMES)
def kind(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


def settlement(delivery: Delivery, kind: str) -> Settlement:
    return Settlement(delivery, *OUTCOMES[kind])


def neighbours(queue: Queue) -> list[Settlement]:
    """Two jobs of another lane that can be completed."""
    queue.emit(new_job("n", priority=9), new_job("m", priority=9))
    return [Settlement(it, Completed()) for it in queue.deliver(Lane("default", priority=9))]


def _in_words(case: object) -> str:
    return str(case).replace(" ", "_")


# Complete


def test_g3_a_completed_job_leaves_its_lane_and_the_index_and_its_result_appears(
    queue: Queue,
) -> None:
    delivery = queue.one()

    assert queue.settle((delivery, Completed(b'{"n":1}'))) == ["1"]

    assert queue.redis.get(queue.keys.result("a")) == b'1 completed {"n":1}'
    assert 0 < queue.redis.pttl(queue.keys.result("a")) <= RESULT_TTL_MS
    assert queue.pending(delivery) is None
    assert queue.ids() == []
    assert queue.pointer() is None
    assert queue.stat("completed") == 1


def test_a_result_ttl_of_zero_stores_no_result(queue: Queue) -> None:
    delivery = queue.one()

    assert queue.settle((delivery, Completed(b"1")), result_ttl_ms=0) == ["1"]

    assert not queue.redis.exists(queue.keys.result("a"))


def test_a_foreign_value_in_place_of_a_result_is_replaced(queue: Queue) -> None:
    queue.redis.rpush(queue.keys.result("a"), "somebody else's")
    delivery = queue.one()

    assert queue.settle((delivery, Completed(b"1"))) == ["1"]

    assert queue.redis.get(queue.keys.result("a")) == b"1 completed 1"


@pytest.mark.parametrize("ttl", [9_300_000_000_000_000, -1, 10**30])
def test_a_time_to_live_that_redis_refuses_settles_nothing(queue: Queue, ttl: int) -> None:
    delivery = queue.one()
    before = queue.snapshot()

    with pytest.raises(ResponseError, match="no time to live"):
        queue.settle((delivery, Completed(b"1")), result_ttl_ms=ttl)

    assert queue.snapshot() == before


def test_completing_an_overtaken_generation_leaves_the_newer_one_in_the_index(
    queue: Queue,
) -> None:
    old = queue.one()
    queue.redis.hset(queue.keys.live("a"), "a", "garbage")
    queue.emit(new_job("a"))
    newer = queue.pointer()

    assert queue.settle((old, Completed())) == ["1"]

    assert queue.pointer() == newer
    assert newer is not None
    assert newer.startswith("2 ")


def test_g3_children_enter_in_the_step_that_completes_their_parent(queue: Queue) -> None:
    parent = queue.one()
    children = [new_job("x", "child", b"[1]"), new_job("y", "child", b"[2]", priority=3)]

    assert queue.settle(Settlement(parent, Completed(), children)) == ["1"]

    assert (queue.ids(), queue.ids(Lane("default", priority=3))) == (["x"], ["y"])
    (x,) = queue.deliver()
    assert (x.envelope.event, x.envelope.data, x.envelope.generation) == ("child", b"[1]", 2)
    assert queue.pointer("y") is not None
    assert queue.stat("emitted") == 3


def test_g3_children_do_not_enter_when_their_parent_was_taken_over(queue: Queue) -> None:
    parent = queue.one()
    queue.hand_over(parent, OTHER)
    before = queue.writes()

    assert queue.settle(Settlement(parent, Completed(), [new_job("child", priority=1)])) == ["0"]

    assert queue.writes() == before
    assert queue.stat("emitted") == 1


def test_a_child_may_have_its_parents_id(queue: Queue) -> None:
    parent = queue.one(new_job("a", data=b"1"))

    assert queue.settle(Settlement(parent, Completed(), [new_job("a", data=b"2")])) == ["1"]

    (again,) = queue.deliver()
    assert (again.envelope.id, again.envelope.data) == ("a", b"2")
    assert queue.pointer() == f"2 0 workers:default:0 {again.entry}"
    assert queue.redis.get(queue.keys.result("a")) == b"1 completed null"


def test_a_child_whose_id_lives_is_not_doubled(queue: Queue) -> None:
    parent = queue.one()
    queue.emit(new_job("x"))

    assert queue.settle(Settlement(parent, Completed(), [new_job("x"), new_job("y")])) == ["1"]

    assert queue.ids() == ["x", "y"]


def open_lanes(queue: Queue, count: int) -> None:
    have = queue.redis.zcard(queue.keys.lanes)
    queue.emit(*(new_job(f"lane-{n}", priority=-1 - n) for n in range(count - have)))
    assert queue.redis.zcard(queue.keys.lanes) == count


TOO_MANY = {
    "one lane, no room": (MAX_LANES, [new_job("x", priority=50)]),
    "two lanes, room for one": (
        MAX_LANES - 1,
        [new_job("x", priority=50), new_job("y", priority=51)],
    ),
    "the second child's lane": (MAX_LANES, [new_job("x"), new_job("y", priority=51)]),
    "a child with its parent's id": (MAX_LANES, [new_job("a", priority=50)]),
}


@pytest.mark.parametrize(("lanes", "children"), TOO_MANY.values(), ids=TOO_MANY)
def test_children_that_need_a_33rd_lane_keep_their_parent_from_completing(
    queue: Queue, lanes: int, children: list[NewJob]
) -> None:
    parent = queue.one()
    open_lanes(queue, lanes)
    before = queue.writes()

    assert queue.settle(Settlement(parent, Completed(), children)) == ["L"]

    assert queue.writes() == before
    assert queue.pending(parent) == (ME, 1)
    assert queue.settle((parent, Buried("failed"))) == ["1"]


FITTING = {
    "two children, one lane": [new_job("x", priority=50), new_job("y", priority=50)],
    "a known lane": [new_job("x")],
    "a child that lives already": [new_job("x", priority=50), new_job("lane-0", priority=51)],
}


@pytest.mark.parametrize("children", FITTING.values(), ids=FITTING)
def test_children_that_fit_in_32_lanes_enter(queue: Queue, children: list[NewJob]) -> None:
    parent = queue.one()
    open_lanes(queue, MAX_LANES - 1)

    assert queue.settle(Settlement(parent, Completed(), children)) == ["1"]

    assert queue.redis.zcard(queue.keys.lanes) <= MAX_LANES
    assert all(queue.pointer(child.id) for child in children)


# Bury


def test_a_buried_job_keeps_every_field_and_is_found_by_its_id(queue: Queue) -> None:
    delivery = queue.one(new_job("a", "e", b'{"n":1}', options=b'{"o":1}', priority=4))

    assert queue.settle((delivery, Buried("failed", "Traceback ..."))) == ["1"]

    ((entry, letter),) = queue.redis.xrange(queue.keys.dead)
    assert queue.redis.hgetall(queue.keys.dead_index) == {b"a": entry}
    assert {name.decode(): value for name, value in letter.items()} == {
        "job": b"a",
        "size": str(size_of(letter)).encode(),
        "lane": b"workers:default:4",
        "group": b"workers",
        "reason": b"failed",
        "error": b"Traceback ...",
        "errors": b"",
        "delivered": b"1",
        "head": f"1:1:{delivery.envelope.created_at}:0:0:0".encode(),
        "id": b"a",
        "event": b"e",
        "data": b'{"n":1}',
        "options": b'{"o":1}',
    }
    assert queue.ids(delivery.stream.lane) == []
    assert list(letter)[:4] == [b"job", b"size", b"lane", b"group"]
    assert (queue.pointer(), queue.stat("dead")) == (None, 1)
    assert queue.stat("dead_bytes") == size_of(letter)
    assert queue.redis.get(queue.keys.result("a")) == b"1 dead " + entry


def size_of(letter: dict[bytes, bytes]) -> int:
    """What a letter counts for: its facts, without the four fields before them."""
    facts = dict(letter)
    for field in (b"job", b"size", b"lane", b"group"):
        del facts[field]
    return sum(len(name) + len(value) for name, value in facts.items())


def test_g13_a_buried_foreign_entry_keeps_its_raw_bytes(queue: Queue) -> None:
    delivery = queue.one()

    assert queue.settle((delivery, Buried("foreign", "why", raw=b"\x00\xff"))) == ["1"]

    ((_, letter),) = queue.redis.xrange(queue.keys.dead)
    assert letter[b"raw"] == b"\x00\xff"
    assert b"data" not in letter


def test_g13_a_foreign_entry_of_thousands_of_fields_is_buried_raw_for_whatever_reason(
    queue: Queue,
) -> None:
    queue.one()
    fields = [part for n in range(5000) for part in (b"field-%d" % n, b"x")]
    entry = queue.redis.execute_command("XADD", queue.stream().key, "*", *fields)
    queue.redis.xreadgroup(GROUP, ME, {queue.stream().key: ">"})
    delivery = delivery_of(queue.stream(), entry.decode(), 1, fields, 0.0)

    assert queue.settle((delivery, Buried("no_handler", "nobody"))) == ["1"]

    ((_, letter),) = queue.redis.xrange(queue.keys.dead)
    assert letter[b"raw"] == delivery.envelope.data
    assert letter[b"raw"].startswith(b"7:field-0,1:x,")


def test_dead_letters_are_trimmed_at_their_bound_with_their_index(queue: Queue) -> None:
    queue.emit(*(new_job(it) for it in "abcde"))
    buried = [(it, Buried("failed")) for it in queue.deliver()]

    queue.settle(*buried, bounds=DeadLetterBounds(most=3))

    assert [it[b"job"] for _, it in queue.redis.xrange(queue.keys.dead)] == [b"c", b"d", b"e"]
    assert set(queue.redis.hgetall(queue.keys.dead_index)) == {b"c", b"d", b"e"}
    assert (queue.stat("dead"), queue.stat("dead_trimmed")) == (5, 2)


def test_trimming_an_older_letter_of_an_id_leaves_its_latest_in_the_index(queue: Queue) -> None:
    bounds = DeadLetterBounds(most=2)
    queue.redis.xadd(queue.keys.dead, {"somebody": "else's"})
    for _ in range(2):
        queue.settle((queue.one(new_job("a")), Buried("failed")), bounds=bounds)
    queue.settle((queue.one(new_job("b")), Buried("failed")), bounds=bounds)

    (entry_a, _), (entry_b, _) = queue.redis.xrange(queue.keys.dead)
    assert queue.redis.hgetall(queue.keys.dead_index) == {b"a": entry_a, b"b": entry_b}


def test_a_job_whose_entry_was_deleted_can_be_buried(queue: Queue) -> None:
    delivery = queue.one()
    queue.redis.xdel(delivery.stream.key, delivery.entry)

    assert queue.settle((delivery, Buried("missing", "deleted"))) == ["1"]

    ((_, letter),) = queue.redis.xrange(queue.keys.dead)
    assert (letter[b"job"], letter[b"reason"]) == (b"a", b"missing")
    assert queue.pointer() is None


# Release


def test_released_jobs_lie_in_their_lanes_front_in_order(queue: Queue) -> None:
    queue.emit(*(new_job(it) for it in "abcd"))
    a, b, _c, _d = queue.deliver()

    assert queue.settle((a, Released("stop")), (b, Released("stop"))) == ["1", "1"]

    assert (queue.ids(), queue.ids(front=True)) == (["c", "d"], ["a", "b"])
    (again, _) = queue.deliver(front=True)
    assert queue.pointer() == f"1 0 workers:default:0:front {again.entry}"
    assert queue.stat("released") == 2


def test_a_job_released_from_a_front_goes_to_the_front_itself(queue: Queue) -> None:
    queue.settle((queue.one(), Released("stop")))
    (again,) = queue.deliver(front=True)

    assert queue.settle((again, Released("stop"))) == ["1"]

    assert queue.ids(front=True) == ["a"]


def test_g5_a_release_counts_as_a_delivery_and_not_as_a_crash(queue: Queue) -> None:
    delivery = queue.one()
    queue.hand_over(delivery, ME)
    delivery.count = 2

    queue.settle((delivery, Released("stop")))
    (second,) = queue.deliver(front=True)
    queue.settle((second, Released("stop")))
    (third,) = queue.deliver(front=True)

    assert (second.envelope.deliveries, second.envelope.crashes) == (2, 1)
    assert (third.envelope.deliveries, third.envelope.crashes) == (3, 1)
    assert third.crashes == 1
    assert third.envelope.created_at == delivery.envelope.created_at


def test_g14_a_job_is_released_to_its_events_own_front_which_its_type_reads(queue: Queue) -> None:
    delivery = queue.one(new_job("a", data=b"[1]", priority=2))
    lane = Lane("default", "event.e", priority=2)

    assert queue.settle((delivery, Released("no handler", event="e"))) == ["1"]

    (again,) = queue.deliver(lane, front=True)
    assert again.envelope.data == b"[1]"
    assert queue.pointer() == f"1 0 event.e:default:2:front {again.entry}"
    assert queue.redis.zscore(queue.keys.lanes, lane.name) == 1002
    for key in (queue.keys.lane(lane), queue.keys.front(lane)):
        assert [group["name"] for group in queue.redis.xinfo_groups(key)] == [GROUP.encode()]


def test_g14_fields_of_a_newer_envelope_survive_a_release(queue: Queue) -> None:
    queue.emit(new_job("first"))
    fields = {"head": "2:7:1:0:0:0:new", "id": "a", "event": "e", "data": "{}", "options": "",
              "later": "x"}  # fmt: skip
    queue.redis.xadd(queue.stream().key, fields)
    _, delivery = queue.deliver()

    assert queue.settle((delivery, Released("newer", event="e"))) == ["1"]

    ((_, kept),) = queue.redis.xrange(queue.keys.front(Lane("default", "event.e@2")))
    assert {k.decode(): v.decode() for k, v in kept.items()} == {
        **fields,
        "head": "2:7:1:0:1:0:new",
    }


@pytest.mark.parametrize(("ran_solo", "left"), [(True, 0), (False, 1)])
def test_g5_releasing_a_solo_run_undoes_its_mark_and_no_earlier_one(
    queue: Queue, ran_solo: bool, left: int
) -> None:
    delivery = queue.one()
    assert queue.run(leasing.solo(delivery, ME, 1)) == 0
    delivery.solo = ran_solo

    queue.settle((delivery, Released("stop")))

    pointer = queue.pointer()
    assert pointer is not None
    assert pointer.split(" ")[1] == str(left)


def test_a_deleted_entry_is_not_released_and_stays_pending(queue: Queue) -> None:
    delivery = queue.one()
    queue.redis.xdel(delivery.stream.key, delivery.entry)
    before = queue.writes()

    assert queue.settle((delivery, Released("stop"))) == ["M"]

    assert queue.writes() == before
    assert queue.pending(delivery) == (ME, 1)


def test_releasing_an_overtaken_generation_leaves_the_newer_one_in_the_index(
    queue: Queue,
) -> None:
    old = queue.one()
    queue.redis.hset(queue.keys.live("a"), "a", "garbage")
    queue.emit(new_job("a"))
    newer = queue.pointer()

    assert queue.settle((old, Released("stop"))) == ["1"]

    assert queue.pointer() == newer


def test_a_lane_of_an_event_beyond_their_most_is_refused(
    queue: Queue, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(settling, "MAX_EVENT_LANES", 2)
    queue.emit(*(new_job(it, it) for it in "abcd"), new_job("a2", "a"))
    a, b, c, _d, a2 = queue.deliver()

    words = queue.settle(*((it, Released("", event=it.envelope.event)) for it in (a, b, c, a2)))

    assert words == ["1", "1", "L", "1"]
    assert queue.pending(c) == (ME, 1)


def test_lanes_do_not_take_the_room_of_lanes_of_events(queue: Queue) -> None:
    delivery = queue.one()
    open_lanes(queue, MAX_LANES)

    assert queue.settle((delivery, Released("", event="e"))) == ["1"]


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


def test_g4_a_settle_whose_reply_was_lost_is_applied_once_and_answers_the_same(
    queue: Queue, kind: str
) -> None:
    batch = [settlement(queue.one(), kind), *neighbours(queue)]
    assert queue.settle(*batch, number=50) == ["1", "1", "1"]
    after = queue.snapshot()

    assert queue.settle(*batch, number=50) == ["1", "1", "1"]

    assert queue.snapshot() == after


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


# Full memory


def test_g12_every_outcome_is_recorded_in_full_memory(queue: Queue, kind: str) -> None:
    batch = [settlement(queue.one(), kind), *neighbours(queue)]

    with full_memory(queue.redis):
        words = queue.settle(*batch, number=50)
        again = queue.settle(*batch, number=50)

    assert words == again == ["1", "1", "1"]
    counted = ["completed", "dead", "released", "retried", "cancelled"]
    assert sum(queue.stat(it) for it in counted) == 3


def test_g12_a_fenced_settle_in_full_memory_answers_and_hides_no_neighbour(queue: Queue) -> None:
    delivery = queue.one()
    batch = neighbours(queue)
    queue.hand_over(delivery, OTHER)

    with full_memory(queue.redis):
        assert queue.settle((delivery, Completed())) == ["0"]
        assert queue.settle((delivery, Completed()), *batch) == ["0", "1", "1"]


# Foreign values


def key_named(queue: Queue, name: str) -> str:
    keys, lane = queue.keys, Lane("default")
    return {
        "door": keys.writer("w"),
        "meta": keys.meta,
        "lanes": keys.lanes,
        "stats": keys.stats,
        "dead": keys.dead,
        "dead_index": keys.dead_index,
        "live bucket": keys.live("a"),
        "lane": keys.lane(lane),
        "front": keys.front(lane),
        "child's live bucket": keys.live("child"),
        "child's lane": keys.lane(CHILD_LANE),
        "child's front": keys.front(CHILD_LANE),
        "event's lane": keys.lane(EVENT_LANE),
        "event's front": keys.front(EVENT_LANE),
        "delayed": keys.delayed,
        "envelopes": f"{keys.delayed}:envelopes",
        "reserved lanes": f"{keys.delayed}:lanes",
        "outbox": keys.outbox,
        "waiters": keys.waiters,
    }[name]


@pytest.mark.parametrize("name", ["door", "meta", "lanes", "stats", "waiters"])
def test_a_foreign_value_in_a_key_of_the_queue_refuses_the_batch_and_all_stays_pending(
    queue: Queue, kind: str, name: str
) -> None:
    delivery = queue.one()
    batch = [settlement(delivery, kind), *neighbours(queue)]
    before = queue.snapshot()

    with (
        foreign_value(queue.redis, key_named(queue, name)),
        pytest.raises(ResponseError, match="WRONGTYPE"),
    ):
        queue.settle(*batch, number=50)

    assert queue.snapshot() == before
    assert queue.pending(delivery) == (ME, 1)
    assert queue.settle(*batch, number=50) == ["1", "1", "1"]


IN_THE_WAY = [
    ("complete", "live bucket"),
    ("complete with a child", "live bucket"),
    ("complete with a child", "child's live bucket"),
    ("complete with a child", "child's lane"),
    ("complete with a child", "child's front"),
    ("complete with a child elsewhere", "live bucket"),
    ("complete with a child elsewhere", "outbox"),
    ("cancel", "live bucket"),
    ("retry", "live bucket"),
    ("retry later", "live bucket"),
    ("retry later", "delayed"),
    ("retry later", "envelopes"),
    ("retry later", "reserved lanes"),
    ("bury", "live bucket"),
    ("bury", "dead"),
    ("bury", "dead_index"),
    ("bury raw", "dead"),
    ("bury raw", "dead_index"),
    ("release", "live bucket"),
    ("release", "front"),
    ("release to its event", "live bucket"),
    ("release to its event", "event's lane"),
    ("release to its event", "event's front"),
]


@pytest.mark.parametrize(("which", "name"), IN_THE_WAY, ids=_in_words)
@pytest.mark.parametrize("listed", [False, True], ids=["new lanes", "known lanes"])
def test_a_foreign_value_refuses_its_own_item_only_and_the_job_stays_pending(
    queue: Queue, which: str, name: str, listed: bool
) -> None:
    delivery = queue.one()
    if listed:
        queue.emit(new_job("before", priority=1), new_job("kept", priority=2))
        (kept,) = queue.deliver(Lane("default", priority=2))
        queue.redis.zadd(queue.keys.lanes, {EVENT_LANE.name: 0})
        for key in (queue.keys.lane(EVENT_LANE), queue.keys.front(EVENT_LANE)):
            queue.redis.xgroup_create(key, GROUP, "0", mkstream=True)
        queue.settle((kept, Completed()))
    first, last = neighbours(queue)
    key = key_named(queue, name)
    refused = settlement(delivery, which)
    before = queue.writes()

    with foreign_value(queue.redis, key):
        alone = queue.settle(refused)
    if listed and name == "child's front":
        # Nothing is written there once the lane is known.
        assert alone == ["1"]
        return

    assert alone == [f"T{key}"]
    assert queue.writes() == before
    with foreign_value(queue.redis, key):
        assert queue.settle(first, refused, last) == ["1", f"T{key}", "1"]
    assert queue.pending(delivery) == (ME, 1)
    assert queue.settle(refused) == ["1"]


def test_a_foreign_value_in_place_of_the_deliverys_lane_is_no_delivery_of_ours(
    queue: Queue, kind: str
) -> None:
    delivery = queue.one()
    first, last = neighbours(queue)

    with foreign_value(queue.redis, delivery.stream.key):
        words = queue.settle(first, settlement(delivery, kind), last)

    assert words == ["1", "0", "1"]
    assert queue.pending(delivery) == (ME, 1)
    assert queue.settle(settlement(delivery, kind)) == ["1"]


COUNTERS = ["emitted", "completed", "dead", "dead_bytes", "dead_trimmed", "released", "retried"]


@pytest.mark.parametrize("field", [*COUNTERS, "cancelled"])
def test_counters_that_are_no_numbers_do_not_spoil_a_settle(
    queue: Queue, kind: str, field: str
) -> None:
    delivery = queue.one()
    queue.redis.hset(queue.keys.stats, field, "somebody else's")

    assert queue.settle(settlement(delivery, kind), number=50) == ["1"]
    assert queue.settle(settlement(delivery, kind), number=50) == ["1"]


@pytest.mark.parametrize("generation", ["x", "", "1.5", "nan", "1e99"])
def test_a_generation_that_is_no_number_refuses_the_batch_and_all_stays_pending(
    queue: Queue, kind: str, generation: str
) -> None:
    delivery = queue.one()
    queue.redis.hset(queue.keys.meta, "generation", generation)
    before = queue.snapshot()

    with pytest.raises(ResponseError):
        queue.settle(settlement(delivery, kind))

    assert queue.snapshot() == before
    assert queue.pending(delivery) == (ME, 1)


def test_a_queue_of_another_layout_is_left_alone(queue: Queue, kind: str) -> None:
    delivery = queue.one()
    queue.redis.hset(queue.keys.meta, "layout", "2")
    before = queue.snapshot()

    with pytest.raises(ResponseError, match="LAYOUT 2 1"):
        queue.settle(settlement(delivery, kind))

    assert queue.snapshot() == before


EXHAUSTED = "18446744073709551615-18446744073709551615"


@pytest.mark.parametrize(
    ("which", "name"),
    [
        ("complete with a child", "child's lane"),
        ("complete with a child elsewhere", "outbox"),
        ("bury", "dead"),
        ("bury raw", "dead"),
        ("retry", "lane"),
        ("retry later", "lane"),
        ("release", "front"),
        ("release to its event", "event's front"),
    ],
    ids=_in_words,
)
def test_a_stream_that_takes_no_more_entries_loses_no_job(
    queue: Queue, which: str, name: str
) -> None:
    delivery = queue.one()
    first, last = neighbours(queue)
    key = key_named(queue, name)
    # Somebody's entry with the last id there is: Redis adds none after it.
    queue.redis.xadd(key, {"somebody": "else's"}, id=EXHAUSTED)
    before = queue.writes()

    assert queue.settle(settlement(delivery, which)) == [f"T{key}"]

    assert queue.writes() == before
    assert queue.settle(first, settlement(delivery, which), last) == ["1", f"T{key}", "1"]
    assert queue.pending(delivery) == (ME, 1)


@pytest.mark.parametrize(("kind", "where"), [("bury", "dead"), ("release", "front")])
def test_g14_a_newer_envelope_of_hundreds_of_fields_is_kept_whole(
    queue: Queue, kind: str, where: str
) -> None:
    queue.emit(new_job("first"))
    fields = {"head": "2:7:1:0:0:0", "id": "a", "event": "e", "data": "{}", "options": ""}
    # What Lua hands to a command is limited; 500 pairs is the most of a job.
    many = {f"field-{n}": "x" for n in range(495)}
    queue.redis.xadd(queue.stream().key, {**fields, **many})
    _, delivery = queue.deliver()

    assert queue.settle(settlement(delivery, kind)) == ["1"]

    ((_, kept),) = queue.redis.xrange(key_named(queue, where))
    assert {name.encode() for name in (fields | many)} <= kept.keys()


# Batches


def test_a_batch_of_500_settles_each_item(queue: Queue) -> None:
    queue.emit(*(new_job(f"job-{n}") for n in range(steps.BATCH_ITEMS)))
    deliveries = queue.deliver()

    words = queue.settle(*((it, Completed(b"1")) for it in deliveries))

    assert words == ["1"] * steps.BATCH_ITEMS
    assert (queue.ids(), queue.stat("completed")) == ([], steps.BATCH_ITEMS)
    assert queue.redis.get(queue.keys.result("job-499")) == b"500 completed 1"


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
