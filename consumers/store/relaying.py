"""Ask for jobs in a queue's outbox to be added to other queues."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from consumers.connections.link import Argument
from consumers.jobs.bounds import DeadLetterBounds
from consumers.jobs.lanes import MAX_LANES
from consumers.store.keys import Keys
from consumers.store.scripts import Call, load

RELAY, QUARANTINE = load("relay"), load("quarantine")


class Outbox(NamedTuple):
    """A queue's outbox. Deleted and made again it has another epoch."""

    queue: str
    epoch: Argument


def relay(
    target: Keys,
    source: Outbox,
    posted: Iterable[Sequence[Argument]],
    bounds: DeadLetterBounds = DeadLetterBounds(),  # noqa: B008 - it is frozen
    *,
    overdue: bool = False,
) -> Call:
    """Return the adding of jobs from a queue's outbox; with overdue, their burial.

    Answers with how many are dealt with, and how many of them were buried.

    Each is its entry in the outbox, then lane, live bucket, id, event, data,
    options, due and guard.
    """
    args: list[Argument] = [
        target.base, MAX_LANES, bounds.most, bounds.most_bytes, bounds.max_age_ms, *source,
        int(overdue),
    ]  # fmt: skip
    for job in posted:
        args.extend(job)
    return Call(RELAY, [target.meta, target.lanes, target.stats, target.relayed], args)


def quarantine(keys: Keys, entry: bytes, raw: bytes, why: str) -> Call:
    """Return the burial of an outbox entry that is not a job; answers 1 when it was there."""
    return Call(QUARANTINE, [keys.outbox, keys.stats], [keys.base, entry, raw, why])
