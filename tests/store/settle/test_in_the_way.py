"""settle.lua on real Redis: full memory, foreign values, streams that take no more."""

from __future__ import annotations

import pytest
from redis.exceptions import ResponseError

from consumers.jobs.lanes import Lane
from consumers.jobs.outcome import Completed
from tests.store.settle.outcomes import neighbours, settlement
from tests.support.queue import GROUP, ME, OTHER, Queue, foreign_value, full_memory, new_job

CHILD_LANE = Lane("default", priority=1)
EVENT_LANE = Lane("default", "event.e")


def _in_words(case: object) -> str:
    return str(case).replace(" ", "_")


# Full memory


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
    }[name]


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
