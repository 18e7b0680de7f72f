"""cancel.lua on real Redis: jobs that have ended, and what is another's."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from consumers.jobs.lanes import Lane
from consumers.jobs.outcome import Buried, Cancelled, Completed
from tests.store.cancel.jobs import GONE, debounced, delayed, renew
from tests.support.queue import GROUP, Queue, new_job


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
    "1 0 nowhere:x:0 5-5",
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
