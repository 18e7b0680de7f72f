"""The routes of a queue, as values: what they require, what waits in them, and who may run it."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from consumers.admin.inspector import Inspector
from consumers.admin.workers import naming
from consumers.connections.wire import Wire
from consumers.jobs.lanes import Lane, listed_lanes
from consumers.jobs.routes import Route
from consumers.store.keys import Keys
from consumers.store.queue_workers import WorkerState, workers_of


@dataclass(frozen=True, slots=True)
class RouteInfo:
    """A route: jobs of a queue that require the same of a worker.

    - `name`: the name of the route: the type of worker, "+" and a digest.
    - `type`: the type of worker.
    - `event`: the event of the jobs. None if it is unknown what the route requires: its definition
      is missing, or another program or a newer version wrote it.
    - `requires`: the capabilities that a worker must have.
    - `only`: the names of the workers that may run the jobs. Empty if any may.
    - `anti_affinity`: the names of the workers that may not.
    - `region`: the region that a worker must be in. None for any.
    - `lanes`: the names of its lanes, see LaneStats.
    - `waiting`, `running`: how many of its jobs wait in these lanes, and how many a worker has.
      Jobs cancelled while they wait still count until a worker passes over them.
    - `able`: the names of the live workers that may run jobs of these lanes, sorted. Nobody may if
      it is unknown what the route requires.
    """

    name: str
    type: str
    event: str | None
    requires: tuple[str, ...] = ()
    only: tuple[str, ...] = ()
    anti_affinity: tuple[str, ...] = ()
    region: str | None = None
    lanes: tuple[str, ...] = ()
    waiting: int = 0
    running: int = 0
    able: tuple[str, ...] = ()


async def live_routes(wire: Wire, keys: Keys) -> list[RouteInfo]:
    """Return the routes of a queue, sorted by name; costs a few commands a lane.

    Raises BrokenKey.
    """
    names = await wire.send("ZRANGE", keys.lanes, 0, -1)
    with naming(keys.routes):
        flat = await wire.send("HGETALL", keys.routes)
    with naming(keys.workers):
        workers = await workers_of(wire, keys)
    lanes = _by_route(listed_lanes(keys.queue, names))
    texts = (name.decode("utf-8", "replace") for name in flat[::2])
    definitions = dict(zip(texts, flat[1::2], strict=True))
    inspector, states = Inspector(wire, keys), [it.state for it in workers]
    return await asyncio.gather(
        *(
            _info(inspector, name, definitions.get(name), lanes.get(name, []), states)
            for name in sorted(definitions.keys() | lanes.keys())
        )
    )


async def _info(
    inspector: Inspector,
    name: str,
    definition: bytes | None,
    lanes: Sequence[Lane],
    workers: Iterable[WorkerState],
) -> RouteInfo:
    counts = await asyncio.gather(*(inspector.counts(it) for it in lanes))
    info = RouteInfo(
        name=name,
        type=name.partition("+")[0],
        event=None,
        lanes=tuple(it.name for it in lanes),
        waiting=sum(waiting for waiting, _ in counts),
        running=sum(running for _, running in counts),
    )
    route = None if definition is None else Route.parse(name, definition)
    return info if route is None else _defined(info, route, able(route, lanes, workers))


def _defined(info: RouteInfo, route: Route, able: tuple[str, ...]) -> RouteInfo:
    return replace(
        info,
        event=route.event,
        requires=route.requires,
        only=route.only,
        anti_affinity=route.anti_affinity,
        region=route.region,
        able=able,
    )


def able(route: Route, lanes: Sequence[Lane], workers: Iterable[WorkerState]) -> tuple[str, ...]:
    """Return the names of the workers that may run what is in the lanes of a route, sorted.

    Without lanes all that the route itself admits are named.
    """
    return tuple(sorted({it.profile.name for it in workers if _is_able(it, route, lanes)}))


def _is_able(worker: WorkerState, route: Route, lanes: Sequence[Lane]) -> bool:
    if not worker.may_run(route):
        return False
    return not lanes or any(
        worker.profile.takes(lane.priority) and worker.handles(route.event, lane.version)
        for lane in lanes
    )


def _by_route(lanes: Iterable[Lane]) -> dict[str, list[Lane]]:
    """Return the lanes of each route by its name, those of high priorities first."""
    found = defaultdict[str, list[Lane]](list)
    for lane in sorted(lanes, key=lambda it: (it.priority, it.name), reverse=True):
        if lane.route:
            found[lane.route].append(lane)
    return found
