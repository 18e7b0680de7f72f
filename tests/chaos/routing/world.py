"""The workers of a run, what its jobs require, and which jobs there are: all of it from a seed."""

from __future__ import annotations

import json
import random
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from pydantic_core import to_json

from consumers.jobs.envelope import NewJob
from consumers.jobs.lanes import Lane
from consumers.jobs.routes import Route

HERE, THERE = "here", "there"
QUEUES = (HERE, THERE)
EVENTS = ("cut", "draw", "mix", "print")
PRIORITIES = (-1, 0, 1)
CAPABILITIES = tuple(f"c{n}" for n in range(8))
ROUTES = 40
# How often each kind of job comes: it ends at once, takes a while, fails once, starts later, or
# has a child in its own queue or the other one.
KINDS = {"quick": 60, "nap": 6, "flaky": 12, "late": 10, "parent": 8, "sender": 4}
# The share of jobs that require nothing.
_PLAIN = 0.15


@dataclass(frozen=True, slots=True)
class Worker:
    """A worker as it is when nothing was taken from it."""

    name: str
    type: str
    capabilities: Sequence[str]
    levels: Sequence[int] | None
    region: str


@dataclass(frozen=True, slots=True)
class Need:
    """What a job requires, as the job's data says it: the oracle asks no code of the engine."""

    event: str
    type: str = "workers"
    requires: Sequence[str] = ()
    only: Sequence[str] = ()
    anti_affinity: Sequence[str] = ()
    region: str | None = None

    @property
    def is_plain(self) -> bool:
        """Whether it is met by any worker of its type."""
        return not (self.requires or self.only or self.anti_affinity or self.region)


def may(worker: Worker, can: Collection[str], need: Need, priority: int) -> bool:
    """Whether a worker that can do so much may run a job."""
    return (
        worker.type == need.type
        and (worker.levels is None or priority in worker.levels)
        and all(it in can for it in need.requires)
        and (not need.only or worker.name in need.only)
        and worker.name not in need.anti_affinity
        and need.region in (None, worker.region)
    )


def workers() -> dict[str, Worker]:
    """Return the twelve workers by their names."""
    found = {}
    for n in range(12):
        can = sorted({CAPABILITIES[(n + step) % 8] for step in (0, 1, 3)})
        levels = {3: [0, 1], 7: [-1, 0]}.get(n)
        kind, region = "encoder" if n >= 9 else "workers", ("eu", "us")[n % 2]
        found[f"w{n}"] = Worker(f"w{n}", kind, can, levels, region)
    return found


class World:
    """The jobs of a run: what they require can be met by some worker as it is."""

    def __init__(self, seed: int) -> None:
        self._dice = random.Random(seed)
        self.workers = workers()
        self.needs = self._needs()

    def jobs(self, number: int) -> Iterator[tuple[NewJob, int]]:
        """Return so many jobs, each with the number of jobs that it stands for."""
        for n in range(number):
            kind = self._dice.choices([*KINDS], [*KINDS.values()])[0]
            data: dict[str, Any] = {"kind": kind}
            if kind in ("parent", "sender"):
                queue = HERE if kind == "parent" else THERE
                data["child"] = {"id": f"j{n}.child", "queue": queue, **self._job()}
            due = f"+{self._dice.randrange(20, 1500)}" if kind == "late" else ""
            yield job_of(f"j{n}", HERE, **self._job(), data=data, due=due), 1 + ("child" in data)

    def _job(self) -> dict[str, Any]:
        plain = Need(self._dice.choice(EVENTS))
        need = plain if self._dice.random() < _PLAIN else self._dice.choice(self.needs)
        return {"need": asdict(need), "priority": self._dice.choice(PRIORITIES)}

    def _needs(self) -> list[Need]:
        found: dict[str, Need] = {}
        while len(found) < ROUTES:
            need = self._need(len(found))
            if not need.is_plain and all(self._is_met(need, it) for it in PRIORITIES):
                found[route_of(need).name] = need
        return [*found.values()]

    def _is_met(self, need: Need, priority: int) -> bool:
        able = (it for it in self.workers.values() if may(it, it.capabilities, need, priority))
        return next(able, None) is not None

    def _need(self, n: int) -> Need:
        dice, event, names = self._dice, EVENTS[n % 4], [*self.workers]
        some = dice.sample(CAPABILITIES, dice.choice((1, 1, 2)))
        match n % 5:
            case 0:
                return Need(event, requires=some)
            case 1:
                return Need(event, requires=some[:1], anti_affinity=dice.sample(names, 2))
            case 2:
                return Need(event, only=dice.sample(names, 2))
            case 3:
                return Need(event, requires=some[:1], region=dice.choice(("eu", "us")))
        return Need(event, type="encoder", requires=some)


def route_of(need: Need) -> Route:
    """Return the route of what is needed."""
    return Route(**{name: _tuple(value) for name, value in asdict(need).items()})


def job_of(
    job_id: str,
    queue: str,
    *,
    need: Mapping[str, Any],
    priority: int,
    data: Mapping[str, Any] | None = None,
    due: str = "",
) -> NewJob:
    """Return a job, in whose data stands what it requires."""
    needed = Need(**need)
    route = route_of(needed)
    lane = Lane(queue, needed.type if needed.is_plain else route.name, priority=priority)
    options = b"" if needed.is_plain else to_json({"route": route.definition})
    payload = json.dumps({"kind": "quick", **(data or {}), "need": need}).encode()
    return NewJob(job_id, needed.event, payload, lane, options, due)


def _tuple(value: Any) -> Any:
    return tuple(value) if isinstance(value, list | tuple) else value
