"""Count what happened in a run, and how much of it could be judged."""

from __future__ import annotations

from collections import Counter

from tests.chaos.history import History, run_of
from tests.chaos.promises.recovery import heard, orphans
from tests.chaos.promises.runs import judged
from tests.chaos.verdict import Rules


def counts(history: History) -> dict[str, int]:
    """Return the figures of a run."""
    starts = [start for starts in history.starts.values() for start in starts]
    said: Counter[str] = Counter(record.what for record in history.records)
    states = Counter(state for found in history.states().values() for state in found)
    faults = Counter(it.detail.split(" ")[0] for it in history.faults)
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
        "completed": states["completed"],
        "dead": states["dead"],
        "cancelled": states["cancelled"],
        "retried": said["retried"],
        "released": said["released"],
        "fenced": said["fenced"],
        **{f"fault {name}": number for name, number in sorted(faults.items())},
    }


def judgements(history: History, rules: Rules) -> dict[str, int]:
    """Return how much was far enough from every excuse to be judged.

    Jobs for a second run without a cause, runs that a kill ended for being late, and worker
    processes for being deaf.
    """
    return {
        "jobs": judged(history, rules),
        "orphans": len(orphans(history, rules)),
        "workers": len(heard(history, rules)),
    }
