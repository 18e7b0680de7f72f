"""Runs: in their order, not too soon, and none without a cause."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterator

from tests.chaos.blame import Blame
from tests.chaos.history import Generation, History, run_of
from tests.chaos.promises.emits import CLOCK_SLACK
from tests.chaos.verdict import Rules, Violation
from tests.chaos.workload import KINDS, LINE, NAP
from tests.support.oracle import Record

# What a handler ends with that is a failure of it; whatever else ends a run is none.
_FAILURES = frozenset({"ValueError", "Retry"})
# A run of so many jobs in which nothing could be judged has proved nothing.
_MANY = 1000


def no_attempt_burnt(history: History, rules: Rules) -> Iterator[Violation]:
    """An attempt is a failure that a handler had; crashes are none, nor is a stop (G5)."""
    for generation, starts in history.starts.items():
        failures = [it.at for it in history.raised.get(generation, ()) if it.detail in _FAILURES]
        for start in starts:
            before = sum(at < start.at for at in failures)
            if start.attempt > 1 + before:
                text = f"{generation} is at attempt {start.attempt} after {before} failures"
                yield Violation("attempt burnt", text, generation.job)


def no_retry_early(history: History, rules: Rules) -> Iterator[Violation]:
    """A job that failed or was snoozed waits for its delay (G10)."""
    raised = {run_of(it): it for failures in history.raised.values() for it in failures}
    for generation, starts in history.starts.items():
        names = Counter(map(run_of, starts))
        for first, second in itertools.pairwise(starts):
            # In a group that was made anew: what ended which of them cannot be told.
            if names[run_of(first)] > 1:
                continue
            verdict, failure = history.verdicts.get(run_of(first)), raised.get(run_of(first))
            if verdict is None or verdict.what != "retried" or failure is None:
                continue
            early = failure.wall + _delay(failure) - second.wall
            if early > CLOCK_SLACK:
                text = f"{generation} was run again {early:.3f} s before its delay was over"
                yield Violation("early", text, generation.job)


def _delay(failure: Record) -> float:
    """Return the seconds that a job is away after what its handler raised."""
    if failure.detail == "Snooze":
        return NAP
    kind = KINDS.get(failure.event)
    # A Retry says its own delay, here none; of a failure it doubles each time.
    if kind is None or failure.detail != "ValueError":
        return 0.0
    return kind.retry_delay * 2.0 ** (failure.attempt - 1)


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
            at = min(before.at, start.at)
            yield Violation("order", text, start.job, at)
        last[start.priority] = start


def no_run_without_cause(history: History, rules: Rules) -> Iterator[Violation]:
    """A job is run again only when something happened to its worker (G7, G8)."""
    blame = Blame(history, rules)
    for generation, starts in history.starts.items():
        for first, second in _repeated(history, starts):
            if not blame.explains_rerun(first, second.at):
                text = f"{generation} was run by {first.who} and, for no reason, by {second.who}"
                yield Violation("run again", text, generation.job)


def some_runs_were_judged(history: History, rules: Rules) -> Iterator[Violation]:
    """Not every run of a long storm would have been forgiven its repetition."""
    if len(history.starts) >= _MANY and not judged(history, rules):
        yield Violation("too little", "each run was near a fault: none was judged for a second")


def judged(history: History, rules: Rules) -> int:
    """Return how many jobs would be condemned if they were run again as soon as that may be."""
    blame = Blame(history, rules)
    return sum(
        not blame.explains_rerun(starts[0], starts[0].at + blame.takeover)
        for starts in history.starts.values()
    )


def _repeated(history: History, starts: list[Record]) -> Iterator[tuple[Record, Record]]:
    """Yield the runs of a job that were followed by another, and that, though they had no say."""
    for first, second in itertools.pairwise(starts):
        if run_of(first) not in history.gone_on:
            yield first, second


def unended(history: History, starts: list[Record], who: str, at: float) -> Record | None:
    """Return the run of a job that a process had begun and not ended at a time, if it had."""
    own = [it for it in starts if it.who == who and it.at <= at]
    if not own:
        return None
    over = history.verdict_at(own[-1])
    ends = [it.at for it in history.ended.get(_life(own[-1]), ())]
    return own[-1] if over is None and not any(it <= at for it in ends) else None


def _life(record: Record) -> Generation:
    return Generation(record.queue, record.job, record.generation)
