"""The fleet that is measured, what its workers can do, and the ways its jobs are handed out."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from benchmarks.routing.choices import Choose, shortest, two_choices
from benchmarks.routing.simulation import Fleet
from consumers.jobs.lanes import DEFAULT_TYPE, Lane
from consumers.jobs.routes import Route

WORKERS, SLOTS = 16, 4
# Several workers are in one process: 16 interpreters on two processors would measure these.
PROCESSES = 4
QUEUE, EVENT = "default", "serve"
CAPABILITIES = ("code", "conversation", "images", "speech")
# Each worker lacks one capability, so a route has 12 of the 16 workers.
_MAY_RUN = [
    [worker for worker in range(WORKERS) if worker % len(CAPABILITIES) != route]
    for route in range(len(CAPABILITIES))
]


def capabilities_of(worker: int) -> list[str]:
    """Return what a worker can do, by its number."""
    return [it for route, it in enumerate(CAPABILITIES) if worker in _MAY_RUN[route]]


def routes_of(event: str) -> list[Route]:
    """Return the routes of an event's jobs, by their numbers: each requires one capability."""
    return [Route(DEFAULT_TYPE, event, requires=(it,)) for it in CAPABILITIES]


class Place(NamedTuple):
    """Where a job goes: its lane, and the options it must have there."""

    lane: Lane
    options: bytes = b""


@dataclass(frozen=True, slots=True)
class Discipline:
    """A way to hand out jobs.

    Jobs are routed, or have a choice of a worker, each of which has a queue of its own then, or
    neither: every worker may run all of them.
    """

    name: str
    routed: bool = False
    choice: Callable[[random.Random], Choose] | None = None

    @property
    def fleet(self) -> Fleet:
        """The workers, and who may run the jobs of each route."""
        if self.routed or self.choice:
            return Fleet(WORKERS, SLOTS, _MAY_RUN)
        return Fleet(WORKERS, SLOTS, [range(WORKERS)] * len(CAPABILITIES))

    def type_of(self, worker: int) -> str:
        """Return the type of a worker, by its number."""
        return f"w{worker}" if self.choice else DEFAULT_TYPE

    def places(self, event: str) -> Sequence[Place]:
        """Return where jobs may go: by worker if there is a choice of one, else by route."""
        if self.choice:
            return [Place(Lane(QUEUE, self.type_of(worker))) for worker in range(WORKERS)]
        if self.routed:
            return [routed(route) for route in routes_of(event)]
        return [Place(Lane(QUEUE))] * len(CAPABILITIES)


def routed(route: Route) -> Place:
    """Return where the jobs of a route go."""
    options = json.dumps({"route": route.definition}, separators=(",", ":")).encode()
    return Place(Lane(QUEUE, route.name), options)


UNROUTED = Discipline("unrouted")
ROUTED = Discipline("routed", routed=True)
SHORTEST = Discipline("shortest", choice=shortest)
TWO_CHOICES = Discipline("two_choices", choice=two_choices)

DISCIPLINES: Mapping[str, Discipline] = {
    it.name: it for it in (UNROUTED, ROUTED, SHORTEST, TWO_CHOICES)
}
