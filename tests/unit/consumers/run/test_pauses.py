"""What a pause state holds, and what a worker knows of its queues'."""

from __future__ import annotations

import pytest

from consumers.run.pauses import Pauses
from consumers.store.pause_state import PauseState

NOTHING = PauseState()
WHOLE = PauseState(3, True)
EVENT = PauseState(2, False, frozenset({"e"}))


@pytest.mark.parametrize(
    ("values", "state"),
    [
        ([None, None, None], NOTHING),
        ([None, None, b"7"], PauseState(7)),
        ([b"1", None, b"3"], WHOLE),
        ([None, b"e", b"2"], EVENT),
        ([b"1", b"e f.g-h", b"12"], PauseState(12, True, frozenset({"e", "f.g-h"}))),
        ([None, b"", b"2"], PauseState(2)),
    ],
)
def test_a_state_is_read_from_the_fields_of_a_queue(
    values: list[bytes | None], state: PauseState
) -> None:
    assert PauseState.read(values) == state


def test_a_paused_queue_holds_every_event() -> None:
    assert WHOLE.covers("e")
    assert WHOLE.covers(None)


def test_a_paused_event_holds_its_jobs_and_neither_others_nor_the_queue() -> None:
    assert EVENT.covers("e")
    assert not EVENT.covers("f")
    assert not EVENT.covers(None)


def test_what_is_not_known_is_not_paused() -> None:
    pauses = Pauses()

    assert not pauses.any
    assert pauses.of("q") == NOTHING
    assert pauses.numbers() == {}


def test_news_are_told_from_what_is_known_already() -> None:
    pauses = Pauses()

    assert pauses.tell("q", EVENT)
    assert not pauses.tell("q", PauseState(2, False, frozenset({"e"})))
    assert pauses.tell("q", WHOLE)

    assert pauses.of("q") == WHOLE


def test_the_first_state_of_a_queue_is_news_although_nothing_is_paused() -> None:
    pauses = Pauses()

    # It is obeyed from now on, and whoever waits for that is to know.
    assert pauses.tell("q", NOTHING)
    assert pauses.numbers() == {"q": 0}


def test_it_is_known_whether_any_queue_has_something_paused() -> None:
    pauses = Pauses()
    pauses.tell("p", PauseState(1))
    assert not pauses.any

    pauses.tell("q", EVENT)
    pauses.tell("r", WHOLE)
    assert pauses.any
    pauses.tell("q", PauseState(3))
    assert pauses.any
    pauses.tell("r", PauseState(4))

    assert not pauses.any
    assert pauses.numbers() == {"p": 1, "q": 3, "r": 4}
