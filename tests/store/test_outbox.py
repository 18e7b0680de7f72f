"""The outbox on real Redis: children of other queues are committed here and taken there once."""

from __future__ import annotations

from typing import Any

import pytest
import redis as redis_py
from redis.exceptions import ResponseError

from consumers.jobs.bounds import DeadLetterBounds
from consumers.jobs.envelope import NewJob
from consumers.jobs.lanes import MAX_LANES, Lane
from consumers.jobs.outcome import Completed
from consumers.store import relaying
from consumers.store.keys import bucket
from consumers.store.settling import Settlement
from tests.support.queue import OTHER, Queue, foreign_value, full_memory, new_job
from tests.support.waiting import PATIENCE, eventually

Posted = list[Any]
EPOCH = "1700000000000.1"


@pytest.fixture
def queue(redis: redis_py.Redis) -> Queue:
    """The queue whose outbox it is."""
    return Queue(redis)


@pytest.fixture
def target(redis: redis_py.Redis) -> Queue:
    """The queue that the children go to."""
    return Queue(redis, "other")


def child(job_id: str, **job: Any) -> NewJob:
    return new_job(job_id, queue="other", **job)


def posted(entry: str, job: NewJob) -> Posted:
    where = [job.lane.name, bucket(job.id), job.id]
    return [entry, *where, job.event, job.data, job.options, job.due, job.guard]


def relay(
    target: Queue,
    *jobs: Posted,
    source: str = "default",
    epoch: str = EPOCH,
    bounds: DeadLetterBounds | None = None,
) -> int:
    call = relaying.relay(
        target.keys, relaying.Outbox(source, epoch), jobs, bounds or DeadLetterBounds()
    )
    dealt, buried = target.run(call)
    assert buried <= dealt
    return int(dealt)


def taken(target: Queue, source: str = "default", epoch: str = EPOCH) -> bytes | None:
    """Return the last entry that was taken from an outbox of this epoch."""
    found = target.redis.hget(target.keys.relayed, source)
    return None if found is None else found.removeprefix(f"{epoch} ".encode())


def after_a_millisecond(queue: Queue) -> None:
    began = queue.now_ms()
    eventually(lambda: queue.now_ms() > began)


# Posting


def test_g3_children_of_other_queues_are_posted_in_the_step_that_completes_their_parent(
    queue: Queue,
) -> None:
    parent = queue.one()
    children = [
        new_job("own"),
        child("x", event="e1", data=b"[1]", options=b"{}", priority=3, due="+5"),
        child("y"),
    ]

    assert queue.settle(Settlement(parent, Completed(), children)) == ["1"]

    first, second = (fields for _, fields in queue.redis.xrange(queue.keys.outbox))
    assert {name.decode(): value.decode() for name, value in first.items()} == {
        "queue": "other",
        "lane": "workers:default:3",
        "bucket": str(bucket("x")),
        "id": "x",
        "event": "e1",
        "data": "[1]",
        "options": "{}",
        "due": "+5",
        "guard": "",
        "epoch": f"{queue.redis.hget(queue.keys.meta, 'began').decode()}.1",
    }
    assert second[b"id"] == b"y"
    assert queue.ids() == ["own"]


def test_g3_nothing_is_posted_when_the_parent_was_taken_over(queue: Queue) -> None:
    parent = queue.one()
    queue.hand_over(parent, OTHER)
    before = queue.writes()

    assert queue.settle(Settlement(parent, Completed(), [child("x")])) == ["0"]

    assert queue.writes() == before


def test_the_relays_are_told_once_a_parent(queue: Queue) -> None:
    parent = queue.one()
    with queue.redis.pubsub(ignore_subscribe_messages=True) as listener:
        listener.subscribe(queue.keys.control)
        listener.get_message(timeout=PATIENCE)
        queue.settle(Settlement(parent, Completed(), [child("x"), child("y")]))

        heard = listener.get_message(timeout=PATIENCE)
        assert heard is not None
        assert heard["data"] == b"outbox"
        assert listener.get_message(timeout=0.05) is None


# Relaying


def test_g3_jobs_are_taken_in_order_as_new_jobs_of_their_queue(target: Queue) -> None:
    jobs = [child(it, data=it.encode()) for it in "cab"]

    assert relay(target, *(posted(f"5-{n}", job) for n, job in enumerate(jobs))) == 3

    deliveries = target.deliver()
    assert [it.envelope.id for it in deliveries] == ["c", "a", "b"]
    assert [it.envelope.data for it in deliveries] == [b"c", b"a", b"b"]
    assert [it.envelope.generation for it in deliveries] == [1, 2, 3]
    assert target.pointer("c") == f"1 0 workers:default:0 {deliveries[0].entry}"
    assert (taken(target), target.stat("emitted")) == (b"5-2", 3)


def test_g3_what_is_not_newer_than_the_last_taken_is_skipped(target: Queue) -> None:
    relay(target, posted("5-1", child("a")), posted("5-2", child("b")))
    (first, second) = target.deliver()
    target.settle((first, Completed()), (second, Completed()))
    before = target.snapshot()

    # The jobs are over: their ids do not keep them from being taken again.
    assert relay(target, posted("5-1", child("a")), posted("5-2", child("b"))) == 2
    assert relay(target, posted("4-9", child("a"))) == 1

    assert target.snapshot() == before
    assert relay(target, posted("5-2", child("b")), posted("5-10", child("c"))) == 2
    assert (target.ids(), taken(target)) == (["c"], b"5-10")


def test_what_an_outbox_holds_that_was_made_again_is_taken_though_it_is_lower(
    target: Queue,
) -> None:
    relay(target, posted("5-1", child("a")), posted("5-2", child("b")), epoch="7.1")

    again = [posted("4-9", child("c")), posted("5-1", child("d"))]
    assert relay(target, *again, epoch="7.2") == relay(target, *again, epoch="7.2") == 2

    assert target.ids() == ["a", "b", "c", "d"]
    assert taken(target, epoch="7.2") == b"5-1"


@pytest.mark.parametrize("lose", [["outbox"], ["outbox", "meta"]])
def test_an_outbox_that_was_made_again_has_another_epoch(queue: Queue, lose: list[str]) -> None:
    epochs = []
    for n in range(3):
        parent = queue.one(new_job(f"parent-{n}"))
        queue.settle(Settlement(parent, Completed(), [child("x"), child("y")]))
        epochs.append({it[b"epoch"] for _, it in queue.redis.xrange(queue.keys.outbox)})
        if n == 1:
            after_a_millisecond(queue)
            queue.redis.delete(*(getattr(queue.keys, name) for name in lose))

    first, second, after = epochs
    assert first == second
    assert len(first) == len(after) == 1
    assert first != after


def test_each_outbox_has_its_own_last_entry(target: Queue) -> None:
    relay(target, posted("9-1", child("a")))

    assert relay(target, posted("5-1", child("b")), source="third") == 1

    assert target.ids() == ["a", "b"]
    assert (taken(target), taken(target, "third")) == (b"9-1", b"5-1")


def test_a_job_whose_id_lives_there_already_is_dealt_with_and_not_doubled(target: Queue) -> None:
    target.emit(child("a", data=b"theirs"))

    assert relay(target, posted("5-1", child("a", data=b"ours")), posted("5-2", child("b"))) == 2

    assert [it.envelope.data for it in target.deliver()] == [b"theirs", b"{}"]
    assert taken(target) == b"5-2"


def test_a_delayed_child_is_put_off_there(target: Queue) -> None:
    before = target.now_ms()

    assert relay(target, posted("5-1", child("a", due="+60000"))) == 1

    assert before + 60_000 <= target.put_off()["a"] <= target.now_ms() + 60_001


def test_a_child_whose_lane_would_be_one_too_many_becomes_a_dead_letter_there(
    target: Queue,
) -> None:
    target.emit(*(child(f"lane-{n}", priority=n) for n in range(MAX_LANES)))
    job = child("a", event="e1", data=b"[1]", options=b'{"o":1}', priority=50)

    assert relay(target, posted("5-1", job), posted("5-2", child("b"))) == 2

    (letter,) = target.letters()
    assert (letter["job"], letter["reason"]) == (b"a", b"too_many_lanes")
    assert (letter["lane"], letter["group"]) == (b"workers:default:50", b"workers")
    assert (letter["event"], letter["data"], letter["options"]) == (b"e1", b"[1]", b'{"o":1}')
    assert (target.stat("dead"), "b" in target.ids()) == (1, True)
    target.redis.zrem(target.keys.lanes, "workers:default:31")
    (word,) = target.replay("a")
    assert word.startswith("+")
    assert target.ids(job.lane) == ["a"]


def test_letters_of_children_stay_within_the_bounds(target: Queue) -> None:
    target.emit(*(child(f"lane-{n}", priority=n) for n in range(MAX_LANES)))
    jobs = [posted(f"5-{n}", child(f"job-{n}", priority=50)) for n in range(4)]

    assert relay(target, *jobs, bounds=DeadLetterBounds(most=2)) == 4

    assert [letter["job"] for letter in target.letters()] == [b"job-2", b"job-3"]
    assert (target.stat("dead"), target.stat("dead_trimmed")) == (4, 2)


@pytest.mark.parametrize("name", ["live", "lane", "front"])
def test_a_foreign_value_in_a_childs_way_stops_there_and_loses_nothing(
    target: Queue, name: str
) -> None:
    lane = Lane("other", priority=5)
    key = {
        "live": target.keys.live("b"),
        "lane": target.keys.lane(lane),
        "front": target.keys.front(lane),
    }[name]
    jobs = [
        posted("5-1", child("a")),
        posted("5-2", child("b", priority=5)),
        posted("5-3", child("c")),
    ]

    with foreign_value(target.redis, key):
        assert relay(target, *jobs) == 1
        assert relay(target, *jobs) == 1

    assert (target.ids(), taken(target)) == (["a"], b"5-1")
    assert relay(target, *jobs) == 3
    assert (target.ids(), target.ids(lane)) == (["a", "c"], ["b"])


@pytest.mark.parametrize("part", ["", ":envelopes", ":lanes"])
def test_a_foreign_value_in_the_delayed_keys_stops_at_the_delayed_child(
    target: Queue, part: str
) -> None:
    jobs = [posted("5-1", child("a")), posted("5-2", child("b", due="+1000"))]

    with foreign_value(target.redis, target.keys.delayed + part):
        assert relay(target, *jobs) == 1

    assert relay(target, *jobs) == 2


@pytest.mark.parametrize("key", ["dead", "dead_index"])
def test_a_foreign_value_in_the_dead_letters_stops_at_the_child_that_needs_them(
    target: Queue, key: str
) -> None:
    target.emit(*(child(f"lane-{n}", priority=n) for n in range(MAX_LANES)))

    with foreign_value(target.redis, getattr(target.keys, key)):
        assert relay(target, posted("5-1", child("a", priority=50))) == 0

    assert taken(target) is None


def test_a_lane_that_takes_no_more_entries_stops_there(target: Queue) -> None:
    target.redis.xadd(
        target.stream().key, {"x": "y"}, id="18446744073709551615-18446744073709551615"
    )

    assert relay(target, posted("5-1", child("a"))) == 0

    assert (taken(target), target.pointer("a")) == (None, None)


def test_a_last_entry_that_is_none_takes_what_comes(target: Queue) -> None:
    target.redis.hset(target.keys.relayed, "default", "somebody else's")

    assert relay(target, posted("5-1", child("a")), posted("5-2", child("b"))) == 2

    assert (target.ids(), taken(target)) == (["a", "b"], b"5-2")


def test_counters_that_are_no_numbers_do_not_spoil_a_relay(target: Queue) -> None:
    target.redis.hset(target.keys.stats, mapping={"emitted": "x", "dead": "x", "dead_bytes": "x"})
    target.emit(*(child(f"lane-{n}", priority=n) for n in range(MAX_LANES)))

    assert relay(target, posted("5-1", child("a")), posted("5-2", child("b", priority=50))) == 2


def test_a_queue_of_another_layout_takes_nothing(target: Queue) -> None:
    target.redis.hset(target.keys.meta, "layout", "2")
    before = target.snapshot()

    with pytest.raises(ResponseError, match="LAYOUT 2 1"):
        relay(target, posted("5-1", child("a")))

    assert target.snapshot() == before


def test_g12_full_memory_takes_nothing_new_and_lets_go_of_what_was_taken(target: Queue) -> None:
    relay(target, posted("5-1", child("a")))
    before = target.snapshot()

    with full_memory(target.redis):
        with pytest.raises(ResponseError, match=r"OOM|maxmemory"):
            relay(target, posted("5-2", child("b")), posted("5-3", child("c")))
        assert relay(target, posted("5-1", child("a"))) == 1

    assert target.snapshot() == before


# What is no job


def quarantine(queue: Queue, entry: bytes) -> int:
    moved: int = queue.run(relaying.quarantine(queue.keys, entry, b"\x00raw", "why"))
    return moved


def test_g13_a_foreign_entry_moves_from_the_outbox_to_the_dead_letters_once(queue: Queue) -> None:
    entry = queue.redis.xadd(queue.keys.outbox, {"somebody": "else's"})

    assert quarantine(queue, entry) == 1
    assert quarantine(queue, entry) == 0

    (letter,) = queue.letters()
    assert (letter["job"], letter["reason"]) == (b"foreign:" + entry, b"foreign")
    assert (letter["raw"], letter["error"]) == (b"\x00raw", b"why")
    assert (queue.redis.xlen(queue.keys.outbox), queue.stat("dead")) == (0, 1)
    assert queue.replay(f"foreign:{entry.decode()}") == ["X"]
