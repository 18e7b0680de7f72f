"""Ask where a queue's dead letters are, and for them to be run again, or to be deleted."""

from __future__ import annotations

from collections.abc import Iterable

from consumers.connections.link import Argument
from consumers.connections.wire import Wire
from consumers.jobs.lanes import MAX_EVENT_LANES, MAX_LANES
from consumers.store.keys import Keys, bucket
from consumers.store.scripts import Call, load
from consumers.store.steps import BATCH_BYTES, BATCH_ITEMS

REPLAY, PURGE = load("replay"), load("purge")


async def dead_stream(wire: Wire, keys: Keys) -> str:
    """Return the stream that keeps a queue's dead letters: its meta may name one."""
    return keys.dead_named(await wire.send("HGET", keys.meta, "dead"))


def replay_items(keys: Keys, job_ids: Iterable[str]) -> Call:
    """Return the replay of a batch, still without the batch's number and digest."""
    args: list[Argument] = [MAX_LANES, MAX_EVENT_LANES, BATCH_BYTES]
    for job_id in job_ids:
        args += [bucket(job_id), job_id]
    names = ["", keys.meta, keys.lanes, keys.stats, keys.dead, keys.dead_index]
    return Call(REPLAY, names, args)


def purge(
    keys: Keys, older_than_ms: int, *, counter: str = "dead_purged", every_ms: int = 0
) -> Call:
    """Return one step of deleting old dead letters, if nobody has looked for every_ms.

    Answers with how many, and whether there may be more.
    """
    names = [keys.dead, keys.dead_index, keys.stats, keys.meta]
    args = (keys.base, older_than_ms, BATCH_ITEMS, BATCH_BYTES, counter, every_ms)
    return Call(PURGE, names, [*args])
