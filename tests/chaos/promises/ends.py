"""How jobs end: once, as their kind says, and as Redis says too."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator

from tests.chaos.blame import Blame
from tests.chaos.history import Generation, History, RunName, run_of
from tests.chaos.snapshot import End
from tests.chaos.verdict import Rules, Violation
from tests.chaos.workload import KINDS
from tests.support.oracle import Record

# As the workers of a run have them, see settings.max_deliveries and crash_loop.SOLO_CRASHES.
_MAX_DELIVERIES, _SOLO_CRASHES = 5, 2
# A verdict may be written down so long after Redis has it: its process may be held up.
_HELD_UP = 12.0


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
    """Jobs end as their kind says, by what workers were told and by what Redis says."""
    blame = Blame(history, rules)
    for generation, verdicts in history.ended.items():
        for it in verdicts:
            yield from _judged(history, blame, generation, it.what, it.detail, it.delivery)
    for end in history.snapshot.ends if history.snapshot else ():
        generation = Generation(end.queue, end.job, end.generation)
        reason = end.value if end.is_letter or end.state == "cancelled" else None
        yield from _judged(history, blame, generation, end.state, reason, end.delivered)


def _judged(
    history: History, blame: Blame, generation: Generation, state: str, reason: str | None,
    delivered: int,
) -> Iterator[Violation]:  # fmt: skip
    """Yield what is wrong with an end; no reason is known where it is None."""
    if state == "dead" and reason == "crash_loop":
        yield from _crashed(history, blame, generation, delivered)
        return
    kind, starts = (
        KINDS.get(history.events.get(generation.name, "")),
        history.starts.get(generation, []),
    )
    if kind is None:
        return
    if (state, reason) == ("dead", None):
        # Its letter is judged.
        return
    if state != kind.end or (state != "completed" and reason != kind.reason):
        text = f"{generation} is {state} ({reason}), not {kind.end} {kind.reason}"
        yield Violation("wrong state", text, generation.job)
    elif starts and not kind.begins:
        text = f"{generation} has run, what refuses its payload was passed over"
        yield Violation("wrong state", text, generation.job)
    elif kind.begins and not starts:
        text = f"{generation} is {state} and has never run"
        yield Violation("wrong state", text, generation.job)
    elif reason == "failed" and max(it.attempt for it in starts) <= kind.retries:
        text = f"{generation} is {state} before its last retry"
        yield Violation("wrong state", text, generation.job)


def _crashed(
    history: History, blame: Blame, generation: Generation, delivered: int
) -> Iterator[Violation]:
    """Only who was held in that many crashes, and ran alone in some, may die of them."""
    starts = history.starts.get(generation, [])
    crashes = sum(
        history.verdict_at(it) is None and blame.explains_rerun(it, it.at + blame.takeover)
        for it in starts
    )
    if delivered <= _MAX_DELIVERIES or crashes < _SOLO_CRASHES:
        text = f"{generation} is dead of crashes: {delivered} deliveries, {crashes} crashed runs"
        yield Violation("wrong state", text, generation.job)


def what_was_said_is_stored(history: History, rules: Rules) -> Iterator[Violation]:
    """Of a recorded end Redis has the result, and the letter if it is a death (G6)."""
    stored = history.stored()
    for generation, verdicts in history.ended.items():
        last = verdicts[-1]
        # What was recorded before Redis lost it may be written down later.
        at = max(last.at - _HELD_UP, 0.0)
        if wrong := _missing(generation, last, stored.get(generation.name, [])):
            text = f"{generation} is {last.what} by {last.who}, {wrong}"
            yield Violation("not stored", text, generation.job, at)


def letters_are_whole(history: History, rules: Rules) -> Iterator[Violation]:
    """Who is dead has a letter, with its payload and why it died (G6)."""
    ends = history.snapshot.ends if history.snapshot else []
    letters = {(it.queue, it.job, it.generation) for it in ends if it.is_letter}
    for end in ends:
        if end.state == "dead" and (end.queue, end.job, end.generation) not in letters:
            text = f"{end.job} in {end.queue} is dead, and there is no letter of it"
            yield Violation("not stored", text, end.job)
        if end.lacks:
            text = f"the letter of {end.job} in {end.queue} has no {end.lacks}"
            yield Violation("not stored", text, end.job)


def _missing(generation: Generation, verdict: Record, ends: list[End]) -> str:
    """Return what Redis has not of an end; a result makes place for that of the id's next life."""
    letters = [it for it in ends if it.is_letter and it.generation == generation.generation]
    if verdict.what == "dead" and not letters:
        return "and there is no letter of it"
    results = [it for it in ends if not it.is_letter]
    own = [it for it in results if it.generation == generation.generation]
    if not results:
        return "and Redis has no result"
    if own and own[0].state != verdict.what:
        return f"and Redis says {own[0].state}"
    run = run_of(verdict)
    if own and verdict.what == "completed" and isinstance(own[0].value, dict):
        by = (own[0].value["who"], own[0].value["delivery"])
        return "" if by == (run.who, run.delivery) else f"and the result is of {by}"
    return ""


def what_is_stored_was_run(history: History, rules: Rules) -> Iterator[Violation]:
    """A result is that of a run, and takes no other life's place but an earlier one's."""
    begun = {run_of(it) for starts in history.starts.values() for it in starts}
    lives = {generation.name: generation.generation for generation in sorted(history.ended)}
    for run, generation in history.stored_runs().items():
        if run not in begun:
            text = f"the result of {generation} is of {run}, which never started"
            yield Violation("not stored", text, generation.job)
        elif generation.generation < lives.get(generation.name, 0):
            text = f"{generation} has a result, its id lived again after that"
            yield Violation("not stored", text, generation.job, history.known_from(generation.name))


def fenced_means_not_recorded(history: History, rules: Rules) -> Iterator[Violation]:
    """Who is told that nothing was recorded can rely on it (G4)."""
    stored = history.stored_runs()
    told = Counter(run_of(verdict) for verdict in history.fenced)
    begun = defaultdict[RunName, list[float]](list)
    for start in (it for starts in history.starts.values() for it in starts):
        begun[run_of(start)].append(start.at)
    for verdict in history.fenced:
        run = run_of(verdict)
        # After its group was lost a job may be delivered to the same worker as if for the
        # first time; then the result may be that of the second run. What was only held
        # never began before it was told.
        again = len(begun[run]) > told[run] or any(at > verdict.at for at in begun[run])
        if run in stored and not again:
            text = f"{run} was told that it was fenced, but its result is stored"
            yield Violation("fenced but recorded", text, verdict.job)


def counters_agree(history: History, rules: Rules) -> Iterator[Violation]:
    """Each queue has counted the jobs that completed."""
    assert history.snapshot is not None
    states = history.states()
    known: Counter[str] = Counter()
    untold: Counter[str] = Counter()
    for generation in {*history.starts, *states}:
        known[generation.queue] += "completed" in states.get(generation, ())
        # Its worker died with the verdict, and its result made place for the next life's.
        untold[generation.queue] += generation not in states
    for queue, counted in history.snapshot.completed.items():
        if not known[queue] <= counted <= known[queue] + untold[queue]:
            text = f"{queue} counts {counted} completed jobs, known are {known[queue]}"
            yield Violation("counters", text)
