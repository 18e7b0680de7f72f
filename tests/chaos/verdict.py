"""A broken promise, and what a promise is judged with."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from tests.chaos.history import History

# Checks that give a time limit: a machine that is busy enough breaks them by itself.
TIMED = frozenset({"late", "deaf", "held up"})


@dataclass(frozen=True, slots=True)
class Violation:
    """A promise that was broken; job is the counter-example, where one job is it.

    at is when that was first heard of (monotonic seconds), as far as what Redis lost before
    could be the reason.
    """

    check: str
    text: str
    job: str = ""
    at: float = 0.0


@dataclass(frozen=True, slots=True)
class Rules:
    """lease is in seconds; without keeps_data what was lost is reported only."""

    lease: float
    keeps_data: bool = True


Judge = Callable[[History, Rules], Iterable[Violation]]
