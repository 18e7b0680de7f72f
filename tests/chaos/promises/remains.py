"""What remains when a run is over: nothing waits, no key is astray, nobody has died."""

from __future__ import annotations

from collections.abc import Iterator

from tests.chaos.history import History
from tests.chaos.verdict import Rules, Violation


def drained(history: History, rules: Rules) -> Iterator[Violation]:
    """Nothing waits, runs, is delayed or on its way."""
    assert history.snapshot is not None
    for where, number in history.snapshot.left.items():
        yield Violation("drained", f"{where} still has {number}")


def nothing_stray(history: History, rules: Rules) -> Iterator[Violation]:
    """No key without an expiry that may not stay, none that is nobody's."""
    assert history.snapshot is not None
    for text in history.snapshot.stray:
        yield Violation("stray key", text)


def nobody_died(history: History, rules: Rules) -> Iterator[Violation]:
    """No process ends unless it is told to."""
    for record in history.died:
        yield Violation("died", record.detail)
