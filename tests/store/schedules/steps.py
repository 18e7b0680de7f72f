"""Schedules as users and workers change them, and what is kept of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from consumers.store import scheduling
from consumers.store.schedule_record import Record
from consumers.store.scripts import Call
from tests.support.queue import Queue, new_job

HOUR_MS = 3_600_000


def looked_at(queue: Queue, name: str = "s") -> int | None:
    """Return when a schedule is looked at next (ms)."""
    found = queue.redis.zscore(queue.keys.schedules, name)
    return None if found is None else int(found)


def known(queue: Queue, name: str = "s") -> Record:
    found = queue.schedule(name)
    assert found is not None
    return found


def listed(queue: Queue) -> set[str]:
    return {name.decode() for name in queue.redis.smembers(queue.keys.schedule_names)}


def word(queue: Queue, call: Call) -> str:
    answer: bytes = queue.run(call)
    return answer.decode()


def pause(
    queue: Queue,
    why: str = "paused",
    *,
    name: str = "s",
    digest: str = "",
    registered: int | None = None,
) -> str:
    call = scheduling.pause(queue.keys, name, why, digest=digest, registered=registered)
    return word(queue, call)


def resume(queue: Queue, slot: int | None, *, name: str = "s", digest: str = "d1") -> str:
    return word(queue, scheduling.resume(queue.keys, name, slot, digest=digest))


def remove(queue: Queue, name: str = "s") -> str:
    return word(queue, scheduling.remove(queue.keys, name))


def due(queue: Queue, ago_ms: int = 1000, **registered: Any) -> Record:
    """Register a schedule that was due some time ago and return what is known of it."""
    done, _ = queue.register(slot=queue.now_ms() - ago_ms, **registered)
    assert done in ("created", "replaced")
    return known(queue, registered.get("name", "s"))


def waits(queue: Queue) -> None:
    """The job of the last fire lies in its lane."""


def fired_once(queue: Queue, life: Callable[[Queue], None]) -> Record:
    """Fire a schedule, let its job live so, and return the schedule as it is due again."""
    first = due(queue, ago_ms=HOUR_MS)
    queue.fire(first, new_job("f1"), following=queue.now_ms() - 1000)
    life(queue)
    return known(queue)
