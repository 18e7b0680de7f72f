"""Idempotency keys on real Redis: one job a key while it lives, and for a day after its end."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from consumers.jobs import guards
from consumers.jobs.envelope import NewJob
from consumers.jobs.lanes import MAX_LANES, Lane
from consumers.jobs.outcome import Buried, Cancelled, Completed, Released, RetryAt
from consumers.store.settling import Settlement
from tests.store.guards.guarded import (
    DAY_MS,
    GUARD,
    HOUR_MS,
    KEY,
    LATER,
    Life,
    keyed,
    lying,
    promoted,
    relay,
)
from tests.support.queue import ME, Queue, full_memory, new_job


def key_ttl(queue: Queue) -> int:
    ttl: int = queue.redis.pttl(queue.keys.idempotency("key"))
    return ttl


def expires_in_a_day(queue: Queue) -> bool:
    return DAY_MS - 60_000 < key_ttl(queue) <= DAY_MS


def waiting(queue: Queue) -> None:
    queue.emit(keyed())


def running(queue: Queue) -> None:
    queue.one(keyed())


def delayed(queue: Queue) -> None:
    queue.emit(keyed(due=LATER))


def retrying(queue: Queue) -> None:
    queue.settle((queue.one(keyed()), RetryAt(HOUR_MS)))


def handed_back(queue: Queue) -> None:
    queue.settle((queue.one(keyed()), Released("stop")))


def kept_for_another(queue: Queue) -> None:
    queue.settle((queue.one(keyed()), Released("no handler", event="e")))


LIVING = [waiting, running, delayed, retrying, handed_back, kept_for_another]


@pytest.mark.parametrize("life", LIVING)
@pytest.mark.parametrize("job_id", ["a", "b"])
def test_a_key_answers_with_its_job_while_that_lives_and_does_not_expire(
    queue: Queue, life: Life, job_id: str
) -> None:
    life(queue)
    before = queue.writes()

    assert queue.emit(keyed(job_id, data=b"[2]", priority=9)) == ["~1:a"]
    assert queue.emit(keyed(job_id, due=LATER)) == ["~1:a"]

    assert queue.writes() == before
    assert (key_ttl(queue), queue.stat("debounced")) == (-1, 0)


def completed(queue: Queue) -> None:
    queue.settle((queue.one(keyed()), Completed()))


def dead(queue: Queue) -> None:
    queue.settle((queue.one(keyed()), Buried("failed")))


def discarded(queue: Queue) -> None:
    queue.settle((queue.one(keyed()), Cancelled("no use")))


def cancelled_while_it_waited(queue: Queue) -> None:
    queue.emit(keyed())
    queue.cancel()


def cancelled_while_it_ran(queue: Queue) -> None:
    delivery = queue.one(keyed())
    queue.cancel()
    queue.settle((delivery, Completed()))


def completed_after_a_retry(queue: Queue) -> None:
    retrying(queue)
    promoted(queue, "a")
    queue.settle((queue.deliver()[0], Completed()))


def completed_after_a_release(queue: Queue) -> None:
    handed_back(queue)
    queue.settle((queue.deliver(front=True)[0], Completed()))


ENDED = [
    completed,
    dead,
    discarded,
    cancelled_while_it_waited,
    cancelled_while_it_ran,
    completed_after_a_retry,
    completed_after_a_release,
]


@pytest.mark.parametrize("life", ENDED)
def test_a_key_answers_with_its_job_for_a_day_after_its_end_and_then_not(
    queue: Queue, life: Life
) -> None:
    life(queue)
    assert expires_in_a_day(queue)
    before = queue.writes()

    assert queue.emit(keyed("b")) == ["~1:a"]

    assert queue.writes() == before
    queue.redis.delete(queue.keys.idempotency("key"))
    assert queue.emit(keyed("b")) == ["+2"]
    assert key_ttl(queue) == -1


def deleted_entry(queue: Queue) -> None:
    waiting(queue)
    queue.redis.delete(queue.stream().key)


def deleted_pointer(queue: Queue) -> None:
    waiting(queue)
    queue.redis.delete(queue.keys.live("a"))


def deleted_envelope(queue: Queue) -> None:
    delayed(queue)
    queue.redis.delete(f"{queue.keys.delayed}:envelopes", queue.keys.delayed)


def words_in_its_place(queue: Queue) -> None:
    waiting(queue)
    queue.redis.set(queue.keys.idempotency("key"), "somebody else's")


@pytest.mark.parametrize(
    "vanished", [deleted_entry, deleted_pointer, deleted_envelope, words_in_its_place]
)
def test_a_key_whose_job_vanished_is_taken_over_and_swallows_no_job(
    queue: Queue, vanished: Life
) -> None:
    vanished(queue)

    assert queue.emit(keyed("b", data=b"2")) == ["+2"]

    assert queue.emit(keyed("c")) == ["~2:b"]
    assert lying(queue)[-1] == ("b", b"2")
    assert key_ttl(queue) == -1


def test_a_key_finds_its_job_although_another_with_that_id_would_be_new(queue: Queue) -> None:
    queue.emit(keyed("a"))
    queue.emit(new_job("b"))

    # The key counts more than the id.
    assert queue.emit(keyed("b")) == ["~1:a"]


def test_a_key_survives_retries_and_releases_in_the_head_of_its_job(queue: Queue) -> None:
    delivery = queue.one(keyed())
    queue.settle((delivery, Released("stop")))
    (again,) = queue.deliver(front=True)
    queue.settle((again, RetryAt(HOUR_MS)))
    promoted(queue, "a")

    (last,) = queue.deliver()

    found = [it.envelope.idempotency for it in (delivery, again, last)]
    assert found == ["key", "key", "key"]
    assert (last.envelope.failures, last.envelope.deliveries) == (1, 2)


def test_a_job_without_a_key_has_none_in_its_head(queue: Queue) -> None:
    assert queue.one().envelope.idempotency == ""


@pytest.mark.parametrize("text", ["key", "_-Zz09", "x" * 22])
def test_any_digest_may_be_a_key(queue: Queue, text: str) -> None:
    delivery = queue.one(new_job(guard=guards.idempotent(text)))

    assert delivery.envelope.idempotency == text
    queue.settle((delivery, Completed()))
    assert queue.redis.pttl(queue.keys.idempotency(text)) > 0


def test_a_dead_letter_that_comes_back_keeps_its_key_until_it_ends_again(queue: Queue) -> None:
    dead(queue)
    assert queue.replay("a") == ["+2"]

    assert key_ttl(queue) == -1
    assert queue.emit(keyed("b")) == ["~2:a"]

    (delivery,) = queue.deliver()
    assert delivery.envelope.idempotency == "key"
    queue.settle((delivery, Completed()))
    assert expires_in_a_day(queue)


def test_a_dead_letter_that_comes_back_leaves_the_key_of_another_job_alone(queue: Queue) -> None:
    dead(queue)
    queue.redis.delete(queue.keys.idempotency("key"))
    queue.settle((queue.one(keyed("b")), Completed()))

    assert queue.replay("a") == ["+3"]

    assert expires_in_a_day(queue)
    assert queue.emit(keyed("c")) == ["~2:b"]
    (delivery,) = queue.deliver()
    queue.redis.persist(queue.keys.idempotency("key"))
    queue.settle((delivery, Completed()))
    assert key_ttl(queue) == -1
    queue.redis.pexpire(queue.keys.idempotency("key"), DAY_MS)


def key_ran_out(queue: Queue) -> None:
    queue.redis.delete(queue.keys.idempotency("key"))


def key_of_another_run_of_the_id(queue: Queue) -> None:
    key_ran_out(queue)
    queue.settle((queue.one(keyed()), Completed()))


def key_of_a_job_that_vanished(queue: Queue) -> None:
    key_ran_out(queue)
    queue.emit(keyed("b", priority=1))
    queue.redis.delete(queue.stream(Lane("default", priority=1)).key)


def key_that_is_none(queue: Queue) -> None:
    queue.redis.set(queue.keys.idempotency("key"), "somebody else's")


@pytest.mark.parametrize(
    "left",
    [key_ran_out, key_of_another_run_of_the_id, key_of_a_job_that_vanished, key_that_is_none],
)
def test_a_dead_letter_that_comes_back_takes_its_key_again_when_that_is_free(
    queue: Queue, left: Life
) -> None:
    dead(queue)
    left(queue)

    (word,) = queue.replay("a")

    assert queue.emit(keyed("c")) == [f"~{word[1:]}:a"]
    assert key_ttl(queue) == -1
    (delivery,) = queue.deliver()
    queue.settle((delivery, Completed()))
    assert expires_in_a_day(queue)


def test_a_foreign_value_in_the_place_of_its_key_does_not_keep_a_dead_letter_back(
    queue: Queue,
) -> None:
    dead(queue)
    key = queue.keys.idempotency("key")
    queue.redis.delete(key)
    queue.redis.rpush(key, "somebody else's")

    assert queue.replay("a") == ["+2"]

    assert queue.redis.lrange(key, 0, -1) == [b"somebody else's"]
    assert queue.ids() == ["a"]


@pytest.mark.parametrize("due", ["", LATER])
def test_a_key_is_bound_for_a_day_to_the_job_that_lives_under_its_id_already(
    queue: Queue, due: str
) -> None:
    queue.emit(new_job(due=due))

    assert queue.emit(keyed(data=b"2")) == ["=1"]

    assert expires_in_a_day(queue)
    assert queue.emit(keyed("b")) == ["~1:a"]
    assert queue.cancel()[0] == "cancelled"
    assert expires_in_a_day(queue)


def test_the_same_key_twice_in_a_batch_is_one_job(queue: Queue) -> None:
    batch = [keyed("a"), keyed("b"), new_job("c"), keyed("a")]

    assert queue.emit(*batch, number=50) == ["+1", "~1:a", "+2", "~1:a"]

    after = queue.snapshot()
    assert queue.emit(*batch, number=50) == ["+1", "~1:a", "+2", "~1:a"]
    assert queue.snapshot() == after
    assert queue.ids() == ["a", "c"]


def test_keys_differ_by_their_digest_only(queue: Queue) -> None:
    jobs = [new_job(it, guard=guards.idempotent(it)) for it in "ab"]

    assert queue.emit(*jobs) == ["+1", "+2"]


def test_the_same_key_of_two_children_is_one_job(queue: Queue) -> None:
    parent = queue.one(new_job("parent"))

    assert queue.settle(Settlement(parent, Completed(), [keyed("a"), keyed("b")])) == ["1"]

    assert queue.ids() == ["a"]
    assert (queue.stat("emitted"), key_ttl(queue)) == (2, -1)


@pytest.mark.parametrize("life", [waiting, delayed, completed, dead])
def test_a_child_whose_key_has_a_job_is_not_added(queue: Queue, life: Life) -> None:
    life(queue)
    parent = queue.one(new_job("parent", priority=1))
    live = queue.pointer()

    assert queue.settle(Settlement(parent, Completed(), [keyed("b")])) == ["1"]

    assert (queue.pointer("b"), queue.pointer()) == (None, live)
    assert queue.stat("emitted") == 2


def test_a_child_whose_key_has_a_job_needs_no_lane(queue: Queue) -> None:
    queue.emit(keyed())
    parent = queue.one(new_job("parent", priority=1))
    queue.emit(*(new_job(f"lane-{n}", priority=n) for n in range(2, MAX_LANES)))

    settled = queue.settle(Settlement(parent, Completed(), [keyed("b", priority=99)]))

    assert settled == ["1"]


def test_a_child_with_its_parents_key_is_its_parent(queue: Queue) -> None:
    parent = queue.one(keyed())

    assert queue.settle(Settlement(parent, Completed(), [keyed("b")])) == ["1"]

    assert queue.ids() == []
    assert expires_in_a_day(queue)


def test_the_same_key_twice_from_an_outbox_is_one_job(queue: Queue) -> None:
    assert relay(queue, keyed("a"), keyed("b"), new_job("c")) == [3, 0]

    assert queue.ids() == ["a", "c"]
    assert (queue.emit(keyed("d")), key_ttl(queue)) == (["~1:a"], -1)


def test_a_child_elsewhere_is_posted_with_its_guard(queue: Queue) -> None:
    child = new_job("x", queue="other", guard=KEY)

    queue.settle(Settlement(queue.one(), Completed(), [child]))

    ((_, fields),) = queue.redis.xrange(queue.keys.outbox)
    assert fields[b"guard"] == KEY.encode()


def test_a_key_is_found_in_full_memory_and_a_full_queue(queue: Queue) -> None:
    queue.emit(keyed())

    with full_memory(queue.redis):
        assert queue.emit(keyed("b")) == ["~1:a"]
    assert queue.emit(keyed("b"), new_job("c"), depth=1) == ["~1:a", "F"]


def test_a_job_that_was_refused_does_not_hold_its_key(queue: Queue) -> None:
    queue.emit(*(new_job(f"lane-{n}", priority=n) for n in range(MAX_LANES)))

    assert queue.emit(keyed("a"), depth=1) == ["F"]
    assert queue.emit(keyed("a", priority=99)) == ["L"]

    assert not queue.redis.exists(queue.keys.idempotency("key"))
    assert queue.emit(keyed("b")) == ["+33"]


def key_of(queue: Queue, job: Callable[..., NewJob]) -> str:
    return queue.keys.idempotency("key") if job is keyed else queue.keys.debounce("storm")


@pytest.mark.foreign_keys
@GUARD
def test_a_foreign_value_in_place_of_a_guards_key_refuses_its_job_only(
    queue: Queue, job: Callable[..., NewJob]
) -> None:
    key = key_of(queue, job)
    queue.redis.rpush(key, "somebody else's")
    parent = queue.one(new_job("parent", priority=1))

    assert queue.emit(job("a"), new_job("b")) == [f"T{key}", "+2"]
    before = queue.writes()
    assert queue.settle(Settlement(parent, Completed(), [job("a")])) == [f"T{key}"]
    assert queue.writes() == before
    assert relay(queue, new_job("c"), job("a"), new_job("d")) == [1, 0]

    assert (queue.ids(), queue.pending(parent)) == (["b", "c"], (ME, 1))
    queue.redis.delete(key)
    assert queue.emit(job("a"))[0][0] == "+"


@pytest.mark.foreign_keys
def test_a_foreign_value_in_place_of_a_key_does_not_stop_its_job(queue: Queue) -> None:
    queue.emit(keyed("a"), new_job("b"))
    a, _b = queue.deliver()
    queue.redis.delete(queue.keys.idempotency("key"))
    queue.redis.rpush(queue.keys.idempotency("key"), "somebody else's")

    assert queue.settle((a, Buried("failed"))) == ["1"]
    assert queue.replay("a") == ["+3"]
    (again,) = queue.deliver()
    assert queue.settle((again, Completed())) == ["1"]

    assert queue.redis.lrange(queue.keys.idempotency("key"), 0, -1) == [b"somebody else's"]
