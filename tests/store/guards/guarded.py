"""Jobs with a guard: with an idempotency key, or as one emit of a storm."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from consumers.jobs import guards
from consumers.jobs.envelope import NewJob
from consumers.store import relaying
from consumers.store.keys import bucket
from tests.support.queue import Queue, new_job

HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS
LATER = f"+{HOUR_MS}"
WINDOW_MS = 60_000
LONGEST_MS = 10 * WINDOW_MS
KEY = guards.idempotent("key")


def storm(
    mode: guards.Mode = "trailing",
    group: str = "storm",
    window_ms: int = WINDOW_MS,
    longest_ms: int = LONGEST_MS,
) -> str:
    return guards.debounced(group, window_ms=window_ms, longest_ms=longest_ms, mode=mode)


def keyed(job_id: str = "a", **job: Any) -> NewJob:
    return new_job(job_id, guard=KEY, **job)


def gust(job_id: str = "a", **job: Any) -> NewJob:
    """One emit of a storm; what runs is its last."""
    return new_job(job_id, **{"guard": storm(), **job})


def first(job_id: str = "a", **job: Any) -> NewJob:
    """One emit of a storm; what runs is its first."""
    return new_job(job_id, **{"guard": storm("leading"), **job})


def relay(queue: Queue, *jobs: NewJob) -> list[int]:
    """Add jobs as from the outbox of another queue; return how many are dealt with and buried."""
    posted = [
        [f"5-{n}", job.lane.name, bucket(job.id), job.id, job.event, job.data, job.options,
         job.due, job.guard]
        for n, job in enumerate(jobs)
    ]  # fmt: skip
    dealt: list[int] = queue.run(relaying.relay(queue.keys, relaying.Outbox("other", "1"), posted))
    return dealt


def promoted(queue: Queue, *job_ids: str) -> list[tuple[str, bytes]]:
    """Promote jobs at once; return id and data of what then lies in the default lane."""
    queue.make_due(*job_ids)
    queue.promote()
    return lying(queue)


def lying(queue: Queue) -> list[tuple[str, bytes]]:
    entries = queue.redis.xrange(queue.stream().key)
    return [(fields[b"id"].decode(), fields[b"data"]) for _, fields in entries]


Life = Callable[[Queue], None]
GUARDED = {"key": keyed, "trailing": gust, "leading": first}
GUARD = pytest.mark.parametrize("job", GUARDED.values(), ids=GUARDED)
