"""How a producer chooses among workers that each have a queue of their own.

The simulator and the measured producer share these: both know how many jobs each worker has.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

# Given how many jobs each worker has, waiting and running, and which of the workers may run
# the next one; returns a worker.
Choose = Callable[[Sequence[int], Sequence[int]], int]


def shortest(rng: random.Random) -> Choose:
    """Return "join the shortest queue"; equals are drawn from."""

    def choose(jobs: Sequence[int], may_run: Sequence[int]) -> int:
        least = min(jobs[worker] for worker in may_run)
        return rng.choice([worker for worker in may_run if jobs[worker] == least])

    return choose


def two_choices(rng: random.Random) -> Choose:
    """Return "power of two choices": the shorter queue of two that are drawn.

    M. Mitzenmacher, "The Power of Two Choices in Randomized Load Balancing", 2001.
    """

    def choose(jobs: Sequence[int], may_run: Sequence[int]) -> int:
        drawn = rng.sample(may_run, min(2, len(may_run)))
        return min(drawn, key=jobs.__getitem__)

    return choose
