"""Children: each completed parent has exactly those that its run declared."""

from __future__ import annotations

from collections.abc import Iterator

from tests.chaos.history import History
from tests.chaos.verdict import Rules, Violation


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
            text = f"{child} of {parent} never ended"
            yield Violation("child missing", text, child.job, history.known_from(child))
    started = {generation.name for generation in history.starts}
    for run, children in history.children.items():
        for child in children:
            if child in started and child not in owed:
                text = f"{child} ran, its parent {run.job} did not complete with it"
                at = history.known_from(child)
                yield Violation("child without parent", text, child.job, at)
