"""Emits: what was acknowledged ends, once; what runs was emitted; and enough was emitted."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterator

from tests.chaos.blame import Blame
from tests.chaos.history import History, Name
from tests.chaos.verdict import Rules, Violation
from tests.chaos.workload import KINDS, OTHER, SPOILED, WORK, Source

# Wall clocks of two processes of a machine are one, but it may be set meanwhile.
CLOCK_SLACK = 0.05
# What a run of such a length must have had at least, to be worth anything.
_LONG, _MANY = 60.0, 1000
# Of the jobs of a kind that were meant to be emitted, this share must have run. Where few
# were meant, none may have been.
_LEAST_SHARE, _FEW = 0.1, 30


def nothing_lost(history: History, rules: Rules) -> Iterator[Violation]:
    """What was acknowledged has ended."""
    ended = {generation.name for generation in history.states()}
    for name in history.acks:
        if not history.became[name] <= ended:
            text = f"{name} was acknowledged and never ended"
            yield Violation("lost", text, name.job, history.known_from(name))


def nothing_unexpected(history: History, rules: Rules) -> Iterator[Violation]:
    """What runs was emitted by somebody, and not refused."""
    declared = {child for children in history.children.values() for child in children}
    for generation in history.starts:
        name = generation.name
        if name in declared or source_of(history, name) in (Source.STORM, Source.SCHEDULE):
            continue
        outcomes = history.outcomes.get(name)
        if outcomes is None:
            yield Violation("unexpected", f"{name} ran and was never emitted", name.job)
        elif outcomes["refused"] + outcomes["not_sent"] == outcomes["tried"]:
            yield Violation("unexpected", f"{name} ran although its emit was refused", name.job)


def no_generation_too_many(history: History, rules: Rules) -> Iterator[Violation]:
    """An emit makes one job, however often its request was sent (G4)."""
    lives = Counter(generation.name for generation in {*history.starts, *history.states()})
    for name, number in lives.items():
        most = max(1, len(history.tries.get(name, ())))
        if number > most:
            text = f"{name} was emitted {most} times and lived {number} times"
            yield Violation("emitted twice", text, name.job, history.known_from(name))


def one_job_a_key(history: History, rules: Rules) -> Iterator[Violation]:
    """Of the emits with an idempotency key only one becomes a job: it is kept for a day."""
    ran: defaultdict[str, set[Name]] = defaultdict(set)
    for generation in history.starts:
        name = generation.name
        if source_of(history, name) is Source.KEYED and (tries := history.tries.get(name)):
            ran[tries[0].detail].add(name)
    for key, names in ran.items():
        if len(names) > 1:
            text = f"{key} stands for {len(names)} jobs: {', '.join(it.job for it in names)}"
            first = min(names, key=history.known_from)
            yield Violation("key used twice", text, first.job, history.known_from(first))


def no_emit_fails(history: History, rules: Rules) -> Iterator[Violation]:
    """What a producer may be told is that Redis is away or full: anything else is an error."""
    blame = Blame(history, rules)
    for record in history.records:
        if record.what == "error" and not blame.is_spoiled(record):
            text = f"the emit of {record.job} failed: {record.detail}"
            yield Violation("emit failed", text, record.job)


def never_early(history: History, rules: Rules) -> Iterator[Violation]:
    """A delayed job does not start before its time (G10)."""
    for generation, starts in history.starts.items():
        due = history.due.get(generation.name, 0.0)
        early = due - starts[0].wall
        if due and early > CLOCK_SLACK:
            text = f"{generation.name} started {early:.3f} s before it was due"
            yield Violation("early", text, generation.job)


# Whether the run has shown anything


def enough_was_done(history: History, rules: Rules) -> Iterator[Violation]:
    """Emits were acknowledged, and of each kind that was meant to be emitted some jobs ran."""
    if not history.acks:
        yield Violation("too little", "no emit was acknowledged")
        return
    number = len(history.starts)
    if history.emitted_for() >= _LONG and number < _MANY:
        yield Violation("too little", f"{number} jobs ran, {_MANY} are the least")
    ran, spoils = _ran(history), Blame(history, rules).spoils()
    for kind, meant in _meant(history, sum(it.end - it.begin for it in spoils)).items():
        if ran[kind] < meant * _LEAST_SHARE:
            text = f"{ran[kind]} of {kind} ran, about {meant:.0f} were to be emitted"
            yield Violation("too little", text)


def _meant(history: History, spoiled_for: float) -> dict[str, float]:
    """Return how many jobs of each kind were to be emitted, where these are not few.

    None are in the seconds for which their queue was spoiled.
    """
    meant: defaultdict[str, float] = defaultdict(float)
    last = {record.who: record.at for record in history.records}
    for record in history.began:
        for event, rate in json.loads(record.detail).items():
            away = spoiled_for if KINDS[event].queue == SPOILED else 0.0
            meant[event] += rate * max(0.0, last[record.who] - record.at - away)
    found = {event: number for event, number in meant.items() if number >= _FEW}
    if "parent" in found:
        # Each has one of each queue, on the average.
        found |= {f"children in {queue}": found["parent"] / 2 for queue in (WORK, OTHER)}
    if "flaky" in found:
        found["retries"] = found["flaky"]
    if "nap" in found:
        found["priorities but 0"] = found["nap"] / 4
    return found


def _ran(history: History) -> Counter[str]:
    """Return how many emits of each kind became something that ran."""
    ran: Counter[str] = Counter(it.event for starts in history.starts.values() for it in starts[:1])
    for kind in KINDS.values():
        if kind.source in (Source.STORM, Source.KEYED):
            # Many of them become one job: their emits count.
            ran[kind.name] = sum(records[0].event == kind.name for records in history.acks.values())
    for generation in history.states():
        kind = KINDS.get(history.events.get(generation.name, ""))
        ran[kind.name if kind else ""] += kind is not None and not kind.begins
    for starts in history.starts.values():
        ran[f"children in {starts[0].queue}"] += starts[0].event == "child"
        ran["priorities but 0"] += starts[0].priority != 0
    ran["retries"] = sum(record.what == "retried" for record in history.records)
    return ran


def source_of(history: History, name: Name) -> Source | None:
    """Return who makes jobs of this one's kind appear, None when it is of no kind."""
    kind = KINDS.get(history.events.get(name, ""))
    return None if kind is None else kind.source
