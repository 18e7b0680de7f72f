"""cancel.lua on real Redis: full memory, and foreign values in place of its keys."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from redis.exceptions import ResponseError

from consumers.jobs.outcome import Completed
from tests.store.cancel.jobs import (
    KEY,
    LONG_AGO_MS,
    OUTCOME,
    debounced,
    delayed,
    renew,
    result,
    retrying,
    running,
    settlement,
    sweep,
    wait_for_its_end,
    waiting,
)
from tests.support.queue import OTHER, Queue, foreign_value, full_memory, new_job


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
