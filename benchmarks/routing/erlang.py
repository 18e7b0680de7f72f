"""The waits of the simplest queue, as formulas: they check the simulator.

Jobs come at random (Poisson), take exponential times, and wait in one queue for several servers:
M/M/c. The formula is Erlang C, from A. K. Erlang, "Solution of some Problems in the Theory of
Probabilities of Significance in Automatic Telephone Exchanges", 1917. It is computed from Erlang B
as in Donald Gross and others, "Fundamentals of Queueing Theory", section on M/M/c/c.
"""

from __future__ import annotations

import math


def waiting_probability(servers: int, load: float) -> float:
    """Return the share of jobs that have to wait; load is that of each server, below 1."""
    offered = servers * load
    blocked = 1.0
    for number in range(1, servers + 1):
        blocked = offered * blocked / (number + offered * blocked)
    return blocked / (1 - load * (1 - blocked))


def wait_percentile(servers: int, load: float, share: float) -> float:
    """Return the wait that a share of the jobs does not exceed, in mean service times."""
    waiting = waiting_probability(servers, load)
    if waiting <= 1 - share:
        return 0.0
    return math.log(waiting / (1 - share)) / (servers * (1 - load))
