"""Putting jobs off and promoting them on real Redis: never early, never twice, never lost."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from consumers.jobs.lanes import MAX_LANES, Lane
from consumers.jobs.outcome import Completed, Released, RetryAt
from consumers.store import settling, tending
from consumers.store.delivery import Delivery
from consumers.store.keys import Keys
from consumers.store.settling import Settlement
from tests.support.queue import ME, OTHER, Queue, foreign_value, full_memory, new_job
from tests.support.waiting import PATIENCE

HOUR_MS = 3_600_000
LATER = f"+{HOUR_MS}"
ERRORS = b'[{"error":"x"}]'


def retried(queue: Queue, delivery: Delivery, delay_ms: int = HOUR_MS, **outcome: Any) -> list[str]:
    return queue.settle((delivery, RetryAt(delay_ms, **outcome)))


def envelope(queue: Queue, job_id: str = "a") -> bytes | None:
    return queue.redis.hget(f"{queue.keys.delayed}:envelopes", job_id)


def reserved(queue: Queue) -> dict[str, int]:
    found = queue.redis.hgetall(f"{queue.keys.delayed}:lanes")
    return {name.decode(): int(count) for name, count in found.items()}


# Emit with a due time


@pytest.mark.parametrize("relative", [True, False])
def test_a_delayed_job_lies_in_the_delayed_set_and_not_in_its_lane(
    queue: Queue, relative: bool
) -> None:
    before = queue.now_ms()
    due = LATER if relative else str(before + HOUR_MS)

    assert queue.emit(new_job("a", due=due, priority=3)) == ["+1"]

    after = queue.now_ms()
    at = queue.put_off()["a"]
    assert before + HOUR_MS <= at <= after + HOUR_MS + 1
    assert queue.pointer() == f"1 0 delayed {at}"
    assert queue.ids(Lane("default", priority=3)) == []
    assert reserved(queue) == {"workers:default:3": 1}
    assert queue.stat("emitted") == 1


def test_g10_a_delay_counts_from_after_the_emit_so_that_it_is_never_early(queue: Queue) -> None:
    seconds, micros = queue.redis.time()

    queue.emit(new_job("a", due="+50"))

    assert queue.put_off()["a"] >= int(seconds) * 1000 + int(micros) / 1000 + 50


@pytest.mark.parametrize("due", ["1", ""])
def test_a_job_that_is_due_already_enters_its_lane_at_once(queue: Queue, due: str) -> None:
    queue.emit(new_job("a", due=due))

    assert (queue.ids(), queue.put_off()) == (["a"], {})


def test_a_delayed_id_is_live_and_a_second_emit_of_it_changes_nothing(queue: Queue) -> None:
    queue.emit(new_job("a", due=LATER))
    before = queue.writes()

    assert queue.emit(new_job("a", due="+1")) == ["=1"]
    assert queue.emit(new_job("a")) == ["=1"]

    assert queue.writes() == before


def test_a_delayed_job_whose_envelope_was_deleted_swallows_no_job(queue: Queue) -> None:
    queue.emit(new_job("a", due=LATER))
    queue.redis.hdel(f"{queue.keys.delayed}:envelopes", "a")

    assert queue.emit(new_job("a")) == ["+2"]

    assert queue.ids() == ["a"]


def test_delayed_jobs_count_against_the_depth(queue: Queue) -> None:
    queue.emit(new_job("a", due=LATER))

    assert queue.emit(new_job("b"), new_job("c", due=LATER), depth=2) == ["+2", "F"]


def test_the_33rd_lane_is_refused_to_a_delayed_job_too(queue: Queue) -> None:
    queue.emit(*(new_job(f"lane-{n}", priority=n) for n in range(MAX_LANES)))

    assert queue.emit(new_job("a", due=LATER, priority=50), new_job("b", due=LATER)) == ["L", "+33"]


def test_a_nearer_due_time_is_announced_and_a_farther_one_is_not(queue: Queue) -> None:
    queue.emit(new_job("lane"))
    now = queue.now_ms()
    with queue.redis.pubsub(ignore_subscribe_messages=True) as listener:
        listener.subscribe(queue.keys.control)
        listener.get_message(timeout=PATIENCE)
        for job_id, due in [("a", now + 5000), ("b", now + 6000), ("c", now + 4000)]:
            queue.emit(new_job(job_id, due=str(due)))

        heard = [listener.get_message(timeout=PATIENCE) for _ in range(2)]
        assert [it["data"].decode() for it in heard if it] == [
            f"due {now + 5000}",
            f"due {now + 4000}",
        ]
        assert listener.get_message(timeout=0.05) is None


@pytest.mark.parametrize("part", ["", ":envelopes", ":lanes"])
def test_a_foreign_value_in_the_delayed_keys_refuses_the_delayed_job_only(
    queue: Queue, part: str
) -> None:
    key = queue.keys.delayed + part

    with foreign_value(queue.redis, key):
        words = queue.emit(new_job("a", due=LATER), new_job("b"), depth=9)

    assert words == [f"T{key}", "+1"]
    assert (queue.ids(), queue.pointer()) == (["b"], None)


# Retry


def test_a_retry_with_a_delay_leaves_its_lane_for_the_delayed_set_and_counts_an_attempt(
    queue: Queue,
) -> None:
    delivery = queue.one(new_job("a", data=b"[1]", options=b'{"o":1}', priority=2))
    before = queue.now_ms()

    assert retried(queue, delivery, errors=ERRORS) == ["1"]

    at = queue.put_off()["a"]
    assert before + HOUR_MS < at <= queue.now_ms() + HOUR_MS + 1
    assert queue.pointer() == f"1 0 retrying {at}"
    assert queue.ids(delivery.stream.lane) == []
    assert queue.pending(delivery) is None
    assert reserved(queue) == {"workers:default:2": 1}
    assert queue.stat("retried") == 1
    queue.make_due("a")
    queue.promote()
    (again,) = queue.deliver(delivery.stream.lane)
    was, now = delivery.envelope, again.envelope
    assert (now.failures, now.deliveries, now.crashes, now.errors) == (1, 1, 0, ERRORS)
    assert (now.data, now.options, now.created_at) == (was.data, was.options, was.created_at)
    assert now.generation == was.generation


def test_a_retry_without_a_delay_goes_to_the_tail_of_its_lane(queue: Queue) -> None:
    queue.emit(new_job("a"), new_job("b"))
    (first,) = queue.deliver(count=1)

    assert retried(queue, first, 0, errors=ERRORS) == ["1"]

    assert queue.ids() == ["b", "a"]
    _, again = queue.deliver()
    assert again.envelope.failures == 1
    assert queue.pointer() == f"1 0 workers:default:0 {again.entry}"
    assert queue.put_off() == {}


def test_a_retry_that_uses_no_attempt_keeps_failures_and_errors(queue: Queue) -> None:
    delivery = queue.one()
    retried(queue, delivery, 0, errors=ERRORS)
    (second,) = queue.deliver()

    retried(queue, second, 0, uses_attempt=False)

    (third,) = queue.deliver()
    assert (third.envelope.failures, third.envelope.errors) == (1, ERRORS)
    assert third.envelope.deliveries == 2


def test_g5_crashes_before_a_retry_stay_counted(queue: Queue) -> None:
    delivery = queue.one()
    queue.hand_over(delivery, ME)
    delivery.count = 2

    retried(queue, delivery, 0)

    (again,) = queue.deliver()
    assert (again.envelope.deliveries, again.envelope.crashes) == (2, 1)


def test_a_retried_front_job_goes_to_the_tail_of_its_lane(queue: Queue) -> None:
    queue.emit(new_job("a"), new_job("b"))
    (first,) = queue.deliver(count=1)
    queue.settle((first, Released("stop")))
    (again,) = queue.deliver(front=True)

    retried(queue, again, 0)

    assert (queue.ids(), queue.ids(front=True)) == (["b", "a"], [])


@pytest.mark.parametrize("delay_ms", [0, HOUR_MS])
def test_g2_a_retry_of_a_job_that_was_taken_over_writes_nothing(
    queue: Queue, delay_ms: int
) -> None:
    delivery = queue.one()
    queue.hand_over(delivery, OTHER)
    before = queue.writes()

    assert retried(queue, delivery, delay_ms) == ["0"]

    assert queue.writes() == before


@pytest.mark.parametrize("delay_ms", [0, HOUR_MS])
def test_retrying_an_overtaken_generation_still_runs_it_and_leaves_the_newer_one_indexed(
    queue: Queue, delay_ms: int
) -> None:
    old = queue.one()
    queue.redis.hset(queue.keys.live("a"), "a", "garbage")
    queue.emit(new_job("a", due=LATER))
    newer = queue.pointer()

    assert retried(queue, old, delay_ms) == ["1"]

    assert queue.pointer() == newer
    assert queue.ids() == ["a"]
    assert list(queue.put_off()) == ["a"]
    queue.make_due("a")
    queue.promote()
    assert [it.envelope.generation for it in queue.deliver()] == [1, 2]


def test_a_deleted_entry_cannot_be_retried_and_stays_pending(queue: Queue) -> None:
    delivery = queue.one()
    queue.redis.xdel(delivery.stream.key, delivery.entry)
    before = queue.writes()

    assert retried(queue, delivery) == ["M"]

    assert queue.writes() == before
    assert queue.pending(delivery) == (ME, 1)


def test_a_child_may_be_delayed(queue: Queue) -> None:
    parent = queue.one()
    child = new_job("child", due=LATER, priority=4)

    assert queue.settle(Settlement(parent, Completed(), [child])) == ["1"]

    assert list(queue.put_off()) == ["child"]
    assert reserved(queue) == {"workers:default:4": 1}


# Promote


def put_off(queue: Queue, *job_ids: str, **lane: Any) -> None:
    queue.emit(*(new_job(job_id, due=LATER, **lane) for job_id in job_ids))


def test_only_what_is_due_is_promoted_and_the_next_due_time_is_told(queue: Queue) -> None:
    put_off(queue, "a", "b", "c")
    queue.make_due("b")

    moved, wait_ms = queue.promote()

    assert moved == 1
    assert HOUR_MS - 5000 < wait_ms <= HOUR_MS + 1
    assert (queue.ids(), list(queue.put_off())) == (["b"], ["a", "c"])
    assert reserved(queue) == {"workers:default:0": 2}
    assert queue.stat("promoted") == 1
    assert envelope(queue, "b") is None
    (delivery,) = queue.deliver()
    assert queue.pointer("b") == f"2 0 workers:default:0 {delivery.entry}"


def put_off_for_a_moment(queue: Queue) -> int:
    """Emit a job that waits, for as short as this machine manages; return when it is due."""
    for moment_ms in (30, 300, 3_000, 30_000):
        due = queue.now_ms() + moment_ms
        queue.emit(new_job(f"in-{moment_ms}", due=str(due)))
        if queue.redis.zcard(queue.keys.delayed):
            return due
    raise AssertionError("half a minute was over before an emit")


def test_g10_a_job_is_due_at_its_millisecond_and_not_before(queue: Queue) -> None:
    due = put_off_for_a_moment(queue)

    while True:
        before = queue.now_ms()
        moved, wait_ms = queue.promote()
        after = queue.now_ms()
        if moved:
            break
        # It was not due when the script looked, and the script says for how long.
        assert before < due
        assert due - after <= wait_ms <= due - before
    assert after >= due
    assert wait_ms == -1


def test_an_empty_delayed_set_has_no_next_due_time(queue: Queue) -> None:
    assert queue.promote() == (0, -1)


def test_promoted_jobs_lie_in_the_order_of_their_due_times(queue: Queue) -> None:
    put_off(queue, *"abcd")
    for age, job_id in enumerate("cadb"):
        queue.make_due(job_id, ago_ms=100 - age)

    queue.promote()

    assert queue.ids() == ["c", "a", "d", "b"]


def test_jobs_are_promoted_in_batches_and_more_are_due_at_once(queue: Queue) -> None:
    ids = [f"job-{n:03}" for n in range(300)]
    put_off(queue, *ids)
    queue.make_due(*ids)

    assert queue.promote() == (256, 0)
    assert queue.promote() == (44, -1)

    assert queue.ids() == ids
    assert reserved(queue) == {}


def test_a_batch_of_large_jobs_ends_at_about_a_megabyte(queue: Queue) -> None:
    ids = [f"job-{n}" for n in range(10)]
    for job_id in ids:
        queue.emit(new_job(job_id, data=b"x" * 256 * 1024, due=LATER))
    queue.make_due(*ids)

    assert queue.promote() == (4, 0)
    assert queue.promote() == (4, 0)
    assert queue.promote() == (2, -1)

    assert queue.ids() == ids


def test_a_promotion_twice_moves_a_job_once(queue: Queue) -> None:
    put_off(queue, "a")
    queue.make_due("a")
    queue.promote()
    after = queue.snapshot()

    assert queue.promote() == (0, -1)

    assert queue.snapshot() == after


@pytest.mark.parametrize("data", [bytes(range(256)), b"", b"3:abc", b"x" * 256 * 1024])
def test_a_payload_comes_back_from_a_delay_byte_for_byte(queue: Queue, data: bytes) -> None:
    queue.emit(new_job("a", data=data, options=data, due=LATER))
    queue.make_due("a")

    queue.promote()

    (delivery,) = queue.deliver()
    assert (delivery.envelope.data, delivery.envelope.options) == (data, data)


def test_a_lane_is_reserved_while_a_job_for_it_is_put_off(queue: Queue) -> None:
    lane = Lane("default", priority=5)
    put_off(queue, "a", priority=5)
    retire = tending.retire(queue.keys, lane, -1000)

    assert queue.run(retire) == 0

    queue.make_due("a")
    queue.promote()
    (delivery,) = queue.deliver(lane)
    queue.settle((delivery, Completed()))
    queue.redis.xtrim(queue.keys.lane(lane), 0, approximate=False)
    assert queue.run(retire) == 1


def test_a_lane_that_is_gone_is_opened_again(queue: Queue) -> None:
    lane = Lane("default", priority=5)
    put_off(queue, "a", priority=5)
    queue.redis.zrem(queue.keys.lanes, lane.name)
    queue.redis.delete(queue.keys.lane(lane), queue.keys.front(lane))
    queue.make_due("a")

    assert queue.promote() == (1, -1)

    assert queue.redis.zscore(queue.keys.lanes, lane.name) == 5
    (delivery,) = queue.deliver(lane)
    assert delivery.envelope.id == "a"


def lane_key(queue: Queue) -> str:
    return queue.keys.lane(Lane("default", priority=5))


def front_key(queue: Queue) -> str:
    return queue.keys.front(Lane("default", priority=5))


def bucket_key(queue: Queue) -> str:
    return queue.keys.live("a")


@pytest.mark.parametrize("key_of", [lane_key, front_key, bucket_key])
@pytest.mark.parametrize("full", [False, True])
def test_a_foreign_value_in_its_way_makes_one_job_wait_and_no_other(
    queue: Queue, key_of: Callable[[Queue], str], full: bool
) -> None:
    put_off(queue, "a", priority=5)
    put_off(queue, "b")
    queue.make_due("a", "b")

    with foreign_value(queue.redis, key_of(queue)):
        if full:
            with full_memory(queue.redis):
                moved, wait_ms = queue.promote()
            assert wait_ms == 0
        else:
            moved, wait_ms = queue.promote()
            assert 0 < wait_ms <= 5000

    assert (moved, queue.ids()) == (1, ["b"])
    assert envelope(queue) is not None
    queue.make_due("a")
    assert queue.promote() == (1, -1)
    assert queue.ids(Lane("default", priority=5)) == ["a"]


def test_a_lane_that_takes_no_more_entries_makes_its_jobs_wait(queue: Queue) -> None:
    put_off(queue, "a", priority=5)
    put_off(queue, "b")
    queue.redis.xadd(lane_key(queue), {"x": "y"}, id="18446744073709551615-18446744073709551615")
    queue.make_due("a", "b")

    assert queue.promote()[0] == 1

    assert (queue.ids(), list(queue.put_off())) == (["b"], ["a"])


def test_counters_that_are_no_numbers_do_not_spoil_a_promotion(queue: Queue) -> None:
    put_off(queue, "a", "b")
    queue.make_due("a")
    queue.redis.hset(queue.keys.stats, "promoted", "x")
    queue.redis.hset(f"{queue.keys.delayed}:lanes", "workers:default:0", "x")

    assert queue.promote()[0] == 1
    put_off(queue, "c")

    assert (queue.ids(), list(queue.put_off())) == (["a"], ["b", "c"])


def packed(lane: bytes, *more: bytes) -> bytes:
    """Return an envelope that reads like one of ours, with fields that somebody added."""
    parts = (f"{Keys('default').base}live:0".encode(), lane, b"workers", b"head", b"1:1:0:0:0:0")
    return b"".join(b"%d:%b" % (len(part), part) for part in (*parts, *more))


GARBAGE = [
    packed(b"workers:default:0", *[b"a"] * 8200),
    packed(b"workers:default:" + b"9" * 400),
    b"garbage",
    b"",
    b"5:abc",
    b"3:abc3:def",
    b"99999999999:x",
    b"14:somebody's:key17:workers:default:07:workers4:head3:1:1",
]


@pytest.mark.parametrize("garbage", GARBAGE)
def test_g13_a_foreign_envelope_ends_as_a_dead_letter_and_stops_nobody(
    queue: Queue, garbage: bytes
) -> None:
    put_off(queue, "a", "b")
    queue.redis.hset(f"{queue.keys.delayed}:envelopes", "a", garbage)
    queue.make_due("a", "b")

    assert queue.promote() == (1, -1)

    (letter,) = queue.letters()
    assert (letter["job"], letter["reason"], letter["raw"]) == (b"a", b"foreign", garbage)
    assert (queue.ids(), queue.stat("dead")) == (["b"], 1)
    assert envelope(queue) is None


def test_an_id_without_an_envelope_is_counted_as_missing(queue: Queue) -> None:
    put_off(queue, "b")
    queue.redis.zadd(queue.keys.delayed, {"nothing": 1})

    assert queue.promote()[0] == 0

    assert (queue.stat("missing"), list(queue.put_off())) == (1, ["b"])


@pytest.mark.parametrize("delay", ["+-5", "+nan", "x", ""])
def test_a_retry_with_a_delay_that_is_none_is_not_lost_but_runs_at_once(
    queue: Queue, delay: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    delivery = queue.one()
    listed = [Settlement(delivery, RetryAt(0))]
    built = settling.settle_items(queue.keys, ME, 0, listed)
    built.args[built.args.index("+0")] = delay
    monkeypatch.setattr(settling, "settle_items", lambda *_, **__: built)

    assert queue.settle((delivery, RetryAt(0))) == ["1"]

    (again,) = queue.deliver()
    assert (again.envelope.id, again.envelope.failures) == (delivery.envelope.id, 1)
