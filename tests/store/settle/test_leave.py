"""settle.lua on real Redis: how many entries that are done leave their stream together."""

from __future__ import annotations

import random

import pytest

from consumers.jobs.outcome import Completed, Released
from consumers.store.delivery import Delivery
from tests.support.queue import OTHER, Queue, new_job

MANY = 40


def emitted(queue: Queue, number: int = MANY) -> list[str]:
    ids = [f"job-{n:04}" for n in range(number)]
    queue.emit(*(new_job(it) for it in ids))
    return ids


def complete(queue: Queue, deliveries: list[Delivery]) -> list[str]:
    return queue.settle(*((it, Completed()) for it in deliveries))


def lag(queue: Queue) -> int | None:
    (group,) = queue.redis.xinfo_groups(queue.stream().key)
    found: int | None = group.get("lag", queue.redis.xlen(queue.stream().key) - group["pending"])
    return found


def test_those_that_are_the_oldest_leave_and_the_rest_stays(queue: Queue) -> None:
    ids = emitted(queue)
    deliveries = queue.deliver(count=MANY - 5)

    assert complete(queue, deliveries[:-3]) == ["1"] * (MANY - 8)

    assert queue.ids() == ids[-8:]
    assert lag(queue) == 5
    assert complete(queue, deliveries[-3:]) == ["1"] * 3
    assert queue.ids() == ids[-5:]


@pytest.mark.parametrize("seed", range(5))
def test_in_whatever_order_they_end_only_those_that_ended_leave(queue: Queue, seed: int) -> None:
    chance, ids = random.Random(seed), emitted(queue, 150)
    deliveries = queue.deliver(count=130)
    chance.shuffle(deliveries)
    left = set(ids)

    while deliveries:
        batch, deliveries = deliveries[:20], deliveries[20:]
        assert complete(queue, batch) == ["1"] * len(batch)
        left -= {it.envelope.id for it in batch}
        assert set(queue.ids()) == left
        assert lag(queue) == 20

    assert queue.ids() == ids[130:]
    assert (queue.stat("completed"), queue.redis.zcard(queue.keys.delayed)) == (130, 0)


def test_those_of_another_worker_stay_between_ours(queue: Queue) -> None:
    ids = emitted(queue)
    deliveries = queue.deliver(count=MANY)
    theirs = deliveries[1::2]
    for it in theirs:
        queue.hand_over(it, OTHER)

    words = complete(queue, deliveries)

    assert words == ["1", "0"] * (MANY // 2)
    assert queue.ids() == ids[1::2]
    assert [queue.pending(it) for it in theirs] == [(OTHER, 2)] * (MANY // 2)


def test_what_somebody_skipped_stays(queue: Queue) -> None:
    # Older than what is settled, delivered to nobody, and for a person to see.
    skipped = emitted(queue)
    queue.redis.xgroup_setid(queue.stream().key, "workers", "$")
    queue.emit(*(new_job(f"next-{n}") for n in range(MANY)))

    assert complete(queue, queue.deliver(count=MANY)) == ["1"] * MANY

    assert queue.ids() == skipped


def test_what_somebody_acknowledged_by_hand_stays(queue: Queue) -> None:
    emitted(queue)
    deliveries = queue.deliver(count=MANY)
    stream = queue.stream()
    queue.redis.xack(stream.key, stream.group, deliveries[0].entry)

    assert complete(queue, deliveries[1:]) == ["1"] * (MANY - 1)

    assert queue.ids() == [deliveries[0].envelope.id]


def test_what_waits_stays_although_others_of_it_were_deleted_by_hand(queue: Queue) -> None:
    ids = emitted(queue)
    deliveries = queue.deliver(count=20)
    (entry, *_) = [
        it for it, _ in queue.redis.xrange(queue.stream().key, f"({deliveries[-1].entry}")
    ]
    queue.redis.xdel(queue.stream().key, entry)

    assert complete(queue, deliveries) == ["1"] * 20

    assert queue.ids() == ids[21:]


def test_an_entry_that_the_same_batch_hands_back_is_no_longer_ours(queue: Queue) -> None:
    emitted(queue)
    deliveries = queue.deliver(count=MANY)
    first, *rest = deliveries

    words = queue.settle((first, Released("stop")), *((it, Completed()) for it in [first, *rest]))

    assert words == ["1", "0", *["1"] * (MANY - 1)]
    assert queue.stat("completed") == MANY - 1


def test_of_two_outcomes_of_an_entry_the_first_counts(queue: Queue) -> None:
    emitted(queue)
    deliveries = queue.deliver(count=MANY)

    words = complete(queue, [*deliveries, deliveries[3], deliveries[-1]])

    assert words == [*["1"] * MANY, "0", "0"]
    assert queue.stat("completed") == MANY


def test_where_trimming_is_not_allowed_they_leave_as_well(queue: Queue) -> None:
    emitted(queue)
    deliveries = queue.deliver(count=MANY)
    queue.redis.execute_command("ACL", "SETUSER", "default", "-xtrim")
    try:
        words = complete(queue, deliveries)
    finally:
        queue.redis.execute_command("ACL", "SETUSER", "default", "+xtrim")

    assert (words, queue.ids()) == (["1"] * MANY, [])


def test_where_counts_add_up_by_chance_nothing_else_leaves(queue: Queue) -> None:
    # As many entries that ran were deleted by hand as others were skipped.
    skipped = emitted(queue, 2)
    key = queue.stream().key
    queue.redis.xgroup_setid(key, "workers", "$")
    queue.emit(*(new_job(f"next-{n}") for n in range(MANY)))
    deliveries = queue.deliver()
    queue.redis.xdel(key, *(it.entry for it in deliveries[:2]))

    complete(queue, deliveries[2:])

    assert queue.ids() == skipped


@pytest.mark.parametrize("command", ["xlen", "xinfo", "xsetid"])
def test_where_the_lag_cannot_be_kept_outcomes_are_recorded(queue: Queue, command: str) -> None:
    emitted(queue, 5)
    deliveries = queue.deliver(count=2)
    queue.redis.execute_command("ACL", "SETUSER", "default", f"-{command}")
    try:
        words = complete(queue, deliveries)
    finally:
        queue.redis.execute_command("ACL", "SETUSER", "default", f"+{command}")

    assert words == ["1", "1"]
    assert [queue.end(it.envelope.id) is not None for it in deliveries] == [True, True]
    assert [queue.pointer(it.envelope.id) for it in deliveries] == [None, None]


def test_a_cancelled_job_that_waits_holds_up_no_others(queue: Queue) -> None:
    emitted(queue)
    deliveries = queue.deliver()
    queue.emit(new_job("waits"))
    assert queue.cancel("waits")[0] == "cancelled"
    queue.redis.config_resetstat()

    assert complete(queue, deliveries) == ["1"] * MANY

    assert queue.redis.info("commandstats")["cmdstat_xack"]["calls"] == 1


def test_those_that_were_cancelled_while_they_ran_are_told_apart(queue: Queue) -> None:
    emitted(queue)
    deliveries = queue.deliver()
    for it in (deliveries[3], deliveries[-1]):
        assert queue.cancel(it.envelope.id)[0] == "requested"

    words = complete(queue, deliveries)

    assert words == ["C" if number in (3, MANY - 1) else "1" for number in range(MANY)]
    assert queue.ids() == []
    assert (queue.stat("completed"), queue.marks()) == (MANY - 2, (set(), set()))
