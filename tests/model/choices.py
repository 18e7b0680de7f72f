"""What the machine draws: jobs that somebody wants, outcomes of runs, children."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from hypothesis import strategies as st

from consumers.jobs.envelope import NewJob
from consumers.jobs.guards import debounced, idempotent
from consumers.jobs.lanes import Lane
from consumers.jobs.outcome import Buried, Cancelled, Completed, Outcome, Released, RetryAt

HOUR = 3_600_000
IDS = ("x", "y", "z", "w")
CONSUMERS = ("me", "you")
WRITERS = ("w1", "w2")

QUEUES = st.sampled_from(("a", "a", "b"))
GUARDS = st.sampled_from(
    (
        "",
        "",
        "",
        "",
        idempotent("k1"),
        idempotent("k2"),
        debounced("t1", window_ms=HOUR, longest_ms=10 * HOUR, mode="trailing"),
        # Here the longest wait decides.
        debounced("t2", window_ms=HOUR, longest_ms=HOUR, mode="trailing"),
        debounced("l1", window_ms=HOUR, longest_ms=10 * HOUR, mode="leading"),
    )
)


@dataclass(frozen=True)
class Wanted:
    """A job that somebody wants to emit."""

    id: str
    event: str
    number: int
    priority: int
    due: str
    guard: str

    def job(self, queue: str) -> NewJob:
        data = b'{"n": %d}' % self.number
        lane = Lane(queue, priority=self.priority)
        return NewJob(self.id, self.event, data, lane, due=self.due, guard=self.guard)

    def __repr__(self) -> str:
        more = [f"{self.priority:+}" * bool(self.priority), self.due, self.guard]
        return f"<{' '.join(filter(None, (self.id, self.event, str(self.number), *more)))}>"

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:
        # Hypothesis would print every field.
        printer.text(repr(self))


WANTED = st.builds(
    Wanted,
    id=st.sampled_from(IDS),
    event=st.sampled_from(("e", "f")),
    number=st.integers(0, 9),
    priority=st.sampled_from((0, 0, 5, -5)),
    due=st.sampled_from(("", "", "", f"+{HOUR}", "1")),
    guard=GUARDS,
)
OUTCOMES: st.SearchStrategy[Outcome] = st.one_of(
    st.builds(Completed, st.sampled_from((b"1", b"null"))),
    st.builds(
        RetryAt, st.sampled_from((0, HOUR)), st.sampled_from((b"", b'["oh"]')), st.booleans()
    ),
    st.builds(Buried, st.just("failed"), st.just("oh"), errors=st.sampled_from((b"", b'["dead"]'))),
    st.builds(Released, st.just("shutdown"), st.sampled_from((None, "e", "f", "g"))),
    st.just(Cancelled("discarded")),
)
CHILDREN = st.lists(st.tuples(st.sampled_from(("a", "b")), WANTED), min_size=1, max_size=2)
