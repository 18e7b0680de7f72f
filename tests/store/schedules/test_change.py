"""change_schedule.lua on real Redis: schedules are paused, resumed and removed."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from redis.exceptions import ResponseError

from tests.store.schedules.steps import (
    HOUR_MS,
    due,
    known,
    listed,
    looked_at,
    pause,
    remove,
    resume,
)
from tests.support.queue import Queue, listening, new_job


def test_a_schedule_that_was_registered_meanwhile_is_not_taken_for_forgotten(
    queue: Queue,
) -> None:
    queue.register(slot=queue.now_ms() + HOUR_MS)
    before = queue.snapshot()
    registered = known(queue).registered

    assert pause(queue, "unregistered", digest="d1", registered=registered - 1) == "kept"

    assert queue.snapshot() == before
    assert pause(queue, "unregistered", digest="d1", registered=registered) == "done"


def test_a_paused_schedule_is_not_looked_at_until_it_is_resumed(queue: Queue) -> None:
    slot = queue.now_ms() + HOUR_MS
    queue.register(slot=slot)

    with listening(queue.redis, queue.keys.control) as hints:
        assert pause(queue, "why") == "done"
    assert (known(queue).paused, looked_at(queue), hints) == ("why", None, ["cron"])
    assert pause(queue, "another reason") == "done"
    assert known(queue).paused == "another reason"

    with listening(queue.redis, queue.keys.control) as hints:
        assert resume(queue, slot + 5) == "done"
    found = known(queue)
    assert (found.paused, found.slot) == (None, slot + 5)
    assert (looked_at(queue), hints) == (slot + 5, ["cron"])


def test_a_schedule_without_a_next_fire_is_resumed_and_not_looked_at(queue: Queue) -> None:
    queue.register(slot=queue.now_ms() + HOUR_MS)
    pause(queue)

    assert resume(queue, None) == "done"

    assert (known(queue).slot, known(queue).paused, looked_at(queue)) == (None, None, None)


def test_g9_a_schedule_is_not_resumed_with_a_fire_time_that_was_dealt_with(queue: Queue) -> None:
    record = due(queue)
    assert record.slot is not None
    queue.fire(record, new_job("f"), following=record.slot + HOUR_MS)
    pause(queue)
    before = queue.snapshot()

    assert resume(queue, record.slot) == "past"

    assert queue.snapshot() == before
    assert resume(queue, record.slot + 1) == "done"


CHANGES: dict[str, Callable[..., str]] = {
    "pause": lambda queue, name="s", digest="d2": pause(queue, name=name, digest=digest),
    "resume": lambda queue, name="s", digest="d2": resume(
        queue, queue.now_ms() + HOUR_MS, name=name, digest=digest
    ),
}
CHANGE = pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)


@CHANGE
def test_a_definition_that_was_replaced_meanwhile_is_not_changed(
    queue: Queue, change: Callable[..., str]
) -> None:
    queue.register(slot=queue.now_ms() + HOUR_MS)
    before = queue.snapshot()

    assert change(queue, digest="d2") == "other"

    assert queue.snapshot() == before
    assert change(queue, digest="d1") == "done"


def test_a_schedule_that_there_is_not_can_be_neither_paused_resumed_nor_removed(
    queue: Queue,
) -> None:
    assert (pause(queue), resume(queue, 5), resume(queue, 5, digest="")) == ("unknown",) * 3
    assert remove(queue) == "unknown"

    assert queue.snapshot() == {}


def test_a_removed_schedule_leaves_nothing_behind(queue: Queue) -> None:
    record = due(queue)
    queue.fire(record, new_job("f"), following=queue.now_ms() + HOUR_MS)
    queue.register("other", slot=queue.now_ms() + HOUR_MS)

    with listening(queue.redis, queue.keys.control) as hints:
        assert remove(queue) == "done"

    assert (queue.schedule(), looked_at(queue), listed(queue)) == (None, None, {"other"})
    assert hints == ["cron"]
    assert remove(queue) == "unknown"
    assert queue.ids() == ["f"]


@pytest.mark.parametrize(("field", "value"), [("layout", "2"), ("generation", "x")])
def test_a_queue_that_somebody_spoiled_gets_no_schedule_and_fires_none(
    queue: Queue, field: str, value: str
) -> None:
    record = due(queue)
    queue.redis.hset(queue.keys.meta, field, value)
    before = queue.snapshot()

    with pytest.raises(ResponseError, match=r"LAYOUT|generation"):
        queue.register(slot=record.slot, digest="d2")
    with pytest.raises(ResponseError, match=r"LAYOUT|generation"):
        queue.fire(record, new_job("f"))

    assert queue.snapshot() == before
