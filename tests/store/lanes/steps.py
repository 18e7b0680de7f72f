"""Opening, repairing and auditing lanes, and what is left of them."""

from __future__ import annotations

from consumers.jobs.lanes import Lane
from consumers.store import tending
from tests.support.queue import GROUP, Queue

LEASE_MS = 30_000


def stream_keys(queue: Queue, lane: Lane | None = None) -> list[str]:
    return [queue.stream(lane).key, queue.stream(lane, front=True).key]


def groups(queue: Queue, key: str) -> dict[str, str]:
    """Return the last delivered id of each group."""
    return {
        it["name"].decode(): it["last-delivered-id"].decode()
        for it in queue.redis.xinfo_groups(key)
    }


def open_queue(queue: Queue, lease_ms: int = LEASE_MS, lane: Lane | None = None) -> list[int]:
    """Return epoch and lease (ms) of a queue that is opened."""
    found: list[int] = queue.run(tending.open_queue(queue.keys, lane or queue.lane, lease_ms))
    return found[:2]


def name_dead(queue: Queue, name: str) -> str:
    """Open a queue with a name for the stream of its dead letters; return the one that counts."""
    found = queue.run(tending.open_queue(queue.keys, queue.lane, LEASE_MS, dead=name))
    return str(found[2].decode())


def repair(queue: Queue, lane: Lane | None = None) -> tuple[list[str], list[str]]:
    """Return the streams that had lost their group, and those that did not exist."""
    regrouped, remade = queue.run(tending.repair(queue.keys, lane or queue.lane, GROUP))
    return [key.decode() for key in regrouped], [key.decode() for key in remade]


def to_audit(queue: Queue) -> str | None:
    """Return which bucket is audited next, and the lanes that are."""
    found = queue.redis.hget(queue.keys.meta, "audit")
    return found.decode() if found is not None else None


def audit_step(queue: Queue, **bounds: int) -> tuple[bool, list[str]]:
    """Audit some buckets; return whether there are more, and the jobs that were dropped."""
    step = tending.audit(queue.keys)
    for at, name in enumerate(("buckets", "most_buckets", "most_jobs", "most_bytes"), start=1):
        step.args[at] = bounds.pop(name, step.args[at])
    assert not bounds
    more, *ids = queue.run(step)
    return bool(more), [job_id.decode() for job_id in ids]


def audit(queue: Queue) -> list[str]:
    """Audit until there is nothing left to look at; return the jobs that were dropped."""
    found: list[str] = []
    for _ in range(1000):
        more, ids = audit_step(queue)
        found += ids
        if not more:
            return sorted(found)
    raise AssertionError("there is always more to audit")
