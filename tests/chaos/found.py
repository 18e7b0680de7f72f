"""What chaos has found in the engine: the runs are kept as they were when they failed.

A seed means another schedule as soon as plan.py deals otherwise, so the schedule
itself stands here. Each bug has a small test too, which is named with it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tests.chaos.plan import Step


@dataclass(frozen=True, slots=True)
class Found:
    """A run that was red once. An empty schedule is a run without faults; tested_by a node id."""

    profile: str
    seed: int
    seconds: float
    tested_by: str
    schedule: Sequence[Step] = ()


def _cut_off(*spans: tuple[float, str, float]) -> list[Step]:
    """Return when which worker is cut off, and for how many seconds."""
    steps = []
    for at, on, span in spans:
        steps += [Step(at, "refuse", on, span=span), Step(round(at + span, 2), "pass", on)]
    return sorted(steps)


FOUND: Mapping[str, Found] = {
    # A worker takes an entry over again while the outcome of its first delivery is on the
    # way, and the refusal of that outcome took the second one out of what it held.
    "an-entry-held-twice": Found(
        "partitions",
        seed=2,
        seconds=15.0,
        tested_by="tests/unit/consumers/lease/test_leases.py::"
        "test_g7_a_job_taken_over_again_is_started_although_its_first_run_is_still_unsettled",
        schedule=_cut_off(
            (0.48, "worker-1", 3.56),
            (0.88, "worker-3", 3.85),
            (1.18, "worker-2", 5.2),
            (2.64, "worker-line", 4.16),
            (7.04, "worker-line", 4.28),
            (7.35, "worker-2", 4.98),
            (9.05, "worker-1", 4.81),
        ),
    ),
    # What lay in the socket of a blocked event loop was started after its lease.
    "started-after-its-lease": Found(
        "blocked-loops",
        seed=1,
        seconds=15.0,
        tested_by="tests/fundamentals/test_g8_blocked_loop.py::"
        "test_g8_what_came_while_the_loop_was_blocked_is_not_run_a_second_time",
    ),
}
