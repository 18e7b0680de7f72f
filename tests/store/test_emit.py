"""emit.lua on real Redis: what is added, what is refused, and what a repeat finds."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest
from redis.exceptions import ResponseError

from consumers.jobs.envelope import NewJob
from consumers.jobs.lanes import MAX_LANES, Lane
from consumers.jobs.outcome import Buried, Completed, Released
from consumers.store import emitting, settling, steps
from tests.support.queue import ME, Queue, foreign_value, new_job
from tests.support.servers import RedisServer
from tests.support.waiting import PATIENCE


def fill_lanes(queue: Queue, count: int) -> None:
    """Open lanes of other priorities until the queue has so many."""
    have = queue.redis.zcard(queue.keys.lanes)
    queue.emit(*(new_job(f"lane-{n}", priority=-1 - n) for n in range(count - have)))
    assert queue.redis.zcard(queue.keys.lanes) == count


# What is added


def test_an_emitted_job_lies_in_its_lane_and_in_the_index_of_live_jobs(queue: Queue) -> None:
    before = queue.now_ms()
    words = queue.emit(new_job("a", "e", b'{"n":1}', options=b'{"o":2}'))
    after = queue.now_ms()

    (entry, fields) = queue.redis.xrange(queue.stream().key)[0]
    version, generation, made_at, *counts = map(int, fields[b"head"].split(b":"))
    assert words == ["+1"]
    assert list(fields) == [b"head", b"id", b"event", b"data", b"options"]
    assert (version, generation, counts) == (1, 1, [0, 0, 0])
    # Redis reads its clock for the entry and for TIME apart.
    assert before <= made_at <= after
    assert before <= int(entry.split(b"-")[0]) <= after
    assert (fields[b"data"], fields[b"options"]) == (b'{"n":1}', b'{"o":2}')
    assert queue.pointer() == f"1 0 workers:default:0 {entry.decode()}"
    assert queue.stat("emitted") == 1


def test_items_of_a_batch_lie_in_their_lane_in_the_order_of_the_batch(queue: Queue) -> None:
    ids = [f"job-{n:03}" for n in range(steps.BATCH_ITEMS)]

    queue.emit(*(new_job(job_id) for job_id in ids))

    assert queue.ids() == ids


def test_generations_grow_over_batches_and_over_lives_of_the_same_id(queue: Queue) -> None:
    first = queue.one(new_job("a"))
    queue.settle((first, Completed()))

    assert queue.emit(new_job("b"), new_job("a")) == ["+2", "+3"]
    assert queue.emit(new_job("c", priority=5)) == ["+4"]


def test_one_word_stands_for_jobs_that_were_added_in_a_row(queue: Queue) -> None:
    queue.emit(new_job("live"))

    lane = {"priority": 3}
    batch = (
        new_job("a"), new_job("b", **lane), new_job("c", **lane), new_job("live"), new_job("d"),
        new_job("later", due="+1000"), new_job("e"), new_job("f"), new_job("f"),
    )  # fmt: skip
    said = queue.run(queue.numbered(emitting.emit_items(queue.keys, batch, depth=None)))
    assert said == b"+2 +3 +4 =1 +5 +6 +7*2 =8"
    pointers = [queue.pointer(job_id) or "" for job_id in "abcdef"]
    assert [pointer.split()[0] for pointer in pointers] == ["2", "3", "4", "5", "7", "8"]


def test_each_lane_is_listed_by_its_priority_with_groups_on_it_and_its_front(queue: Queue) -> None:
    queue.emit(new_job("a"), new_job("b", priority=-7, type="gpu", partition="x"))

    listed = queue.redis.zrange(queue.keys.lanes, 0, -1, withscores=True)
    assert listed == [(b"gpu:x:-7", -7), (b"workers:default:0", 0)]
    for lane in (Lane("default"), Lane("default", "gpu", "x", -7)):
        for key in (queue.keys.lane(lane), queue.keys.front(lane)):
            (group,) = queue.redis.xinfo_groups(key)
            assert group["name"].decode() == lane.type


def test_a_new_lane_is_announced_and_a_known_one_is_not(queue: Queue) -> None:
    with queue.redis.pubsub(ignore_subscribe_messages=True) as listener:
        listener.subscribe(queue.keys.control)
        listener.get_message(timeout=PATIENCE)
        queue.emit(new_job("a"))
        queue.emit(new_job("b"))
        queue.emit(new_job("c", priority=3))

        heard = [listener.get_message(timeout=PATIENCE) for _ in range(2)]
        assert [it["data"] for it in heard if it] == [
            b"lane workers:default:0",
            b"lane workers:default:3",
        ]
        assert listener.get_message(timeout=0.05) is None


def test_what_a_stranger_added_before_the_lane_was_listed_is_still_delivered(queue: Queue) -> None:
    queue.redis.xadd(queue.stream().key, {"head": "1:9:1:0:0:0", "id": "early", "event": "e",
                                          "data": "{}", "options": ""})  # fmt: skip

    queue.emit(new_job("late"))

    assert [it.envelope.id for it in queue.deliver()] == ["early", "late"]


PAYLOADS = [
    b"[]",
    b"{}",
    b"12345678901234567",
    b"1.0",
    b'{"a":[],"b":{},"n":-0.0,"big":123456789012345678901234567890}',
    '"\N{SNOWMAN} \N{PILE OF POO} \u0000"'.encode(),
    bytes(range(256)),
    b"",
    b"x" * (256 * 1024),
]


@pytest.mark.parametrize("data", PAYLOADS, ids=lambda data: repr(data[:20]))
def test_a_payload_comes_back_byte_for_byte(queue: Queue, data: bytes) -> None:
    delivery = queue.one(new_job("a", data=data, options=data))

    assert delivery.envelope.data == data
    assert delivery.envelope.options == data


def test_a_result_and_children_are_kept_byte_for_byte(queue: Queue) -> None:
    parent = queue.one()
    children = [new_job(f"child-{n}", data=data) for n, data in enumerate(PAYLOADS)]

    queue.settle(settling.Settlement(parent, Completed(bytes(range(256))), children))

    assert queue.end() == b"1 completed " + bytes(range(256))
    assert [it.envelope.data for it in queue.deliver()] == PAYLOADS


# De-duplication


def emitted(queue: Queue) -> None:
    """The job waits."""


def delivered(queue: Queue) -> None:
    """The job runs."""
    queue.deliver()


def released(queue: Queue) -> None:
    """The job lies in its lane's front."""
    (delivery,) = queue.deliver()
    queue.settle((delivery, Released("stop")))


def kept(queue: Queue) -> None:
    """The job lies in the front of its event's own lane."""
    (delivery,) = queue.deliver()
    queue.settle((delivery, Released("no handler", event="e")))


@pytest.mark.parametrize("life", [emitted, delivered, released, kept])
def test_a_second_emit_of_a_live_id_answers_with_the_living_generation(
    queue: Queue, life: Callable[[Queue], None]
) -> None:
    queue.emit(new_job("other"), new_job("a"))
    queue.redis.xdel(queue.stream().key, queue.redis.xrange(queue.stream().key)[0][0])
    life(queue)
    before = queue.writes()

    assert queue.emit(new_job("a", data=b"[2]", priority=9)) == ["=2"]

    assert queue.writes() == before


def test_the_same_id_twice_in_a_batch_is_added_once(queue: Queue) -> None:
    assert queue.emit(new_job("a"), new_job("b"), new_job("a")) == ["+1", "+2", "=1"]

    assert queue.ids() == ["a", "b"]


def deleted_entry(queue: Queue, delivery_key: str, entry: bytes) -> None:
    queue.redis.xdel(delivery_key, entry)


def deleted_lane(queue: Queue, delivery_key: str, entry: bytes) -> None:
    queue.redis.delete(delivery_key)


def pointer_of_words(queue: Queue, delivery_key: str, entry: bytes) -> None:
    queue.redis.hset(queue.keys.live("a"), "a", "no pointer at all")


def empty_pointer(queue: Queue, delivery_key: str, entry: bytes) -> None:
    queue.redis.hset(queue.keys.live("a"), "a", "")


def pointer_to_a_bad_entry(queue: Queue, delivery_key: str, entry: bytes) -> None:
    queue.redis.hset(queue.keys.live("a"), "a", "1 0 workers:default:0 not-an-entry")


def pointer_to_another_type(queue: Queue, delivery_key: str, entry: bytes) -> None:
    queue.redis.hset(queue.keys.live("a"), "a", "1 0 workers:default:0:front 5-5")


STALE = [
    deleted_entry,
    deleted_lane,
    pointer_of_words,
    empty_pointer,
    pointer_to_a_bad_entry,
    pointer_to_another_type,
]


@pytest.mark.parametrize("made_stale", STALE)
def test_a_stale_pointer_is_taken_over_and_swallows_no_job(
    queue: Queue, made_stale: Callable[[Queue, str, bytes], None]
) -> None:
    queue.emit(new_job("a", data=b"1"))
    key = queue.stream().key
    made_stale(queue, key, queue.redis.xrange(key)[0][0])

    assert queue.emit(new_job("a", data=b"2")) == ["+2"]

    entry, fields = queue.redis.xrange(key)[-1]
    assert fields[b"data"] == b"2"
    assert queue.pointer() == f"2 0 workers:default:0 {entry.decode()}"


# Limits


def test_the_depth_limit_refuses_what_goes_beyond_it_and_nothing_else(queue: Queue) -> None:
    queue.emit(new_job("a"), new_job("b", priority=1))

    words = queue.emit(*(new_job(it) for it in "cade"), depth=3)

    assert words == ["+3", "=1", "F", "F"]
    assert queue.emit(new_job("d"), depth=4) == ["+4"]
    assert queue.emit(new_job("e"), depth=2) == ["F"]
    assert queue.emit(new_job("e"), depth=None) == ["+5"]


def test_the_depth_limit_counts_fronts_and_what_runs(queue: Queue) -> None:
    queue.emit(*(new_job(it) for it in "abcd"))
    first, *_running = queue.deliver(count=3)
    queue.settle((first, Released("stop")))

    assert queue.emit(new_job("e"), depth=4) == ["F"]
    assert queue.emit(new_job("e"), depth=5) == ["+5"]


def test_the_depth_limit_leaves_out_what_waits_in_the_lanes_of_events(queue: Queue) -> None:
    queue.emit(*(new_job(it) for it in "abc"))
    queue.settle(*((it, Released("no handler", event="e")) for it in queue.deliver(count=2)))

    assert queue.emit(new_job("d"), new_job("e"), depth=2) == ["+4", "F"]


def test_a_depth_limit_costs_no_more_where_many_events_have_a_lane_of_their_own(
    queue: Queue,
) -> None:
    queue.emit(*(new_job(f"job-{n}") for n in range(100)))
    released = [(it, Released("no handler", event=f"e{n}")) for n, it in enumerate(queue.deliver())]
    queue.settle(*released)
    before = calls_of(queue, "xlen")

    queue.emit(new_job("a"), depth=100)

    assert calls_of(queue, "xlen") - before == 2
    found = queue.redis.zrangebyscore(queue.keys.lanes, "-inf", 100)
    assert found == [b"workers:default:0"]


def calls_of(queue: Queue, command: str) -> int:
    calls: int = queue.redis.info("commandstats").get(f"cmdstat_{command}", {"calls": 0})["calls"]
    return calls


def test_the_depth_limit_does_not_count_what_was_cancelled_while_it_waited(queue: Queue) -> None:
    queue.emit(new_job("a"), new_job("b"))
    queue.cancel("a")

    assert queue.emit(new_job("c"), new_job("d"), depth=2) == ["+3", "F"]


def test_marks_without_entries_give_no_more_room_than_the_depth_limit(queue: Queue) -> None:
    queue.emit(new_job("a"))
    queue.redis.sadd(queue.keys.cancelled, *(f"workers:default:0 1-{n}" for n in range(9)))

    assert queue.emit(new_job("b"), new_job("c"), depth=1) == ["+2", "F"]


@pytest.mark.foreign_keys
def test_a_foreign_value_in_place_of_the_marks_does_not_lift_the_depth_limit(queue: Queue) -> None:
    queue.emit(new_job("a"))

    with foreign_value(queue.redis, queue.keys.cancelled):
        assert queue.emit(new_job("b"), new_job("c"), depth=2) == ["+2", "F"]


@pytest.mark.foreign_keys
def test_a_broken_lane_does_not_stop_emits_to_others_under_a_depth_limit(queue: Queue) -> None:
    queue.emit(new_job("a"), new_job("b", priority=1))

    with foreign_value(queue.redis, queue.stream(Lane("default", priority=1)).key):
        words = queue.emit(new_job("c"), depth=2)

    assert words == ["+3"]


def test_the_33rd_lane_is_refused_for_its_item_only(queue: Queue) -> None:
    fill_lanes(queue, MAX_LANES - 1)

    words = queue.emit(
        new_job("a", priority=50), new_job("b", priority=51), new_job("c", priority=50)
    )

    assert words == ["+32", "L", "+33"]
    assert queue.redis.zcard(queue.keys.lanes) == MAX_LANES
    assert queue.pointer("b") is None
    assert not queue.redis.exists(queue.keys.lane(Lane("default", priority=51)))


def test_a_live_id_is_found_although_its_new_lane_would_be_one_too_many(queue: Queue) -> None:
    queue.emit(new_job("a"))
    fill_lanes(queue, MAX_LANES)

    assert queue.emit(new_job("a", priority=51)) == ["=1"]


def test_lanes_of_events_do_not_count_as_lanes(queue: Queue) -> None:
    for event in ("e", "f", "g"):
        delivery = queue.one(new_job(event, event))
        queue.settle((delivery, Released("no handler", event=event)))

    fill_lanes(queue, MAX_LANES + 3)

    assert queue.emit(new_job("x", priority=51)) == ["L"]


# The door


def test_g4_an_emit_whose_reply_was_lost_is_applied_once_and_answers_the_same(
    queue: Queue,
) -> None:
    batch = [new_job("a"), new_job("b"), new_job("a")]
    first = queue.emit(*batch, number=7)
    after = queue.snapshot()

    again = queue.emit(*batch, number=7)

    assert again == first == ["+1", "+2", "=1"]
    assert queue.snapshot() == after


def test_g4_a_repeated_emit_adds_nothing_even_when_its_jobs_are_done_by_then(
    queue: Queue,
) -> None:
    first = queue.emit(new_job("a"), number=1)
    (delivery,) = queue.deliver()
    queue.settle((delivery, Completed()), writer="settler")

    assert queue.emit(new_job("a"), number=1) == first
    assert queue.ids() == []


REFUSED = {
    "the same number with another digest": {"number": 5, "digest": "another"},
    "an older number": {"number": 4},
    "an older number with the same digest": {"number": 4, "digest": "this"},
}


@pytest.mark.parametrize("batch", REFUSED.values(), ids=REFUSED)
def test_a_batch_that_is_not_newer_is_refused_and_writes_nothing(
    queue: Queue, batch: dict[str, object]
) -> None:
    queue.emit(new_job("a"), number=5, digest="this")
    before = queue.snapshot()

    with pytest.raises(ResponseError, match="WRITERREFUSED"):
        queue.emit(new_job("b"), **batch)

    assert queue.snapshot() == before


def test_numbers_are_compared_as_numbers(queue: Queue) -> None:
    queue.emit(new_job("a"), number=9)

    assert queue.emit(new_job("b"), number=10) == ["+2"]


def test_writers_do_not_see_each_others_numbers(queue: Queue) -> None:
    queue.emit(new_job("a"), writer="one", number=5)

    assert queue.emit(new_job("b"), writer="two", number=5) == ["+2"]
    assert queue.emit(new_job("c"), writer="two", number=6) == ["+3"]


def test_a_door_expires_ten_idle_minutes_after_its_last_batch(queue: Queue) -> None:
    door = queue.keys.writer("w")
    queue.emit(new_job("a"))
    queue.redis.pexpire(door, 1000)

    queue.emit(new_job("b"))

    assert 590_000 < queue.redis.pttl(door) <= 600_000


# What stands in the way


def test_a_lane_that_takes_no_more_entries_refuses_its_jobs_only(queue: Queue) -> None:
    queue.emit(new_job("before"))
    key = queue.stream().key
    # Somebody's entry with the last id there is: Redis adds none after it.
    queue.redis.xadd(key, {"somebody": "else's"}, id="18446744073709551615-18446744073709551615")

    words = queue.emit(new_job("a"), new_job("n", priority=2), new_job("b"))

    assert words == [f"T{key}", "+2", f"T{key}"]
    assert (queue.pointer("a"), queue.pointer("b")) == (None, None)
    assert queue.emit(new_job("m", priority=2)) == ["+3"]


def test_a_counter_that_is_no_number_does_not_spoil_an_emit(queue: Queue) -> None:
    queue.redis.hset(queue.keys.stats, "emitted", "somebody else's")

    assert queue.emit(new_job("a"), number=1) == ["+1"]
    assert queue.emit(new_job("a"), number=1) == ["+1"]


def test_a_generation_that_is_no_number_refuses_the_batch_whole(queue: Queue) -> None:
    queue.emit(new_job("a"))
    queue.redis.hset(queue.keys.meta, "generation", "x")
    before = queue.snapshot()

    with pytest.raises(ResponseError):
        queue.emit(new_job("b"))

    assert queue.snapshot() == before


def test_a_queue_of_another_layout_is_left_alone(queue: Queue) -> None:
    queue.redis.hset(queue.keys.meta, "layout", "2")
    before = queue.snapshot()

    with pytest.raises(ResponseError, match="LAYOUT 2 1"):
        queue.emit(new_job("a"))

    assert queue.snapshot() == before


# The backlog that autoscalers read


def test_the_lag_of_a_group_stays_known_through_a_jobs_whole_life(
    queue: Queue, server: RedisServer
) -> None:
    if server.version < (7, 0):
        pytest.skip("Redis 6.2 has no lag")
    queue.emit(*(new_job(it) for it in "abcdef"))
    done, dead, back, kept = queue.deliver(count=4)
    queue.settle(
        (done, Completed()),
        (dead, Buried("failed")),
        (back, Released("stop")),
        (kept, Released("no handler", event="e")),
    )
    assert None not in queue.lags()

    (again,) = queue.deliver(front=True)
    queue.settle((again, Completed()))

    assert None not in queue.lags()
    (group,) = queue.redis.xinfo_groups(queue.stream().key)
    assert group["lag"] == 2


# Many at once


def test_emits_of_many_writers_at_once_lose_and_double_nothing(server: RedisServer) -> None:
    def write(writer: str) -> None:
        with server.client() as client:
            queue = Queue(client)
            for n in range(20):
                queue.emit(*(new_job(f"{writer}-{n}-{m}") for m in range(5)), writer=writer)

    threads = [threading.Thread(target=write, args=(f"w{n}",)) for n in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    with server.client() as client:
        queue = Queue(client)
        deliveries = queue.deliver(consumer=ME)
        assert len({it.envelope.id for it in deliveries}) == len(deliveries) == 500
        assert sorted(it.envelope.generation for it in deliveries) == list(range(1, 501))


def test_an_empty_batch_writes_nothing(queue: Queue) -> None:
    no_jobs: list[NewJob] = []

    queue.emit(*no_jobs)

    assert queue.writes() == {}


# How they travel


@pytest.mark.parametrize("size", [1, 31, 32, 255, 256, 65_535, 65_536, 200_000])
def test_data_of_any_length_and_of_any_bytes_arrive(queue: Queue, size: int) -> None:
    data = bytes(range(256)) * (size // 256 + 1)

    queue.emit(new_job("a", data=data[:size]), new_job("b", data=b"2"))

    assert [it.envelope.data for it in queue.deliver()] == [data[:size], b"2"]
