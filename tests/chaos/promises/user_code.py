"""The application's code: what it raises, and what ends under it, concerns its own job only."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

from tests.chaos.history import History, Name, name_of, run_of
from tests.chaos.verdict import Rules, Violation
from tests.chaos.workload import KINDS
from tests.support.oracle import Record

_CUT_OFF = "CancelledError"
# What a run that was cut off must not come to.
_DECIDES = frozenset({"dead", "cancelled", "retried"})


def no_context_leaks(history: History, rules: Rules) -> Iterator[Violation]:
    """What begins, and what is called outside of runs, sees no run's context variables."""
    for it in history.leaked:
        text = f"{it.job} in {it.queue} was begun or told of in the context of {it.detail}"
        yield Violation("leaked context", text, it.job)


def who_is_cut_off_decides_nothing(history: History, rules: Rules) -> Iterator[Violation]:
    """A run that its process or its event loop cut off is no failure of its job (G1, G5).

    Nobody cancels a job here: what was cancelled and has not raised that itself was cut off.
    """
    for generation, failures in history.raised.items():
        for it in failures:
            verdict = history.verdicts.get(run_of(it))
            if verdict is None or verdict.what not in _DECIDES or verdict.at < it.at:
                continue
            if it.detail == _CUT_OFF and not _raises(it):
                text = f"{generation} was cut off in {it.who}, and is {verdict.what} for that"
                yield Violation("cut off", text, generation.job)


def every_death_is_told(history: History, rules: Rules) -> Iterator[Violation]:
    """A callback gets each letter of its process, whatever it raised of those before.

    Who was cut off may not have come so far: it counts that a later one was told, or that
    the process has ended in order.
    """
    for who, deaths in _deaths(history).items():
        told = {name_of(it) for it in history.told.get(who, ())}
        last = max((at for name, at in deaths.items() if name in told), default=0.0)
        for name, at in deaths.items():
            if name not in told and (at < last or who in history.down):
                text = f"{name} is dead by {who}, and its callback was not told"
                yield Violation("not told", text, name.job)


def _deaths(history: History) -> dict[str, dict[Name, float]]:
    """Return of each process which jobs it recorded as dead, and when."""
    found: defaultdict[str, dict[Name, float]] = defaultdict(dict)
    for verdicts in history.ended.values():
        for it in verdicts:
            if it.what == "dead":
                found[it.who][name_of(it)] = it.at
    return found


def _raises(record: Record) -> bool:
    """Whether a job is of a kind that raises anything by itself."""
    kind = KINDS.get(record.event)
    return kind is not None and kind.raises
