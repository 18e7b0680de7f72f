"""Ask a Redis that keeps results, logs and progress apart from the queues to write them."""

from __future__ import annotations

from consumers.connections.link import Argument
from consumers.store.delivery import Delivery
from consumers.store.keys import Keys
from consumers.store.scripts import Call, load

ARCHIVE_END, ARCHIVE_NOTE = load("archive_end"), load("archive_note")
# What is cancelled has ended: whatever any delivery of this run keeps, before or after, comes
# before this. The highest number that Redis' scripts tell from the next.
_AFTER_ALL_DELIVERIES = 2**53 - 1


def archive_end(delivery: Delivery, state: str, facts: bytes, value: bytes, ttl_ms: int) -> Call:
    """Return the keeping of how a run ended, unless a later run or delivery has written.

    facts is what is kept beside the state, see run_facts.
    """
    keys, job_id = delivery.stream.keys, delivery.envelope.id
    generation, delivered = _fence(delivery)
    return _end(keys, job_id, generation, delivered, state.encode() + facts, value, ttl_ms)


def archive_cancelled(keys: Keys, job_id: str, generation: int, facts: bytes, ttl_ms: int) -> Call:
    """Return the keeping of a run's end as cancelled, whatever its deliveries keep."""
    state = b"cancelled" + facts
    return _end(keys, job_id, generation, _AFTER_ALL_DELIVERIES, state, b"cancelled", ttl_ms)


def archive_note(
    delivery: Delivery, what: str, key: str, ttl_ms: int, most: int, *values: Argument
) -> Call:
    """Return the writing of a job's log or progress; answers 1, or 0 when a later run wrote."""
    fence = delivery.stream.keys.fence(what, delivery.envelope.id)
    return Call(ARCHIVE_NOTE, [key, fence], [*_fence(delivery), ttl_ms, most, *values])


def _end(
    keys: Keys,
    job_id: str,
    generation: int,
    delivered: int,
    state: bytes,
    value: bytes,
    ttl_ms: int,
) -> Call:
    names = [keys.result(job_id), keys.fence("result", job_id)]
    stored = b"%d %b %b" % (generation, state, value)
    return Call(ARCHIVE_END, names, [generation, delivered, stored, ttl_ms])


def _fence(delivery: Delivery) -> tuple[int, int]:
    envelope = delivery.envelope
    return envelope.generation, envelope.deliveries + delivery.count
