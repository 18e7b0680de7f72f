"""fire_schedule.lua on real Redis: what the job of the last fire time decides."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from consumers.jobs.outcome import Completed, RetryAt
from tests.store.schedules.steps import HOUR_MS, fired_once, known, looked_at, waits
from tests.support.queue import Queue, new_job


def runs(queue: Queue) -> None:
    queue.deliver()


def retries(queue: Queue) -> None:
    queue.settle((queue.deliver()[0], RetryAt(HOUR_MS)))


def has_ended(queue: Queue) -> None:
    queue.settle((queue.deliver()[0], Completed()))


def was_cancelled(queue: Queue) -> None:
    assert queue.cancel("f1")[0] == "cancelled"


LIVES = pytest.mark.parametrize("life", [waits, runs, retries])
OVER = pytest.mark.parametrize("life", [has_ended, was_cancelled])


@LIVES
def test_a_fire_is_passed_over_while_the_job_of_the_last_one_lives(
    queue: Queue, life: Callable[[Queue], None]
) -> None:
    record = fired_once(queue, life)
    following = queue.now_ms() + HOUR_MS

    fired = queue.fire(
        record, new_job("f2"), new_job("f3"), overlap="skip", passed_over=2, following=following
    )

    assert fired == ("fired", 0)
    found = known(queue)
    assert (found.fired, found.slot, looked_at(queue)) == (record.slot, following, following)
    assert (found.last, found.fires, found.skipped) == ("f1", 1, 4)
    assert (queue.pointer("f2"), queue.stat("emitted")) == (None, 1)


@LIVES
def test_a_fire_waits_while_the_job_of_the_last_one_lives(
    queue: Queue, life: Callable[[Queue], None]
) -> None:
    record = fired_once(queue, life)
    before, now = known(queue), queue.now_ms()

    assert queue.fire(record, new_job("f2"), overlap="queue") == ("busy", 0)

    assert known(queue) == before
    looks = looked_at(queue)
    assert looks is not None
    assert now + 1000 <= looks <= queue.now_ms() + 1000
    assert queue.pointer("f2") is None


@LIVES
def test_a_fire_does_not_ask_for_the_job_of_the_last_one_where_they_may_overlap(
    queue: Queue, life: Callable[[Queue], None]
) -> None:
    record = fired_once(queue, life)

    assert queue.fire(record, new_job("f2"), overlap="allow") == ("fired", 1)

    assert queue.pointer("f2") is not None
    assert known(queue).last == "f2"


@OVER
@pytest.mark.parametrize("overlap", ["skip", "queue"])
def test_a_fire_after_the_job_of_the_last_one_has_ended_is_fired(
    queue: Queue, life: Callable[[Queue], None], overlap: str
) -> None:
    record = fired_once(queue, life)

    assert queue.fire(record, new_job("f2"), overlap=overlap) == ("fired", 1)

    found = known(queue)
    assert (found.last, found.fires, found.skipped) == ("f2", 2, 0)
