"""What remains when a run is over: nothing waits, no key is astray, nobody has died."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from tests.chaos.blame import Blame
from tests.chaos.history import History
from tests.chaos.verdict import Rules, Violation
from tests.chaos.workload import SPOILED

# How a worker says that it cannot start.
_SPOILED = f"queue '{SPOILED}' cannot be opened"


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
    """No process ends unless it is told to, or cannot open a queue that is spoiled."""
    blame = Blame(history, rules)
    for record in history.died:
        if _SPOILED in record.detail and blame.is_spoiled(replace(record, queue=SPOILED)):
            continue
        yield Violation("died", record.detail)
