"""Debounced storms: many emits become one run, of the last one's data, at the right time."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

from tests.chaos.blame import Blame
from tests.chaos.history import Generation, History, Name
from tests.chaos.promises.emits import CLOCK_SLACK, source_of
from tests.chaos.verdict import Rules, Violation
from tests.chaos.workload import STORM_LONGEST, STORM_WINDOW, Source

# For promotion and for slots to be free; longer than it takes to notice a worker's death.
_SLACK = 5.0
# So many emits are never all alone.
_MANY = 30


def no_storm_unexpected(history: History, rules: Rules) -> Iterator[Violation]:
    """What runs for a storm is what its emits became, as far as somebody was told."""
    ran = {it.name for it in history.starts if source_of(history, it.name) is Source.STORM}
    told = {job for jobs in history.became.values() for job in jobs}
    untold = sum(
        outcomes["tried"] - outcomes["ack"] - outcomes["refused"]
        for name, outcomes in history.outcomes.items()
        if source_of(history, name) is Source.STORM
    )
    if len(ran - told) > untold:
        first = min(ran - told, key=history.known_from)
        text = f"{len(ran - told)} runs of storms are nobody's, {untold} emits were not told of"
        yield Violation("unexpected", text, first.job, history.known_from(first))


def storms_are_fewer_runs(history: History, rules: Rules) -> Iterator[Violation]:
    """Emits of a group that come together are one run."""
    emits = {name for found in _storms(history).values() for name in found}
    ran = sum(source_of(history, it.name) is Source.STORM for it in history.starts)
    if len(emits) >= _MANY and ran >= len(emits):
        yield Violation("not debounced", f"{len(emits)} emits of storms were run {ran} times")


def the_last_data_run(history: History, rules: Rules) -> Iterator[Violation]:
    """A storm's run has the data of its last emit."""
    for generation, emits in _ran_storms(history).items():
        start = history.starts[generation][0]
        told = history.acks.get(Name(generation.queue, start.detail))
        if not told:
            continue
        for name in emits:
            if history.tries[name][0].at > told[-1].at:
                text = f"{generation} ran with {start.detail}, {name.job} was emitted after that"
                at = min(history.tries[it][0].at for it in emits)
                yield Violation("old data", text, generation.job, at)


def storms_run_in_time(history: History, rules: Rules) -> Iterator[Violation]:
    """A storm's run starts a window after its last emit, at most its longest wait after the first.

    An emit has happened between its first try and its acknowledgement.
    """
    blame = Blame(history, rules)
    for generation, emits in _ran_storms(history).items():
        start = history.starts[generation][0]
        begun = [history.tries[it][0].wall for it in emits]
        first = min([*begun, *_untold(history, emits)])
        early = min(max(begun) + STORM_WINDOW, first + STORM_LONGEST) - start.wall
        at = min(history.tries[it][0].at for it in emits)
        if early > CLOCK_SLACK:
            text = f"{generation} started {early:.3f} s before its storm was over"
            yield Violation("early", text, generation.job, at)
        told = min(history.acks[it][-1].wall for it in emits)
        waited = start.wall - told
        late = waited - STORM_LONGEST - _SLACK - blame.takeover
        if late > 0 and blame.is_well("", start.at - waited, start.at):
            text = f"{generation} started {waited:.1f} s after its first emit"
            yield Violation("late", text, generation.job, at)


def _ran_storms(history: History) -> dict[Generation, set[Name]]:
    """Return the emits that each run of a storm is known to be of."""
    storms = _storms(history)
    return {
        generation: storms[generation.name]
        for generation in history.starts
        if generation.name in storms
    }


def _storms(history: History) -> dict[Name, set[Name]]:
    """Return the emits that became each job of a storm."""
    found: defaultdict[Name, set[Name]] = defaultdict(set)
    for name, jobs in history.became.items():
        if source_of(history, name) is Source.STORM:
            for job in jobs:
                found[job].add(name)
    return dict(found)


def _untold(history: History, emits: set[Name]) -> Iterator[float]:
    """Yield when emits of the same group were tried whose end nobody knows: one was the first."""
    group = history.tries[next(iter(emits))][0].detail
    for name, tries in history.tries.items():
        if tries[0].event != "storm" or tries[0].detail != group or name in emits:
            continue
        if len(tries) > len(history.acks.get(name, ())):
            yield tries[0].wall
