"""Storms of emits on real Redis: they become one job, the last or the first of them."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from redis.exceptions import ResponseError

from consumers.jobs.envelope import NewJob
from consumers.jobs.lanes import MAX_LANES, Lane
from consumers.jobs.outcome import Completed, RetryAt
from consumers.store.settling import Settlement
from tests.store.guards.guarded import (
    DAY_MS,
    GUARD,
    HOUR_MS,
    LATER,
    LONGEST_MS,
    WINDOW_MS,
    Life,
    first,
    gust,
    keyed,
    lying,
    promoted,
    relay,
    storm,
)
from tests.support.queue import Queue, foreign_value, full_memory, new_job
from tests.support.waiting import eventually


def reserved(queue: Queue) -> dict[str, int]:
    found = queue.redis.hgetall(f"{queue.keys.delayed}:lanes")
    return {name.decode(): int(count) for name, count in found.items()}


# Storms of which the last one runs


def since(queue: Queue) -> int:
    """When the storm began, as its key says."""
    return int(queue.redis.get(queue.keys.debounce("storm")).split(b" ")[3])


def let_it_have_begun(queue: Queue, ago_ms: int) -> int:
    """Let a storm look as if it had begun so long ago; return when."""
    key = queue.keys.debounce("storm")
    place, job_id, generation, _ = queue.redis.get(key).split(b" ")
    began = queue.now_ms() - ago_ms
    queue.redis.set(key, b" ".join((place, job_id, generation, b"%d" % began)), keepttl=True)
    return began


def test_a_storm_is_one_job_with_the_data_of_its_last_emit(queue: Queue) -> None:
    assert queue.emit(gust("a", event="first", data=b"1", options=b"{}")) == ["+1"]
    assert queue.emit(gust("b", event="second", data=b"2")) == ["~1:a"]
    assert queue.emit(gust("c", event="third", data=b"3", options=b'{"o":3}')) == ["~1:a"]

    assert list(queue.put_off()) == ["a"]
    assert queue.pointer() == f"1 0 debounced {queue.put_off()['a']}"
    assert (queue.stat("emitted"), queue.stat("debounced")) == (1, 2)
    queue.make_due("a")
    queue.promote()
    (delivery,) = queue.deliver()
    found = delivery.envelope
    assert (found.id, found.generation, found.event) == ("a", 1, "third")
    assert (found.data, found.options) == (b"3", b'{"o":3}')
    assert (queue.put_off(), reserved(queue)) == ({}, {})
    assert queue.settle((delivery, Completed())) == ["1"]


def test_a_storms_job_was_made_when_its_last_emit_was(queue: Queue) -> None:
    queue.emit(gust("a"))
    began = since(queue)
    eventually(lambda: queue.now_ms() > began)

    queue.emit(gust("b"))

    assert since(queue) == began
    queue.make_due("a")
    queue.promote()
    (delivery,) = queue.deliver()
    # What expires some seconds after its emit must not have done so in a long storm.
    assert began < delivery.envelope.created_at <= queue.now_ms()
    assert delivery.envelope.generation == 1


def test_a_storms_emits_of_one_batch_are_taken_in_their_order(queue: Queue) -> None:
    batch = [gust("a", data=b"1"), new_job("x"), gust("b", data=b"2"), gust("a", data=b"3")]

    assert queue.emit(*batch) == ["+1", "+2", "~1:a", "~1:a"]

    assert promoted(queue, "a") == [("x", b"{}"), ("a", b"3")]
    assert queue.stat("debounced") == 2


def test_g4_a_repeated_batch_of_a_storm_counts_once_and_changes_nothing(queue: Queue) -> None:
    queue.emit(gust("a", data=b"1"))
    batch = [gust("b", data=b"2"), new_job("x"), gust("c", data=b"3")]
    words = queue.emit(*batch, number=50)
    queue.emit(gust("d", data=b"4"), number=51, writer="other")
    after = queue.snapshot()

    assert queue.emit(*batch, number=50) == words == ["~1:a", "+2", "~1:a"]

    assert queue.snapshot() == after
    assert queue.stat("debounced") == 3
    assert promoted(queue, "a")[-1] == ("a", b"4")


def test_a_storms_job_is_due_a_window_after_the_last_emit(queue: Queue) -> None:
    for job_id in "abc":
        before = queue.now_ms()
        queue.emit(gust(job_id))
        after = queue.now_ms()

        assert before + WINDOW_MS < queue.put_off()["a"] <= after + WINDOW_MS + 1


def test_a_storms_job_is_due_the_longest_wait_after_the_first_emit(queue: Queue) -> None:
    queue.emit(gust("a"))
    began = let_it_have_begun(queue, LONGEST_MS - WINDOW_MS // 2)

    queue.emit(gust("b"))

    assert queue.put_off()["a"] == began + LONGEST_MS + 1
    assert since(queue) == began


def test_a_storm_whose_window_is_longer_than_its_longest_wait_waits_for_that(
    queue: Queue,
) -> None:
    guard = storm(window_ms=WINDOW_MS, longest_ms=1000)
    queue.emit(gust("a", guard=guard))

    assert queue.put_off()["a"] == since(queue) + 1001
    queue.emit(gust("b", guard=guard))
    assert queue.put_off()["a"] == since(queue) + 1001


def test_a_storm_that_is_over_due_is_not_put_off_again(queue: Queue) -> None:
    queue.emit(gust("a"))
    began = let_it_have_begun(queue, LONGEST_MS + 5000)

    assert queue.emit(gust("b", data=b"2")) == ["~1:a"]

    assert queue.put_off()["a"] == began + LONGEST_MS + 1 < queue.now_ms()
    queue.promote()
    assert lying(queue) == [("a", b"2")]


def test_g10_a_storms_job_is_never_early(queue: Queue) -> None:
    seconds, micros = queue.redis.time()

    queue.emit(gust("a", guard=storm(window_ms=50)))

    assert queue.put_off()["a"] >= int(seconds) * 1000 + int(micros) / 1000 + 50


def test_the_last_emit_of_a_storm_decides_the_window_and_the_longest_wait(queue: Queue) -> None:
    queue.emit(gust("a"))
    before = queue.now_ms()

    queue.emit(gust("b", guard=storm(window_ms=5000, longest_ms=20_000)))

    assert before + 5000 < queue.put_off()["a"] <= queue.now_ms() + 5001


def test_the_key_of_a_storm_outlives_its_longest_wait_and_expires(queue: Queue) -> None:
    queue.emit(gust("a"))

    left = queue.redis.pttl(queue.keys.debounce("storm"))

    assert LONGEST_MS + WINDOW_MS < left <= LONGEST_MS + WINDOW_MS + DAY_MS


def test_a_storm_after_the_promotion_is_a_second_job(queue: Queue) -> None:
    queue.emit(gust("a", data=b"1"))
    promoted(queue, "a")

    assert queue.emit(gust("b", data=b"2")) == ["+2"]
    assert queue.emit(gust("c", data=b"3")) == ["~2:b"]

    assert promoted(queue, "b") == [("a", b"1"), ("b", b"3")]


def test_a_storm_during_the_run_is_a_second_job(queue: Queue) -> None:
    queue.emit(gust("a", data=b"1"))
    promoted(queue, "a")
    (delivery,) = queue.deliver()

    assert queue.emit(gust("b", data=b"2")) == ["+2"]

    queue.settle((delivery, Completed()))
    assert promoted(queue, "b") == [("b", b"2")]


def test_a_storms_job_that_is_retrying_is_not_changed_by_another_storm(queue: Queue) -> None:
    queue.emit(gust("a", data=b"1"))
    promoted(queue, "a")
    queue.settle((queue.deliver()[0], RetryAt(HOUR_MS)))

    assert queue.emit(gust("b", data=b"2")) == ["+2"]

    assert promoted(queue, "a", "b") == [("a", b"1"), ("b", b"2")]


def test_a_cancelled_storm_is_not_revived(queue: Queue) -> None:
    queue.emit(gust("a", data=b"1"))
    assert queue.cancel() == ("cancelled", 1)

    assert queue.emit(gust("b", data=b"2")) == ["+2"]

    assert list(queue.put_off()) == ["b"]
    assert reserved(queue) == {"workers:default:0": 1}
    assert since(queue) <= queue.now_ms()
    assert promoted(queue, "b") == [("b", b"2")]


def test_the_same_id_may_be_emitted_in_a_storm_after_it_was_cancelled(queue: Queue) -> None:
    queue.emit(gust("a", data=b"1"))
    queue.cancel()

    assert queue.emit(gust("a", data=b"2")) == ["+2"]

    assert promoted(queue, "a") == [("a", b"2")]


def storm_without_envelope(queue: Queue) -> None:
    queue.redis.delete(f"{queue.keys.delayed}:envelopes", queue.keys.delayed)


def storm_without_pointer(queue: Queue) -> None:
    queue.redis.delete(queue.keys.live("a"))


def storm_with_a_foreign_envelope(queue: Queue) -> None:
    queue.redis.hset(f"{queue.keys.delayed}:envelopes", "a", "somebody else's")


def storm_with_words_in_place_of_its_key(queue: Queue) -> None:
    queue.redis.set(queue.keys.debounce("storm"), "somebody else's")


@pytest.mark.parametrize(
    "vanished",
    [
        storm_without_envelope,
        storm_without_pointer,
        storm_with_a_foreign_envelope,
        storm_with_words_in_place_of_its_key,
    ],
)
def test_a_storm_whose_job_vanished_swallows_no_job(queue: Queue, vanished: Life) -> None:
    queue.emit(gust("a"))
    vanished(queue)

    assert queue.emit(gust("b", data=b"2")) == ["+2"]
    assert queue.emit(gust("c", data=b"3")) == ["~2:b"]

    assert queue.pointer("b") == f"2 0 debounced {queue.put_off()['b']}"


def test_a_storm_may_change_its_lane_and_reserves_the_last_one_only(queue: Queue) -> None:
    queue.emit(gust("a", priority=1), new_job("d", due=LATER, priority=1))
    assert reserved(queue) == {"workers:default:1": 2}

    queue.emit(gust("b", priority=5, data=b"2"))
    assert reserved(queue) == {"workers:default:1": 1, "workers:default:5": 1}
    queue.emit(gust("c", priority=5, type="gpu", data=b"3"))
    assert reserved(queue) == {"workers:default:1": 1, "gpu:default:5": 1}

    assert queue.redis.zscore(queue.keys.lanes, "gpu:default:5") == 5
    queue.make_due("a")
    queue.promote()
    assert queue.ids(Lane("default", "gpu", priority=5)) == ["a"]
    assert reserved(queue) == {"workers:default:1": 1}


def test_a_storm_whose_new_lane_would_be_one_too_many_is_refused_and_stays(queue: Queue) -> None:
    queue.emit(gust("a", data=b"1"))
    queue.emit(*(new_job(f"lane-{n}", priority=n) for n in range(1, MAX_LANES)))
    before = queue.writes()

    assert queue.emit(gust("b", priority=99)) == ["L"]
    parent = queue.one(new_job("parent", priority=1))
    assert queue.settle(Settlement(parent, Completed(), [gust("b", priority=99)])) == ["L"]
    queue.settle((parent, Completed()))

    # What the parent came and went with apart.
    parents = (queue.stream(Lane("default", priority=1)).key, queue.keys.meta)
    results = queue.keys.result("parent")
    after = queue.writes()
    assert after.pop(results)[0] == "string"
    for key in parents:
        del before[key], after[key]
    assert after == before
    assert queue.emit(gust("b", data=b"2")) == ["~1:a"]


def test_emits_of_a_storm_fit_into_a_full_queue_and_its_first_does_not(queue: Queue) -> None:
    queue.emit(gust("a"), depth=1)

    assert queue.emit(gust("b"), depth=1) == ["~1:a"]
    assert queue.emit(new_job("c", guard=storm(group="another")), depth=1) == ["F"]


def test_storms_do_not_mix(queue: Queue) -> None:
    jobs = [new_job(it, guard=storm(group=it), data=it.encode()) for it in "ab"]

    assert queue.emit(*jobs) == ["+1", "+2"]
    assert queue.emit(new_job("c", guard=storm(group="b"), data=b"c")) == ["~2:b"]

    assert promoted(queue, "a", "b") == [("a", b"a"), ("b", b"c")]


def test_a_child_is_part_of_a_storm(queue: Queue) -> None:
    parent = queue.one(new_job("parent"))
    children = [gust("a", data=b"1"), gust("b", data=b"2")]

    assert queue.settle(Settlement(parent, Completed(), children)) == ["1"]

    assert (list(queue.put_off()), queue.stat("debounced")) == (["a"], 1)
    parent = queue.one(new_job("parent"))
    late = [gust("c", data=b"3", priority=4)]
    assert queue.settle(Settlement(parent, Completed(), late)) == ["1"]
    assert (list(queue.put_off()), queue.stat("debounced")) == (["a"], 2)
    assert reserved(queue) == {"workers:default:4": 1}
    assert queue.stat("emitted") == 3


def test_a_job_from_an_outbox_is_part_of_a_storm(queue: Queue) -> None:
    queue.emit(gust("a", data=b"1"))

    assert relay(queue, gust("b", data=b"2"), new_job("x"), gust("c", data=b"3")) == [3, 0]

    assert queue.stat("debounced") == 2
    assert promoted(queue, "a") == [("x", b"{}"), ("a", b"3")]


@pytest.mark.parametrize("part", ["", ":envelopes", ":lanes"])
def test_a_foreign_value_in_the_delayed_keys_refuses_the_storms_emit_only(
    queue: Queue, part: str
) -> None:
    queue.emit(gust("a", data=b"1"))
    key, before = queue.keys.delayed + part, queue.put_off()

    with foreign_value(queue.redis, key):
        assert queue.emit(gust("b", data=b"2"), new_job("x")) == [f"T{key}", "+2"]

    assert queue.put_off() == before
    assert promoted(queue, "a") == [("x", b"{}"), ("a", b"1")]


@pytest.mark.foreign_keys
def test_a_foreign_value_in_the_storms_lane_refuses_its_emit_and_keeps_its_job(
    queue: Queue,
) -> None:
    queue.emit(gust("a", data=b"1"))
    key = queue.stream(Lane("default", priority=3)).key

    with foreign_value(queue.redis, key):
        assert queue.emit(gust("b", data=b"2", priority=3)) == [f"T{key}"]

    assert promoted(queue, "a") == [("a", b"1")]


def test_a_nearer_due_time_of_a_storm_is_the_promoters(queue: Queue) -> None:
    queue.emit(gust("a"))
    queue.emit(gust("b", guard=storm(window_ms=1, longest_ms=LONGEST_MS)))

    eventually(lambda: queue.promote()[0] == 1)

    assert queue.ids() == ["a"]


# Storms of which the first one runs


def left(queue: Queue) -> int:
    ttl: int = queue.redis.pttl(queue.keys.debounce("storm"))
    return ttl


def test_the_first_of_a_storm_runs_at_once_and_the_rest_is_dropped_and_counted(
    queue: Queue,
) -> None:
    assert queue.emit(first("a", data=b"1")) == ["+1"]
    assert queue.emit(first("b", data=b"2"), first("c", data=b"3")) == ["~1:a", "~1:a"]

    assert lying(queue) == [("a", b"1")]
    assert (queue.stat("emitted"), queue.stat("debounced")) == (1, 2)
    assert 0 < left(queue) <= WINDOW_MS


def test_a_storm_goes_on_while_its_first_runs_and_after_it_has_ended(queue: Queue) -> None:
    delivery = queue.one(first("a"))
    assert queue.emit(first("b")) == ["~1:a"]
    queue.settle((delivery, Completed()))

    assert queue.emit(first("b")) == ["~1:a"]

    assert queue.ids() == []


def test_a_cancelled_first_of_a_storm_is_not_replaced(queue: Queue) -> None:
    queue.emit(first("a"))
    queue.cancel()

    assert queue.emit(first("b")) == ["~1:a"]


def test_a_storm_is_over_a_window_after_its_last_emit(queue: Queue) -> None:
    queue.emit(first("a"))
    assert 0 < left(queue) <= WINDOW_MS
    queue.redis.pexpire(queue.keys.debounce("storm"), 5000)

    queue.emit(first("b"))

    assert 5000 < left(queue) <= WINDOW_MS


def test_a_storm_is_over_the_longest_wait_after_its_first_emit(queue: Queue) -> None:
    queue.emit(first("a"))
    let_it_have_begun(queue, LONGEST_MS - 10_000)

    assert queue.emit(first("b")) == ["~1:a"]

    assert 0 < left(queue) <= 10_000


def test_after_a_storm_the_next_one_begins(queue: Queue) -> None:
    queue.emit(first("a"))
    let_it_have_begun(queue, LONGEST_MS)
    assert queue.emit(first("b")) == ["~1:a"]
    eventually(lambda: left(queue) < 0)

    assert queue.emit(first("c"), first("d")) == ["+2", "~2:c"]

    assert queue.ids() == ["a", "c"]


def test_the_first_of_a_storm_may_be_delayed(queue: Queue) -> None:
    assert queue.emit(first("a", due=LATER), first("b")) == ["+1", "~1:a"]

    assert list(queue.put_off()) == ["a"]


def test_g4_a_repeated_batch_of_a_leading_storm_counts_once(queue: Queue) -> None:
    batch = [first("a"), first("b"), new_job("x"), first("a")]
    words = queue.emit(*batch, number=50)
    queue.redis.pexpire(queue.keys.debounce("storm"), 5000)
    after = queue.snapshot()

    assert queue.emit(*batch, number=50) == words == ["+1", "~1:a", "+2", "~1:a"]

    assert queue.snapshot() == after
    assert left(queue) <= 5000


def test_a_dropped_emit_needs_no_lane_no_room_and_no_memory(queue: Queue) -> None:
    queue.emit(first("a"))
    queue.emit(*(new_job(f"lane-{n}", priority=n) for n in range(1, MAX_LANES)))

    assert queue.emit(first("b", priority=99), depth=1) == ["~1:a"]
    with full_memory(queue.redis):
        assert queue.emit(first("c")) == ["~1:a"]

    assert queue.redis.zcard(queue.keys.lanes) == MAX_LANES


@pytest.mark.parametrize("behind", [new_job("x"), new_job("x", due=LATER), keyed("lane")])
def test_g12_nothing_passes_full_memory_behind_an_emit_that_is_dropped(
    queue: Queue, behind: NewJob
) -> None:
    queue.emit(new_job("lane"), first("a"))
    queue.redis.pexpire(queue.keys.debounce("storm"), 5000)
    before = queue.snapshot()

    with full_memory(queue.redis), pytest.raises(ResponseError, match=r"OOM|maxmemory"):
        queue.emit(first("b"), behind)

    assert queue.snapshot() == before
    assert left(queue) <= 5000


def test_a_child_of_a_leading_storm_is_dropped_and_counted(queue: Queue) -> None:
    parent = queue.one(new_job("parent"))

    assert queue.settle(Settlement(parent, Completed(), [first("a"), first("b")])) == ["1"]
    assert relay(queue, first("c")) == [1, 0]

    assert (queue.ids(), queue.stat("debounced")) == (["a"], 2)


@GUARD
def test_a_counter_that_is_no_number_does_not_spoil_an_emit_that_met_its_job(
    queue: Queue, job: Callable[..., NewJob]
) -> None:
    queue.emit(job("a"))
    queue.redis.hset(queue.keys.stats, "debounced", "x")

    assert queue.emit(job("b"), new_job("x")) == ["~1:a", "+2"]
