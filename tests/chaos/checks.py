"""What must be true of a run, each as a function of its history.

A kind of jobs that comes with a promise of its own (schedules, debounce) adds
its check to CHECKS.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from processors.schedule import fire_of
from tests.chaos.history import History, Name, run_of
from tests.chaos.workload import KINDS, LINE, Source
from tests.support.oracle import Record

# What an outage may still cause after it is over: watchdogs give a silent
# connection up after 10 s, and a lease lost meanwhile is found by the next sweep.
_AFTERMATH = 12.0
# Wall clocks of two processes of a machine are one, but it may be set meanwhile.
_CLOCK_SLACK = 0.05
# Of the schedule, EVERY_SECOND.
_FIRE_MS = 1000
# Of a server without persistence.
# A fault is noted before it is done, and a loaded machine may wait in between. Seconds.
_LOSS_TAKES = 0.5
_LOSSES = frozenset({"flush-all", "kill-redis"})


@dataclass(frozen=True, slots=True)
class Violation:
    """A promise that was broken; job is the counter-example, where one job is it.

    at is when that job was first tried, where it matters.
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


@dataclass(frozen=True, slots=True)
class Check:
    """needs_end: it can only be judged when the run is drained; of_data: only if data are kept."""

    judge: Judge
    needs_end: bool = True
    of_data: bool = False


def check(history: History, rules: Rules) -> list[Violation]:
    """Return every violation that can be told by now."""
    return [
        violation
        for it in CHECKS
        if (history.snapshot is not None or not it.needs_end)
        and (rules.keeps_data or not it.of_data)
        for violation in it.judge(history, rules)
    ]


def losses(history: History, rules: Rules) -> list[Violation]:
    """Return what a run that lost data has lost: reported, not condemned."""
    return [it for entry in CHECKS if entry.of_data for it in entry.judge(history, rules)]


# Jobs, from the emit to the end


def drained(history: History, rules: Rules) -> Iterator[Violation]:
    """Nothing waits, runs, is delayed or on its way."""
    assert history.snapshot is not None
    for where, number in history.snapshot.left.items():
        yield Violation("drained", f"{where} still has {number}")


def nothing_lost(history: History, rules: Rules) -> Iterator[Violation]:
    """What was acknowledged has ended."""
    ended = {generation.name for generation in history.states()}
    for name, outcomes in history.outcomes.items():
        if outcomes["ack"] and not history.became.get(name, {name}) <= ended:
            text = f"{name} was acknowledged and never ended"
            yield Violation("lost", text, name.job, history.tried_at[name])


def lost_with_the_data_only(history: History, rules: Rules) -> Iterator[Violation]:
    """What was emitted after Redis last lost its data has ended."""
    if rules.keeps_data:
        return
    last = max((it.at for it in history.faults if it.detail in _LOSSES), default=0.0)
    for violation in nothing_lost(history, rules):
        if violation.at > last + _LOSS_TAKES:
            yield violation


def nothing_unexpected(history: History, rules: Rules) -> Iterator[Violation]:
    """What runs was emitted by somebody, and not refused."""
    declared = {child for children in history.children.values() for child in children}
    for generation in history.starts:
        name = generation.name
        if name in declared or _source(history, name) in (Source.STORM, Source.SCHEDULE):
            continue
        outcomes = history.outcomes.get(name)
        if outcomes is None:
            yield Violation("unexpected", f"{name} ran and was never emitted", name.job)
        elif outcomes["refused"] + outcomes["not_sent"] == outcomes["tried"]:
            yield Violation("unexpected", f"{name} ran although its emit was refused", name.job)


def no_storm_unexpected(history: History, rules: Rules) -> Iterator[Violation]:
    """What runs for a storm is what its emits became, as far as somebody was told."""
    ran = {it.name for it in history.starts if _source(history, it.name) is Source.STORM}
    told = {job for jobs in history.became.values() for job in jobs}
    untold = sum(
        outcomes["tried"] - outcomes["ack"] - outcomes["refused"]
        for name, outcomes in history.outcomes.items()
        if _source(history, name) is Source.STORM
    )
    if len(ran - told) > untold:
        text = f"{len(ran - told)} runs of storms are nobody's, {untold} emits were not told of"
        yield Violation("unexpected", text, next(iter(ran - told)).job)


def every_fire_once(history: History, rules: Rules) -> Iterator[Violation]:
    """Each fire time between the first and the last has its job (G9); one: see emitted twice."""
    fires = (fire_of(it.job) for it in {*history.starts, *history.states()})
    times = sorted({fire[1] for fire in fires if fire is not None})
    for before, after in itertools.pairwise(times):
        if after - before != _FIRE_MS:
            yield Violation("fire missing", f"nothing was fired between {before} and {after}")


def _source(history: History, name: Name) -> Source | None:
    kind = KINDS.get(history.events.get(name, ""))
    return None if kind is None else kind.source


def no_generation_too_many(history: History, rules: Rules) -> Iterator[Violation]:
    """An emit makes one job, however often its request was sent (G4)."""
    lives = Counter(generation.name for generation in {*history.starts, *history.states()})
    for name, number in lives.items():
        most = max(1, history.outcomes[name]["tried"]) if name in history.outcomes else 1
        if number > most:
            text = f"{name} was emitted {most} times and lived {number} times"
            yield Violation("emitted twice", text, name.job)


def never_early(history: History, rules: Rules) -> Iterator[Violation]:
    """A delayed job does not start before its time (G10)."""
    for generation, starts in history.starts.items():
        due = history.due.get(generation.name, 0.0)
        early = due - starts[0].wall
        if due and early > _CLOCK_SLACK:
            text = f"{generation.name} started {early:.3f} s before it was due"
            yield Violation("early", text, generation.job)


# Outcomes


def one_outcome(history: History, rules: Rules) -> Iterator[Violation]:
    """At most one recorded end a generation (G2)."""
    for generation, verdicts in history.ended.items():
        if len(verdicts) > 1:
            by = ", ".join(f"{it.what} by {it.who}" for it in verdicts)
            yield Violation("committed twice", f"{generation}: {by}", generation.job)


def one_state(history: History, rules: Rules) -> Iterator[Violation]:
    """Never both done and dead (G6)."""
    for generation, states in history.states().items():
        if len(states) > 1:
            text = f"{generation} is {' and '.join(sorted(states))}"
            yield Violation("two states", text, generation.job)


def the_right_state(history: History, rules: Rules) -> Iterator[Violation]:
    """Jobs end as their kind says; those that were held in too many crashes may be dead."""
    for generation, verdicts in history.ended.items():
        for verdict in verdicts:
            kind = KINDS.get(verdict.event)
            may_be = verdict.what == "dead" and verdict.detail == "crash_loop"
            if kind is not None and verdict.what != kind.end and not may_be:
                text = f"{generation} is {verdict.what} ({verdict.detail}), not {kind.end}"
                yield Violation("wrong state", text, generation.job)


def fenced_means_not_recorded(history: History, rules: Rules) -> Iterator[Violation]:
    """Who is told that nothing was recorded can rely on it (G4)."""
    stored = history.stored_runs()
    told = Counter(run_of(verdict) for verdict in history.fenced)
    begun = Counter(run_of(it) for starts in history.starts.values() for it in starts)
    for verdict in history.fenced:
        run = run_of(verdict)
        # After its group was lost a job may be delivered to the same worker as
        # if for the first time; then the result may be that of the second run.
        if run in stored and begun[run] <= told[run]:
            text = f"{run} was told that it was fenced, but its result is stored"
            yield Violation("fenced but recorded", text, verdict.job)


def counters_agree(history: History, rules: Rules) -> Iterator[Violation]:
    """Each queue has counted the jobs that completed."""
    assert history.snapshot is not None
    known: Counter[str] = Counter()
    again: Counter[str] = Counter()
    for generation, states in history.states().items():
        known[generation.queue] += "completed" in states
    for name, outcomes in history.outcomes.items():
        # Of an id with two lives Redis has the last result only.
        again[name.queue] += outcomes["tried"] - 1
    for queue, counted in history.snapshot.completed.items():
        if not known[queue] <= counted <= known[queue] + again[queue]:
            text = f"{queue} counts {counted} completed jobs, known are {known[queue]}"
            yield Violation("counters", text)


# Children


def children_with_their_parents(history: History, rules: Rules) -> Iterator[Violation]:
    """Each completed parent has exactly the children that its run declared (G3)."""
    owed = {
        child: run.job
        for run in history.committed_runs()
        for child in history.children.get(run, ())
    }
    ended = {generation.name for generation in history.states()}
    for child, parent in owed.items():
        if child not in ended:
            yield Violation("child missing", f"{child} of {parent} never ended", child.job)
    started = {generation.name for generation in history.starts}
    for run, children in history.children.items():
        for child in children:
            if child in started and child not in owed:
                text = f"{child} ran, its parent {run.job} did not complete with it"
                yield Violation("child without parent", text, child.job)


# Runs


def no_attempt_burnt(history: History, rules: Rules) -> Iterator[Violation]:
    """An attempt is a failure that a handler had; crashes are none (G5)."""
    for generation, starts in history.starts.items():
        failures = [failure.at for failure in history.raised.get(generation, ())]
        for start in starts:
            before = sum(at < start.at for at in failures)
            if start.attempt > 1 + before:
                text = f"{generation} is at attempt {start.attempt} after {before} failures"
                yield Violation("attempt burnt", text, generation.job)


def in_line(history: History, rules: Rules) -> Iterator[Violation]:
    """One worker with one slot starts the jobs of a priority in their order.

    Who was delivered before is exempt: it lost its place with its first worker.
    """
    last: dict[int, Record] = {}
    for start in sorted((it[0] for it in history.starts.values()), key=lambda it: it.at):
        if start.queue != LINE or start.delivery > 1:
            continue
        before = last.get(start.priority)
        if before is not None and before.generation > start.generation:
            text = f"{start.job} started after {before.job}, which was emitted later"
            yield Violation("order", text, start.job)
        last[start.priority] = start


def no_run_without_cause(history: History, rules: Rules) -> Iterator[Violation]:
    """A job is delivered again only when something happened to its worker (G7, G8)."""
    for generation, starts in history.starts.items():
        for first, second in itertools.pairwise(starts):
            if run_of(first) in history.gone_on or _explained(history, rules, first, second):
                continue
            text = f"{generation} was run by {first.who} and, for no reason, by {second.who}"
            yield Violation("run again", text, generation.job)


def _explained(history: History, rules: Rules, first: Record, second: Record) -> bool:
    begin, end = first.at - rules.lease - _AFTERMATH, second.at
    return any(
        fault.at <= end and fault.at + fault.span >= begin
        for fault in history.faults
        if fault.on in ("", first.name)
    )


# The rest


def nothing_stray(history: History, rules: Rules) -> Iterator[Violation]:
    """No key without an expiry that may not stay, none that is nobody's."""
    assert history.snapshot is not None
    for text in history.snapshot.stray:
        yield Violation("stray key", text)


def nobody_died(history: History, rules: Rules) -> Iterator[Violation]:
    """No process ends unless it is told to."""
    for record in history.died:
        yield Violation("died", record.detail)


CHECKS: Sequence[Check] = (
    Check(one_outcome, needs_end=False),
    Check(one_state),
    Check(nothing_lost, of_data=True),
    Check(lost_with_the_data_only),
    Check(nothing_unexpected, needs_end=False),
    Check(no_storm_unexpected, of_data=True),
    Check(every_fire_once, of_data=True),
    Check(no_generation_too_many, needs_end=False, of_data=True),
    Check(children_with_their_parents, of_data=True),
    Check(the_right_state, needs_end=False),
    Check(fenced_means_not_recorded),
    Check(never_early, needs_end=False),
    Check(no_attempt_burnt, needs_end=False),
    Check(in_line, needs_end=False, of_data=True),
    Check(no_run_without_cause, needs_end=False),
    Check(nobody_died, needs_end=False),
    Check(drained),
    Check(counters_agree, of_data=True),
    Check(nothing_stray),
)


def counts(history: History) -> dict[str, int]:
    """Return the figures of a run."""
    starts = [start for starts in history.starts.values() for start in starts]
    said: Counter[str] = Counter(record.what for record in history.records)
    replies = Counter(it.detail.split(" ")[0] for it in history.faults)
    return {
        "tried": said["try"],
        "acknowledged": said["ack"],
        "refused": said["refused"] + said["not_sent"],
        "unknown": said["unknown"],
        "jobs": len({*history.starts, *history.states()}),
        "runs": len(starts),
        "duplicate runs": sum(
            run_of(first) not in history.gone_on
            for found in history.starts.values()
            for first in found[:-1]
        ),
        "completed": sum("completed" in it for it in history.states().values()),
        "dead": sum("dead" in it for it in history.states().values()),
        "cancelled": sum("cancelled" in it for it in history.states().values()),
        "retried": said["retried"],
        "released": said["released"],
        "fenced": said["fenced"],
        **{f"fault {name}": number for name, number in sorted(replies.items())},
    }
