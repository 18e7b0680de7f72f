"""Routes: what jobs require of the worker that runs them, and who may run them. No I/O.

The jobs of a route wait in lanes of its own, which only matching workers read: see fetch/levels.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any, Literal, NamedTuple, TypeAlias

from pydantic_core import from_json, to_json

from consumers.errors import InvalidInput, TooManyLanes, TooManyRoutes
from consumers.jobs.lanes import DEFAULT_TYPE, MAX_LANES, Lane, check_priority
from consumers.jobs.names import check_name, check_names

# A definition is stored with each of its jobs.
MOST_CAPABILITIES = 32
MOST_WORKERS = 32
# Each is at least one more stream in the reads of its workers.
MAX_ROUTES = 512
# A route has a lane for each partition and priority that its jobs have.
MAX_ROUTE_LANES = 1024

# What a worker may lack for a route. It is a word of the answers of explain.
Lack: TypeAlias = Literal["type", "capability", "excluded", "not_named", "region"]
_FIELDS = ("event", "requires", "only", "anti_affinity", "region")


# A worker may have more of them than a job requires.
MOST_OF_A_WORKER = 256


class Missing(NamedTuple):
    """One reason why a worker may not run the jobs of a route: what it lacks, and of what value."""

    lack: Lack
    value: str


@dataclass(frozen=True, slots=True)
class Profile:
    """What a worker says of itself: what it is, and what it can do.

    - `name`: its name, which jobs may name or exclude.
    - `type`: the type of worker; it takes jobs of this type alone.
    - `capabilities`: what jobs may require.
    - `levels`: the priorities that it takes; None for all.
    - `region`: where it is; jobs that name a region go to workers of that one alone.
    """

    name: str
    type: str = DEFAULT_TYPE
    capabilities: frozenset[str] = frozenset()
    levels: frozenset[int] | None = None
    region: str | None = None

    @classmethod
    def checked(
        cls,
        name: str,
        type: str,
        *,
        capabilities: Iterable[str],
        levels: Iterable[int] | None,
        region: str | None,
    ) -> Profile:
        """Return the profile of these values; raises a kind of InvalidInput."""
        check_name("worker", name)
        check_name("type", type)
        if region is not None:
            check_name("region", region)
        taken = None if levels is None else frozenset(map(check_priority, levels))
        if taken is not None and not taken:
            raise InvalidInput("levels=[] leaves nothing to run: name a priority, or leave it out")
        return cls(name, type, frozenset(), taken, region).with_capabilities(capabilities)

    def with_capabilities(self, names: Iterable[str]) -> Profile:
        """Return this profile with other capabilities; raises InvalidName or InvalidInput."""
        can = check_names("capability", "capabilities", names, MOST_OF_A_WORKER)
        return replace(self, capabilities=frozenset(can))

    def takes(self, priority: int) -> bool:
        """Return whether the worker takes jobs of a priority."""
        return self.levels is None or priority in self.levels


@dataclass(frozen=True, slots=True)
class Route:
    """What the jobs of an event require of a worker, besides a handler for the event.

    - `type`: the type of worker.
    - `event`: the event.
    - `requires`: the capabilities that it must have, all of them.
    - `only`: the names of the workers that may run them; empty for any.
    - `anti_affinity`: the names of the workers that may not.
    - `region`: the region it must be in; None for any.
    - `name`: the type, "+" and a digest of all else. Equal requirements have one name.

    Raises InvalidName for a value that is not a name, and InvalidInput if too much is named or no
    worker is left.
    """

    type: str
    event: str
    requires: tuple[str, ...] = ()
    only: tuple[str, ...] = ()
    anti_affinity: tuple[str, ...] = ()
    region: str | None = None
    name: str = field(init=False, compare=False)

    def __post_init__(self) -> None:
        check_name("type", self.type)
        check_name("event", self.event)
        excluded = check_names("worker", "anti_affinity", self.anti_affinity, MOST_WORKERS)
        only = check_names("worker", "only", self.only, MOST_WORKERS)
        left = tuple(name for name in only if name not in excluded)
        if only and not left:
            raise InvalidInput(
                f"only={list(only)} and anti_affinity={list(excluded)} exclude each other: no "
                "worker is left that may run the job"
            )
        if self.region is not None:
            check_name("region", self.region)
        set_ = object.__setattr__
        set_(
            self,
            "requires",
            check_names("capability", "requires", self.requires, MOST_CAPABILITIES),
        )
        set_(self, "only", left)
        # Who is not named is excluded already.
        set_(self, "anti_affinity", () if left else excluded)
        digest = hashlib.blake2b(self.json, digest_size=6).hexdigest()
        set_(self, "name", f"{self.type}+{digest}")

    @property
    def definition(self) -> dict[str, Any]:
        """All but the type, without what is empty: values that JSON has, always in one order."""
        return {it: value for it in _FIELDS if (value := getattr(self, it))}

    @property
    def json(self) -> bytes:
        """The definition as JSON, as it is stored."""
        return to_json(self.definition)

    @property
    def is_needed(self) -> bool:
        """Whether anything is required beyond the type, for which a lane of the type will do."""
        return bool(self.requires or self.only or self.anti_affinity or self.region)

    @classmethod
    def parse(cls, name: str, definition: object) -> Route | None:
        """Return the route with this name and definition; None if they do not belong together.

        `definition` is what `definition` returned, or that as JSON.
        """
        try:
            if isinstance(definition, bytes):
                definition = from_json(definition)
            if not isinstance(definition, Mapping) or not definition.keys() <= set(_FIELDS):
                return None
            route = cls(name.partition("+")[0], **definition)
        except (ValueError, TypeError):
            # Somebody else wrote it.
            return None
        return route if route.name == name else None


class Demand(NamedTuple):
    """What a job requires of the worker that runs it: to handle its event, and to read its lane.

    `version` is that of its entry. `event` is None if it is not known.
    """

    event: str | None
    lane: Lane
    route: Route | None = None
    version: int = 1


# Most jobs of a route have the same options.
@lru_cache(maxsize=1024)
def without_route(options: bytes) -> bytes:
    """Return a job's options (JSON) without its route; as they are if they cannot be read.

    Who may run the job has been decided where its lane is read: nothing looks at that again.
    """
    try:
        read = from_json(options, allow_inf_nan=False)
    except ValueError:
        return options
    if not isinstance(read, dict):
        return options
    read.pop("route", None)
    return to_json(read) if read else b""


def definition_in(options: bytes) -> object:
    """Return the definition of a route that a job's options (JSON) carry, None if there is none."""
    try:
        return from_json(options)["route"]
    except (ValueError, LookupError, TypeError):
        return None


def no_room_for(lane: Lane) -> TooManyLanes:
    """Return the error for a lane that a queue cannot have besides those it has."""
    if lane.route:
        return TooManyRoutes(lane.queue, lane.name, MAX_ROUTES, MAX_ROUTE_LANES)
    return TooManyLanes(lane.queue, lane.name, MAX_LANES)


def missing(route: Route, worker: Profile) -> list[Missing]:
    """Return all reasons why a worker may not run the jobs of a route; empty if it may.

    Whether it has a handler for the event is not looked at.
    """
    lacks: list[Missing] = []
    if worker.type != route.type:
        lacks.append(Missing("type", route.type))
    lacks += [Missing("capability", it) for it in route.requires if it not in worker.capabilities]
    if route.region is not None and worker.region != route.region:
        lacks.append(Missing("region", route.region))
    if worker.name in route.anti_affinity:
        lacks.append(Missing("excluded", worker.name))
    if route.only and worker.name not in route.only:
        lacks.append(Missing("not_named", ", ".join(route.only)))
    return lacks


def matches(route: Route, worker: Profile) -> bool:
    """Return whether a worker may run the jobs of a route, if it handles their event."""
    return not missing(route, worker)


def may_run(lane: Lane, worker: Profile, routes: Mapping[str, Route]) -> bool:
    """Whether a worker may run the jobs of a lane, if it handles their events.

    If the definition of a lane's route is not known, no worker may run its jobs.
    """
    if lane.group != worker.type or not worker.takes(lane.priority):
        return False
    if not lane.route:
        return True
    route = routes.get(lane.route)
    return route is not None and matches(route, worker)
