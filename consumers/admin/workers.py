"""The live workers of a queue, as values."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from redis.exceptions import ResponseError

from consumers.connections.wire import Wire
from consumers.errors import BrokenKey
from consumers.jobs.moments import moment
from consumers.store.keys import Fleet, Keys
from consumers.store.queue_workers import SeenWorker, workers_of
from consumers.store.refusals import is_foreign_value

_FACTS = ("host", "pid", "version", "since")


@dataclass(frozen=True, slots=True)
class WorkerInfo:
    """A live worker of a queue, as its last heartbeat described it. Times are in UTC.

    - `id`: the id of this start of the worker. Every start has a new one.
    - `name`: its name, which stays the same. Jobs may require or exclude it.
    - `type`: its type. It takes only jobs for this type.
    - `capabilities`: what it can do, sorted. Jobs may require it.
    - `levels`: the priorities that it takes, sorted. None if it takes all.
    - `region`: where it is. None if it has no region.
    - `slots`: how many jobs it runs at a time, over all its queues.
    - `running`: how many it was running, over all its queues.
    - `events`: the events of this queue that it has handlers for, sorted.
    - `stopping`: whether it is about to stop, and starts no more jobs.
    - `seen_at`: when its last heartbeat arrived, by Redis' clock. A worker sends one every five
      seconds, and is no longer listed after a minute without one.
    - `started_at`: when it started, by the clock of its machine. None if not known.
    - `host`, `pid`: its machine and its process. None if not known.
    - `version`: its version of taskmanager. None if not known.
    """

    id: str
    name: str
    type: str
    capabilities: tuple[str, ...]
    levels: tuple[int, ...] | None
    region: str | None
    slots: int
    running: int
    events: tuple[str, ...]
    stopping: bool
    seen_at: datetime
    started_at: datetime | None = field(default=None, repr=False)
    host: str | None = None
    pid: int | None = None
    version: str | None = field(default=None, repr=False)


async def live_workers(wire: Wire, keys: Keys) -> list[WorkerInfo]:
    """Return the live workers of a queue, sorted by name and id; raises BrokenKey."""
    with naming(keys.workers):
        seen = await workers_of(wire, keys)
    fleet = Fleet(keys.namespace)
    facts = await asyncio.gather(*(_facts(wire, fleet.worker(it.id)) for it in seen))
    return [_info(worker, *its) for worker, its in zip(seen, facts, strict=True)]


@contextlib.contextmanager
def naming(key: str) -> Iterator[None]:
    """Raise BrokenKey for the error of Redis that somebody else's value is in the key."""
    try:
        yield
    except ResponseError as error:
        if is_foreign_value(error):
            raise BrokenKey(key) from error
        raise


async def _facts(wire: Wire, key: str) -> Sequence[bytes | None]:
    """Return what the fleet knows of a worker; nothing where somebody else has its key."""
    try:
        found: Sequence[bytes | None] = await wire.send("HMGET", key, *_FACTS)
    except ResponseError as error:
        if not is_foreign_value(error):
            raise
        return [None] * len(_FACTS)
    return found


def _info(
    worker: SeenWorker,
    host: bytes | None,
    pid: bytes | None,
    version: bytes | None,
    since: bytes | None,
) -> WorkerInfo:
    state, profile = worker.state, worker.state.profile
    started = _number(since)
    return WorkerInfo(
        id=worker.id,
        name=profile.name,
        type=profile.type,
        capabilities=tuple(sorted(profile.capabilities)),
        levels=None if profile.levels is None else tuple(sorted(profile.levels)),
        region=profile.region,
        slots=state.slots,
        running=state.running,
        events=tuple(sorted(state.events)),
        stopping=state.stopping,
        seen_at=moment(worker.seen_ms),
        started_at=None if started is None else moment(started),
        host=_text(host),
        pid=_number(pid),
        version=_text(version),
    )


def _text(stored: bytes | None) -> str | None:
    return None if stored is None else stored.decode("utf-8", "replace")


def _number(stored: bytes | None) -> int | None:
    return int(stored) if stored is not None and stored.isdigit() and len(stored) < 20 else None
