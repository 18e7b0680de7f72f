"""Recovery: what a dead worker held is run again in time, and the whole fleet works in the end."""

from __future__ import annotations

from collections.abc import Iterator

from tests.chaos.blame import Blame
from tests.chaos.history import History, generation_of, name_of
from tests.chaos.promises.runs import unended
from tests.chaos.verdict import Rules, Violation
from tests.chaos.workload import LINE, SPOILED
from tests.support.oracle import Record

# For slots to be free and for processes to be scheduled, on a loaded machine.
_SLACK = 3.0
# A worker that can be seen to be well for so long beyond a lease has looked for orphans.
_LOOKS = 1.0
_IN_LINE = f"worker-{LINE}"
# Without the time to let jobs finish. What an ended loop has not handed back waits as well.
_ENDS_AT_ONCE = frozenset({"kill", "end-loop"})
# After the faults a process that does nothing for so long, while others begin, is deaf.
_DEAF = 5.0


def orphans_are_taken_over(history: History, rules: Rules) -> Iterator[Violation]:
    """What was cut off, with its process or with its loop, starts again within a lease and a
    sweep (G7).
    """
    blame = Blame(history, rules)
    for orphan, died, second in orphans(history, rules):
        waited = second.at - died
        # Who took it over may have been held up before it could start it.
        was_there = blame.is_there(second.name, second.at - blame.takeover, second.at)
        if was_there and waited > blame.takeover + _SLACK:
            text = f"{orphan.job} of {orphan.who}, which was cut off, waited {waited:.1f} s"
            yield Violation("late", text, orphan.job, history.known_from(name_of(orphan)))


def orphans(history: History, rules: Rules) -> list[tuple[Record, float, Record]]:
    """Return runs that were cut off and that somebody well was there to repeat in time.

    Each with when its worker died, and the run that followed. A run that followed later than
    the next hand-out is not among them: somebody else had it in between.
    """
    blame = Blame(history, rules)
    return [
        (orphan, fault.at, second)
        for fault in history.faults
        if fault.detail in _ENDS_AT_ONCE and fault.on.startswith("worker")
        for orphan in _held(history, fault)
        if (second := _next_run(history, orphan)) is not None
        and _somebody_was_there(history, blame, orphan.queue, fault.at)
    ]


def _held(history: History, fault: Record) -> Iterator[Record]:
    """Yield the runs that a fault ended; in a spoiled queue nobody can take over."""
    who = history.process_at(fault.on, fault.at)
    for starts in history.starts.values():
        run = unended(history, starts, who, fault.at) if who else None
        if run is not None and run.queue != SPOILED:
            yield run


def _next_run(history: History, orphan: Record) -> Record | None:
    starts = history.starts.get(generation_of(orphan), [])
    later = [it for it in starts if it.at > orphan.at]
    # The third delivery is a solo run, which waits for all others.
    if not later or later[0].delivery != orphan.delivery + 1 or orphan.delivery > 1:
        return None
    return later[0]


def _somebody_was_there(history: History, blame: Blame, queue: str, died: float) -> bool:
    """Whether a worker of the queue was well for long enough to sweep when the lease was over."""
    since, until = died + blame.lease, died + blame.takeover + _SLACK
    span = blame.takeover - blame.lease + _LOOKS
    workers = _workers(history, queue)
    return blame.last_there(workers, since, until, span=span) > 0


def _workers(history: History, queue: str) -> set[str]:
    """Return the names of the workers that read a queue, by what they have run."""
    return {it[0].name for it in history.starts.values() if it[0].queue == queue}


def nobody_is_deaf(history: History, rules: Rules) -> Iterator[Violation]:
    """When the faults are over each worker process begins jobs, as long as others do."""
    for who, begin, until in heard(history, rules):
        begun = any(it.who == who and it.at >= begin for it in _starts(history))
        if not begun:
            text = f"{who} began nothing for {until - begin:.1f} s while others did, after the end"
            yield Violation("deaf", text)


def heard(history: History, rules: Rules) -> list[tuple[str, float, float]]:
    """Return the worker processes that had to begin something after the end of the faults.

    Each with when that time began, and until when there was something to begin.
    """
    healed = history.healed
    if healed is None:
        return []
    waves = [it.at for it in _starts(history) if it.event == "probe"]
    last = max(waves, default=0.0)
    found = []
    for name, ups in history.came_up.items():
        if name == _IN_LINE:
            # Nobody else would do its work: that is what drained tells.
            continue
        begin = max(healed.at, ups[-1].at)
        if last - begin > _DEAF:
            found.append((ups[-1].who, begin, last))
    return found


def _starts(history: History) -> Iterator[Record]:
    for starts in history.starts.values():
        yield from starts
