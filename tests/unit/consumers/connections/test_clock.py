"""What a process knows of Redis' clock after what Redis has told."""

from __future__ import annotations

import pytest

from consumers.connections import clock as module
from consumers.connections.clock import ServerClock


class Times:
    """This machine's clocks, at times that the test sets (s)."""

    monotonic_s = 100.0
    wall_s = 5_000.0

    def monotonic(self) -> float:
        return self.monotonic_s

    def time(self) -> float:
        return self.wall_s


def test_an_answer_that_waited_moves_the_clock_no_further_than_it_must(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    times = Times()
    monkeypatch.setattr(module, "time", times)
    clock = ServerClock()
    assert clock.now_ms() == 5_000_000

    # Redis is 2 s ahead, and the way there and back took 10 ms.
    clock.told(5_001, 995_000, asked=99.99)
    assert 5_001_995 <= clock.now_ms() <= 5_002_005

    # It looked at its clock soon after it was asked, and the loop took 3 s to read that.
    known, times.monotonic_s = clock.at(100.0), 103.0
    clock.told(5_002, 1_000, asked=100.0)
    assert clock.at(100.0) == known

    # It was set back by a minute.
    clock.told(4_945, 0, asked=102.99)
    assert 4_945_000 <= clock.now_ms() <= 4_945_010
