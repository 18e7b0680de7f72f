"""The list of live workers, and what each says of itself."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping

from consumers.connections.clock import server_ms
from consumers.connections.wire import Wire
from consumers.store.keys import Fleet
from consumers.store.scripts import Call, load

# A worker that was silent for a minute is not listed any more.
FORGET_AFTER = 60.0
FORGET_AFTER_MS = int(FORGET_AFTER * 1000)
# A heartbeat says when so many jobs began: whoever asks for one of them gets all.
MOST_STARTS = 200
LIST_WORKER, DESCRIBE_WORKER = load("list_worker"), load("describe_worker")


def list_worker(fleet: Fleet, worker_id: str) -> Call:
    """Return the listing of a worker that lives now; takes those off that were silent for long."""
    return Call(LIST_WORKER, [fleet.workers], [worker_id, FORGET_AFTER_MS])


def describe_worker(fleet: Fleet, worker_id: str, facts: Mapping[str, str]) -> Call:
    """Return the writing of a worker's facts, which are kept until it was silent for long."""
    pairs = (part for pair in facts.items() for part in pair)
    return Call(DESCRIBE_WORKER, [fleet.worker(worker_id)], [FORGET_AFTER_MS, *pairs])


async def live_workers(wire: Wire, fleet: Fleet, *names: str) -> list[list[bytes | None]]:
    """Return some facts of each worker that was heard of within the last minute."""
    since = await server_ms(wire) - FORGET_AFTER_MS
    workers = await wire.send("ZRANGEBYSCORE", fleet.workers, since, "+inf")
    return await asyncio.gather(
        *(wire.send("HMGET", fleet.worker(worker.decode()), *names) for worker in workers)
    )


async def started_ms(wire: Wire, fleet: Fleet, consumer: str, queue: str, job_id: str) -> int:
    """Return when a worker's job began (ms), by its last heartbeat; 0 when that does not say."""
    return (await starts_in(wire, fleet, consumer) or {}).get(queue, {}).get(job_id, 0)


async def starts_in(wire: Wire, fleet: Fleet, consumer: str) -> Mapping[str, dict[str, int]] | None:
    """Return when a worker's jobs began (ms) by queue and id, of MOST_STARTS at most.

    By its last heartbeat; None where there is none that can be read.
    """
    told = await wire.send("HGET", fleet.worker(consumer), "started")
    try:
        found = json.loads(told) if told else None
        return None if found is None else {queue: _times(jobs) for queue, jobs in found.items()}
    except (ValueError, AttributeError):
        # Somebody else wrote there.
        return None


def _times(jobs: Mapping[str, object]) -> dict[str, int]:
    return {job_id: at for job_id, at in jobs.items() if type(at) is int}


async def live_count(wire: Wire, fleet: Fleet) -> int:
    """Return how many workers were heard of within the last minute."""
    since = await server_ms(wire) - FORGET_AFTER_MS
    count: int = await wire.send("ZCOUNT", fleet.workers, since, "+inf")
    return count


async def live_events(wire: Wire, fleet: Fleet, queue: str) -> set[tuple[str, str]]:
    """Return the events of a queue that any live worker lists, each with the worker's type."""
    listed = await live_workers(wire, fleet, "type", "events")
    return {
        (type_.decode(), event)
        for type_, found in listed
        if type_ and found
        for event in json.loads(found).get(queue, [])
    }
