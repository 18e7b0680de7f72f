"""Queues in virtual time: how long jobs wait if choosing and handing over take no time.

There is no randomness here but what a choice draws: the same jobs have the same waits.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Sequence
from typing import NamedTuple

from benchmarks.routing.choices import Choose

# Which workers may run the jobs of each route, by its number.
MayRun = Sequence[Sequence[int]]


class Arrival(NamedTuple):
    """A job: when it comes and how long it runs, in one unit, and the number of its route."""

    at: float
    service: float
    route: int = 0


class Fleet(NamedTuple):
    """Workers with as many slots each, and which of them may run what."""

    workers: int
    slots: int
    may_run: MayRun

    @classmethod
    def alike(cls, workers: int, slots: int) -> Fleet:
        """Return a fleet of which every worker may run everything."""
        return cls(workers, slots, [range(workers)])


def central_queue(arrivals: Sequence[Arrival], fleet: Fleet) -> list[float]:
    """Return the waits of arrivals, which are in order of time, in one queue for all workers.

    A free slot takes the first job that its worker may run. This is the ideal: no slot is free
    while a job waits that may run there.
    """
    queue = _CentralQueue(arrivals, fleet)
    for number in range(len(arrivals)):
        queue.arrive(number)
    queue.run_until(float("inf"))
    return queue.waits


class _CentralQueue:
    def __init__(self, arrivals: Sequence[Arrival], fleet: Fleet) -> None:
        self.waits = [0.0] * len(arrivals)
        self._arrivals, self._may_run = arrivals, fleet.may_run
        self._free = [fleet.slots] * fleet.workers
        self._ends: list[tuple[float, int]] = []
        self._waiting: list[deque[int]] = [deque() for _ in fleet.may_run]
        self._routes_of: list[list[int]] = [[] for _ in range(fleet.workers)]
        for route, workers in enumerate(fleet.may_run):
            for worker in workers:
                self._routes_of[worker].append(route)

    def arrive(self, number: int) -> None:
        """Let a job begin where most slots are free, or wait."""
        at, _, route = self._arrivals[number]
        self.run_until(at)
        worker = max(self._may_run[route], key=self._free.__getitem__)
        if self._free[worker]:
            self._free[worker] -= 1
            self._begin(number, worker, at)
        else:
            self._waiting[route].append(number)

    def run_until(self, time: float) -> None:
        """End the runs that end until then, and begin what has waited for their slots."""
        while self._ends and self._ends[0][0] <= time:
            end, worker = heapq.heappop(self._ends)
            waiting = [it for route in self._routes_of[worker] if (it := self._waiting[route])]
            if waiting:
                self._begin(min(waiting, key=lambda it: it[0]).popleft(), worker, end)
            else:
                self._free[worker] += 1

    def _begin(self, number: int, worker: int, time: float) -> None:
        job = self._arrivals[number]
        self.waits[number] = time - job.at
        heapq.heappush(self._ends, (time + job.service, worker))


def own_queues(arrivals: Sequence[Arrival], fleet: Fleet, choose: Choose) -> list[float]:
    """Return the waits of arrivals if each joins the queue of a worker when it comes."""
    slots = [[0.0] * fleet.slots for _ in range(fleet.workers)]
    ends: list[tuple[float, int]] = []
    jobs = [0] * fleet.workers
    waits = []
    for at, service, route in arrivals:
        while ends and ends[0][0] <= at:
            jobs[heapq.heappop(ends)[1]] -= 1
        worker = choose(jobs, fleet.may_run[route])
        jobs[worker] += 1
        begin = max(at, slots[worker][0])
        heapq.heapreplace(slots[worker], begin + service)
        heapq.heappush(ends, (begin + service, worker))
        waits.append(begin - at)
    return waits
