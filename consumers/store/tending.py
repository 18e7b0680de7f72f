"""Ask for what keeps a queue in order: lanes, delayed jobs, consumers, the index."""

from __future__ import annotations

from collections.abc import Iterable

from consumers.jobs.lanes import Lane
from consumers.store.delivery import Stream
from consumers.store.keys import LIVE_BUCKETS, Keys
from consumers.store.scripts import Call, load
from consumers.store.steps import BATCH_BYTES, BATCH_ITEMS

# An audit looks at so many buckets of the index in one script.
_AUDIT_BUCKETS = 256
OPEN_QUEUE, REPAIR_LANE, RETIRE_LANE = load("open_queue"), load("repair_lane"), load("retire_lane")
FORGET_CONSUMERS, AUDIT_LIVE = load("forget_consumers"), load("audit_live")
PROMOTE, CHECK_RIGHTS = load("promote"), load("check_rights")


def open_queue(keys: Keys, lane: Lane, lease_ms: int | None, *, dead: str | None = None) -> Call:
    """Return the preparation of a queue for a worker, with a name for the stream of its letters.

    Without a lease or a name it leaves these to others.
    Answers with epoch, lease in ms and the name of that stream that counts, empty without one.
    """
    names = [keys.meta, keys.lanes, keys.lane(lane)]
    return Call(OPEN_QUEUE, names, [keys.base, lease_ms or "", lane.type, dead or ""])


def repair(keys: Keys, lane: Lane, group: str) -> Call:
    """Return the repair of a lane's lost groups.

    Answers with the streams that had lost theirs, and those that did not exist.
    """
    return Call(REPAIR_LANE, [keys.meta, keys.lanes, keys.lane(lane)], [lane.name, group])


def audit(keys: Keys) -> Call:
    """Return one step of looking for the jobs that went with a deleted stream.

    Answers with whether there is more to look at, and the ids of the jobs that were dropped.
    """
    bounds = (LIVE_BUCKETS, _AUDIT_BUCKETS, BATCH_ITEMS, BATCH_BYTES)
    return Call(AUDIT_LIVE, [keys.meta, keys.stats], [keys.base, *bounds])


def retire(keys: Keys, lane: Lane, unused_ms: int) -> Call:
    """Return the removal of an unused lane; answers 1 when it was removed."""
    names = [keys.meta, keys.lanes, keys.lane(lane), keys.front(lane)]
    return Call(RETIRE_LANE, names, [keys.base, unused_ms])


def forget(stream: Stream, unseen_ms: int) -> Call:
    """Return the removal of a stream's unseen, idle consumers; answers with their number."""
    return Call(FORGET_CONSUMERS, [stream.key], [stream.group, unseen_ms])


def promote(keys: Keys, most: int) -> Call:
    """Return one batch of promotion; answers with how many, and ms until the next (-1: none)."""
    return Call(PROMOTE, [keys.delayed, keys.lanes, keys.stats], [keys.base, most, BATCH_BYTES])


def check_rights(keys: Keys, commands: Iterable[str]) -> Call:
    """Return the question which commands scripts may not run here; answers with those."""
    return Call(CHECK_RIGHTS, [keys.rights], [keys.results("rights"), *commands])
