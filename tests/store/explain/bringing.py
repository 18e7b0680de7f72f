"""How each reason is brought about in a queue, on real Redis."""

from __future__ import annotations

import json
from typing import Any

from pydantic_core import to_json

from consumers.jobs import guards
from consumers.jobs.envelope import NewJob
from consumers.jobs.outcome import RetryAt
from consumers.jobs.routes import Profile, Route
from consumers.store.queue_workers import WorkerState, register_worker
from tests.support.queue import Queue, new_job

LEASE_MS, HOUR_MS = 30_000, 3_600_000
TRAILING = guards.debounced("storm", window_ms=HOUR_MS, longest_ms=HOUR_MS, mode="trailing")
# The consumer of worker web-1.
WEB = "web-1.0a"
GPU = Route("workers", "e", requires=("gpu",))
PINNED = Route("workers", "e", only=("enc-2",))


def listed(
    queue: Queue, name: str = "web-1", *, ago_ms: int = 0, worker_id: str = "", **told: Any
) -> None:
    """List a worker in the queue, that was heard of so long ago."""
    it = {"type": "workers", "events": ["e"], "slots": 2, "running": 0, "envelope": 1, **told}
    profile = Profile(
        name, it["type"], frozenset(it.get("can", ())), it.get("levels"), it.get("region")
    )
    state = WorkerState(
        profile, it["slots"], it["running"], frozenset(it["events"]), it["envelope"],
        it.get("stopping", False),
    )  # fmt: skip
    worker_id = worker_id or f"{name}.0a"
    queue.run(register_worker(queue.keys, worker_id, state))
    if ago_ms:
        seen = b"%d %b" % (queue.now_ms() - ago_ms, state.written())
        queue.redis.hset(queue.keys.workers, worker_id, seen)


def of_route(route: Route, job_id: str = "a", **lane: Any) -> NewJob:
    """Return a job of a route."""
    return new_job(job_id, type=route.name, options=to_json({"route": route.definition}), **lane)


def running(queue: Queue, started: dict[str, int] | None = None) -> None:
    """Hand job a to a worker, which reports what it has started."""
    queue.redis.hset(queue.keys.meta, "lease", LEASE_MS)
    delivery = queue.one(consumer=WEB)
    queue.age(delivery, 5_000)
    told = {it: queue.now_ms() + more for it, more in (started or {}).items()}
    queue.redis.hset(f"tm:worker:{WEB}", "started", json.dumps({"default": told}))
    queue.redis.pexpire(f"tm:worker:{WEB}", HOUR_MS)


def held(queue: Queue) -> None:
    running(queue)
    listed(queue, running=2)


def expired(queue: Queue) -> None:
    running(queue, {"a": 0})
    (row,) = queue.redis.xpending_range(queue.stream().key, "workers", "-", "+", 1)
    queue.redis.xclaim(
        queue.stream().key, "workers", WEB, 0, [row["message_id"]], idle=45_000, justid=True
    )
    listed(queue, "web-2")


def cancelled(queue: Queue) -> None:
    running(queue, {"a": 0})
    listed(queue)
    queue.cancel()


def spoiled(queue: Queue) -> None:
    queue.emit(new_job())
    queue.redis.delete(queue.stream().key)
    queue.redis.hset(queue.stream().key, "somebody", "else's")


def vanished(queue: Queue) -> None:
    queue.emit(new_job())
    queue.redis.xtrim(queue.stream().key, maxlen=0)


def unreadable(queue: Queue) -> None:
    queue.emit(new_job(due="+3600000"))
    queue.redis.hset(f"{queue.keys.delayed}:envelopes", "a", "somebody else's")


def overdue(queue: Queue) -> None:
    queue.emit(new_job(due="+3600000"))
    queue.make_due("a", ago_ms=5_000)

    # The pointer has the time as well.
    queue.redis.hset(queue.keys.live("a"), "a", f"1 0 delayed {queue.now_ms() - 5_000}")


def retrying(queue: Queue) -> None:
    errors = json.dumps([{"at": 1, "attempt": 1, "error": "ValueError: no route"}]).encode()
    queue.settle((queue.one(), RetryAt(HOUR_MS, errors)))


def waiting(queue: Queue) -> None:
    queue.emit(new_job())
    listed(queue)


def paused(queue: Queue) -> None:
    waiting(queue)
    queue.pause()


def event_paused(queue: Queue) -> None:
    waiting(queue)
    queue.pause("e")


def other_type(queue: Queue) -> None:
    queue.emit(new_job(type="encoder"))
    listed(queue)


def too_new(queue: Queue) -> None:
    queue.emit(new_job(type="event.e@2"))
    listed(queue)


def no_handler(queue: Queue) -> None:
    queue.emit(new_job())
    listed(queue, events=["other"])
    listed(queue, "web-2", events=["other"], running=1)


def no_definition(queue: Queue) -> None:
    queue.emit(new_job(type="workers+0123456789ab"))
    listed(queue)


def pinned(queue: Queue) -> None:
    queue.emit(of_route(PINNED))
    listed(queue, "enc-1")
    listed(queue, "enc-2", ago_ms=40_000)


def no_match(queue: Queue) -> None:
    queue.emit(of_route(Route("workers", "e", requires=("gpu",), anti_affinity=("enc-9",))))
    listed(queue, "enc-2")
    listed(queue, "enc-4", events=["other"])
    listed(queue, "enc-9", can=["gpu"])
    listed(queue, "enc-7", can=["gpu"], ago_ms=40_000)


def no_level(queue: Queue) -> None:
    queue.emit(new_job(priority=5))
    listed(queue, "enc-4", levels=frozenset({0, 2}))


def no_group(queue: Queue) -> None:
    waiting(queue)
    queue.redis.xgroup_destroy(queue.stream().key, "workers")


def not_listed(queue: Queue) -> None:
    waiting(queue)
    queue.redis.zrem(queue.keys.lanes, queue.lane.name)


def passed_over(queue: Queue) -> None:
    queue.one()
    listed(queue)
    (row,) = queue.redis.xpending_range(queue.stream().key, "workers", "-", "+", 1)
    queue.redis.xack(queue.stream().key, "workers", row["message_id"])


def too_late(queue: Queue) -> None:
    queue.emit(new_job(options=to_json({"expires_at": queue.now_ms() - 45_000})))
    listed(queue)


def slots_taken(queue: Queue) -> None:
    for name in ("enc-1", "enc-3", "enc-5"):
        listed(queue, name, can=["gpu"], slots=4, running=4)
    listed(queue, "web-1")
    queue.emit(*(of_route(GPU, f"b{n}") for n in range(5)), of_route(GPU))
    queue.emit(*(new_job(f"c{n}", priority=1) for n in range(2)))


def behind(queue: Queue) -> None:
    queue.emit(*(new_job(f"b{n}") for n in range(3)), new_job())
    queue.emit(*(new_job(f"c{n}", priority=1) for n in range(2)))
    queue.emit(*(new_job(f"d{n}", priority=1, type="encoder") for n in range(2)))
    listed(queue, running=1)
