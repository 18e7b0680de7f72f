"""How many jobs are held beside those that run, by how fast the slots turn over."""

from __future__ import annotations

import pytest

from consumers.fetch.prefetch import Prefetch


def after(slots: int, ended: int, seconds: float) -> Prefetch:
    prefetch = Prefetch(slots, now=0.0)
    for _ in range(ended):
        prefetch.ended()
    prefetch.measure(seconds)
    return prefetch


@pytest.mark.parametrize(
    ("slots", "ended", "seconds", "allowed"),
    [
        # A quarter at the beginning, and where handlers take a second.
        (256, 0, 0.5, 64),
        (256, 256, 1.0, 64),
        # What starts within half a second, where that is less.
        (256, 20, 1.0, 10),
        (256, 20, 2.0, 5),
        (256, 0, 2.0, 0),
        # What they use up in 5 ms, where that is more.
        (256, 2_000, 0.1, 100),
        # One more for each slot at the most.
        (256, 8_000, 0.1, 256),
        (10, 2_000, 0.1, 10),
        # Nothing with few slots: their priorities are exact.
        (1, 1_000, 0.5, 0),
        (3, 1_000, 0.5, 0),
        (4, 1_000, 0.5, 4),
    ],
)
def test_holds_what_the_slots_use_up_within_a_read(
    slots: int, ended: int, seconds: float, allowed: int
) -> None:
    assert after(slots, ended, seconds).allowed == allowed


def test_a_burst_is_not_taken_for_a_rate() -> None:
    # 256 handlers of a second that end together.
    assert after(256, 256, 0.01).allowed == 64
    assert after(256, 256, 0.1).allowed == 64


def test_runs_that_end_all_at_once_are_not_taken_for_a_rate() -> None:
    prefetch = after(100, 0, 1.0)
    for _ in range(100):
        prefetch.ended()

    prefetch.measure(2.0)

    assert prefetch.allowed == 0


def test_holds_again_once_handlers_have_become_fast() -> None:
    prefetch = after(100, 0, 1.0)

    for second in (2.0, 3.0):
        for _ in range(100):
            prefetch.ended()
        prefetch.measure(second)

    assert prefetch.allowed == 25


def test_falls_back_when_handlers_become_slow() -> None:
    prefetch = after(256, 8_000, 0.1)
    assert prefetch.allowed == 256

    prefetch.measure(0.3)

    assert prefetch.allowed == 64


def test_holds_a_quarter_again_once_nothing_waits() -> None:
    prefetch = after(256, 8_000, 0.1)

    prefetch.rest(0.2)

    assert prefetch.allowed == 64
    prefetch.measure(0.35)
    assert prefetch.allowed == 64
