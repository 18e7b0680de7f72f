"""A spoiled queue: the other queues of its workers go on."""

from __future__ import annotations

from collections.abc import Iterator

from tests.chaos.blame import Blame, Window
from tests.chaos.history import History
from tests.chaos.promises.emits import source_of
from tests.chaos.verdict import Rules, Violation
from tests.chaos.workload import WORK, Source

# So many jobs wait to be begun, and nobody who is well begins one.
_MANY = 20


def the_other_queues_go_on(history: History, rules: Rules) -> Iterator[Violation]:
    """While a queue is spoiled its workers begin jobs of the others, as long as there are any."""
    blame = Blame(history, rules)
    for window in blame.spoils():
        # By then each of them has looked at its queues.
        begin, end = (window.begin + window.end) / 2, window.end
        waiting = _emitted(history, begin, end)
        if waiting < _MANY or not _somebody_is_well(history, blame, window):
            continue
        if not _begun(history, begin, end):
            text = f"no job of {WORK} began while another queue was spoiled, {waiting} came"
            yield Violation("held up", text, at=begin)


def _emitted(history: History, begin: float, end: float) -> int:
    """Count the emits of a time that became jobs at once."""
    return sum(
        begin <= it.at <= end and it.queue == WORK
        for name, acks in history.acks.items()
        if source_of(history, name) is Source.PRODUCER and name not in history.due
        for it in acks
    )


def _begun(history: History, begin: float, end: float) -> bool:
    return any(
        begin <= it.at <= end and it.queue == WORK
        for starts in history.starts.values()
        for it in starts
    )


def _somebody_is_well(history: History, blame: Blame, window: Window) -> bool:
    workers = {it[0].name for it in history.starts.values() if it[0].queue == WORK}
    return any(blame.is_well(it, window.begin, window.end) for it in workers)
