"""pause.lua on real Redis: what is paused lies in the queue's meta under a number that grows."""

from __future__ import annotations

from typing import Any

import pytest
from redis.exceptions import ResponseError

from consumers.store import changing, tending
from consumers.store.pause_state import FIELDS, PauseState
from tests.support.queue import Queue, listening, new_job


def state(queue: Queue) -> PauseState:
    return PauseState.read(queue.redis.hmget(queue.keys.meta, FIELDS))


def test_a_queue_is_paused_and_resumed_under_growing_numbers(queue: Queue) -> None:
    queue.emit(new_job())

    assert queue.pause() == 1
    assert state(queue) == PauseState(1, True)
    assert queue.resume() == 2
    assert state(queue) == PauseState(2)

    assert queue.redis.hmget(queue.keys.meta, "paused", "paused_events") == [None, None]


def test_what_is_paused_twice_is_paused_once_under_a_new_number(queue: Queue) -> None:
    queue.pause()
    queue.pause("e")

    assert (queue.pause(), queue.pause("e")) == (3, 4)

    assert state(queue) == PauseState(4, True, frozenset({"e"}))
    assert (queue.resume(), queue.resume("e")) == (5, 6)
    assert state(queue) == PauseState(6)


def test_resuming_what_is_not_paused_changes_the_number_only(queue: Queue) -> None:
    queue.pause("e")

    assert (queue.resume(), queue.resume("f")) == (2, 3)

    assert state(queue) == PauseState(3, False, frozenset({"e"}))


def test_events_are_paused_and_resumed_one_by_one_beside_the_queue(queue: Queue) -> None:
    for event in ("mail.send", "a", "zz-top", "mail"):
        queue.pause(event)
    queue.pause()
    assert queue.redis.hget(queue.keys.meta, "paused_events") == b"a mail mail.send zz-top"

    queue.resume("mail")
    assert state(queue) == PauseState(6, True, frozenset({"a", "mail.send", "zz-top"}))
    queue.resume()
    assert state(queue) == PauseState(7, False, frozenset({"a", "mail.send", "zz-top"}))

    for event in ("zz-top", "mail.send", "a"):
        queue.resume(event)
    assert state(queue) == PauseState(10)
    assert not queue.redis.hexists(queue.keys.meta, "paused_events")


def test_every_change_is_announced(queue: Queue) -> None:
    with listening(queue.redis, queue.keys.control) as hints:
        queue.pause()
        queue.resume()
        queue.pause("e")

    assert hints == ["pause"] * 3


def test_no_more_events_are_paused_than_may_be(
    queue: Queue, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(changing, "MAX_PAUSED_EVENTS", 2)
    queue.pause("a")
    queue.pause("b")
    before = queue.snapshot()

    with listening(queue.redis, queue.keys.control) as hints:
        assert queue.pause("c") == -1

    assert (queue.snapshot(), hints) == (before, [])
    assert queue.pause("b") == 3
    assert queue.pause() == 4
    queue.resume("a")
    assert queue.pause("c") == 6


def test_a_thousand_events_may_be_paused(queue: Queue) -> None:
    for n in range(changing.MAX_PAUSED_EVENTS):
        assert queue.pause(f"event-{n}") == n + 1

    assert queue.pause("one-more") == -1
    assert len(state(queue).events) == 1000


def test_a_queue_that_was_never_used_can_be_paused_and_has_an_epoch_then(queue: Queue) -> None:
    before = queue.now_ms() // 1000
    assert queue.pause() == 1

    assert queue.redis.hget(queue.keys.meta, "layout") == b"1"
    epoch = int(queue.redis.hget(queue.keys.meta, "epoch"))
    assert before <= epoch <= queue.now_ms() // 1000
    assert queue.emit(new_job()) == ["+1"]
    assert int(queue.redis.hget(queue.keys.meta, "epoch")) == epoch


def test_a_paused_queue_keeps_the_properties_it_had(queue: Queue) -> None:
    queue.run(tending.open_queue(queue.keys, queue.lane, 30_000))
    queue.emit(new_job())
    before = queue.redis.hgetall(queue.keys.meta)

    queue.pause()

    assert queue.redis.hgetall(queue.keys.meta) == {
        **before, b"paused": b"1", b"pause_state": b"1",
    }  # fmt: skip


FOREIGN_FIELDS: dict[str, Any] = {
    "another layout": ("layout", "2", "LAYOUT 2 1"),
    "a generation that is none": ("generation", "x", "generation that is not a number"),
    "a number that is none": ("pause_state", "x", "pause_state"),
}


@pytest.mark.parametrize(("field", "value", "error"), FOREIGN_FIELDS.values(), ids=FOREIGN_FIELDS)
@pytest.mark.parametrize("event", [None, "e"])
def test_a_queue_that_somebody_spoiled_is_left_alone(
    queue: Queue, field: str, value: str, error: str, event: str | None
) -> None:
    queue.emit(new_job())
    queue.redis.hset(queue.keys.meta, field, value)
    before = queue.snapshot()

    with pytest.raises(ResponseError, match=error):
        queue.pause(event)

    assert queue.snapshot() == before


def test_a_queue_that_is_paused_takes_and_settles_jobs(queue: Queue) -> None:
    queue.pause()

    assert queue.emit(new_job("a"), new_job("b", due="+1")) == ["+1", "+2"]
