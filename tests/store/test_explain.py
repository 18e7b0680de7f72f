"""Each reason of explain, brought about on real Redis, and its sentence."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator, Callable
from typing import Any, NamedTuple

import pytest
from pydantic_core import to_json

from consumers.admin.circumstances import Coming
from consumers.admin.explain import TABLE
from consumers.admin.explainer import Explainer
from consumers.admin.explanation import Explanation
from consumers.connections.connector import Connector
from consumers.connections.wire import Wire
from consumers.jobs import guards
from consumers.jobs.envelope import NewJob
from consumers.jobs.outcome import Completed, RetryAt
from consumers.jobs.routes import Profile, Route
from consumers.store.queue_workers import WorkerState, register_worker
from tests.support.queue import ME, Queue, new_job
from tests.support.servers import RedisServer

LEASE_MS, HOUR_MS = 30_000, 3_600_000
TRAILING = guards.debounced("storm", window_ms=HOUR_MS, longest_ms=HOUR_MS, mode="trailing")
GPU = Route("workers", "e", requires=("gpu",))
PINNED = Route("workers", "e", only=("enc-2",))
_TIME = re.compile(r"\b\d+(\.\d)? (s|min|h|d)( \d+ (s|min|h))?\b")
_MOMENT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ")


class Reason(NamedTuple):
    """How a reason of job a is brought about, and its sentence, with T for times."""

    bring: Callable[[Queue], Any]
    sentence: str
    coming: Coming | None = None


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
    delivery = queue.one()
    queue.age(delivery, 5_000)
    told = {it: queue.now_ms() + more for it, more in (started or {}).items()}
    queue.redis.hset("tm:worker:me", "started", json.dumps({"default": told}))
    queue.redis.pexpire("tm:worker:me", HOUR_MS)


def held(queue: Queue) -> None:
    running(queue)
    listed(queue, ME, worker_id=ME, running=2)


def expired(queue: Queue) -> None:
    running(queue, {"a": 0})
    (row,) = queue.redis.xpending_range(queue.stream().key, "workers", "-", "+", 1)
    queue.redis.xclaim(
        queue.stream().key, "workers", ME, 0, [row["message_id"]], idle=45_000, justid=True
    )
    listed(queue)


def cancelled(queue: Queue) -> None:
    running(queue, {"a": 0})
    listed(queue, ME, worker_id=ME)
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


REASONS = {
    "scheduled": Reason(
        lambda queue: None, "schedule 'nightly' emits it at M, in T",
        Coming("nightly", 4_000_000_000_000),
    ),
    "unknown": Reason(
        lambda queue: None,
        "is not known in queue 'default': it never existed, or it ended and its result has expired",
    ),
    "ended": Reason(
        lambda queue: queue.settle((queue.one(), Completed(b"1"))), "completed at M on me",
    ),
    "parked": Reason(
        lambda queue: queue.redis.hset(queue.keys.live("a"), "a", "1 0 @order/ab 7-0"),
        "a newer version of taskmanager has set it aside, where this version cannot see why",
    ),
    "foreign": Reason(
        spoiled,
        "cannot be read: the key of its lane 'workers:default:0' holds a hash instead of a stream",
    ),
    "vanished": Reason(
        vanished,
        "is lost: somebody deleted its entry from its lane 'workers:default:0' in Redis",
    ),
    "unreadable": Reason(
        unreadable,
        "is lost: what was kept of it until it is due is gone from Redis, or cannot be read",
    ),
    "lease_expired": Reason(
        expired,
        "me has not renewed its lease for T (the lease is T): another worker will take it over",
    ),
    "cancelled": Reason(
        cancelled,
        "was cancelled: me has been asked to stop it, and it can only end as cancelled",
    ),
    "held": Reason(held, "is held by me and has not started: all 2 slots of me are taken"),
    "running": Reason(
        lambda queue: (running(queue, {"a": 0}), listed(queue, ME, worker_id=ME)),
        "has been running on me for T",
    ),
    "overdue": Reason(
        overdue, "has been due for T, and no worker of queue 'default' has moved it to its lane yet"
    ),
    "delayed": Reason(
        lambda queue: queue.emit(new_job(due="+3600000")), "is delayed: due at M, in T"
    ),
    "debounced": Reason(
        lambda queue: queue.emit(new_job(guard=TRAILING)),
        "is debounced: due at M, in T, or later if another emit comes first",
    ),
    "retrying": Reason(
        retrying, "failed 1 time, last with 'ValueError: no route', and runs again at M, in T"
    ),
    "paused": Reason(paused, "queue 'default' is paused"),
    "event_paused": Reason(event_paused, "event 'e' of queue 'default' is paused"),
    "no_worker": Reason(
        other_type,
        "no live worker of type 'encoder' reads queue 'default'; its live workers are of type "
        "workers",
    ),
    "newer_version": Reason(
        too_new,
        "no live worker of type 'workers' is new enough: it needs version 2 of the entries, and "
        "they read up to version 1 (web-1)",
    ),
    "no_handler": Reason(
        no_handler,
        "no live worker of type 'workers' handles event 'e' in queue 'default' (live: web-1 and "
        "web-2)",
    ),
    "no_definition": Reason(
        no_definition,
        "nobody knows what route workers+0123456789ab requires: neither queue 'default' nor the "
        "job has it",
    ),
    "pinned": Reason(pinned, "may run on enc-2 only; enc-2 was last heard of T ago"),
    "no_match": Reason(
        no_match,
        "no worker may run route R (e, needs gpu, not on enc-9): enc-2 lacks gpu, enc-4 does not "
        "handle 'e' and enc-9 is excluded; it could run on enc-7, which was last heard of T ago",
    ),
    "no_level": Reason(
        no_level,
        "no worker takes priority 5 of lane workers:default:5 (e): enc-4 takes priorities 2 and 0 "
        "only",
    ),
    "no_group": Reason(
        no_group,
        "its lane 'workers:default:0' cannot be read: consumer group 'workers' is gone, until a "
        "worker creates it again",
    ),
    "not_listed": Reason(
        not_listed,
        "no worker reads its lane 'workers:default:0': queue 'default' does not list it any more, "
        "until another job is added to it",
    ),
    "passed_over": Reason(
        passed_over,
        "no worker will get it: consumer group 'workers' is past its entry in 'workers:default:0' "
        "and nobody has it, because somebody changed the group in Redis",
    ),
    "slots_taken": Reason(
        slots_taken,
        "waits in route R (e, needs gpu): 3 workers may run it (enc-1, enc-3 and enc-5), all 12 "
        "slots are taken; 7 jobs of higher priority or older go first",
    ),
    "behind": Reason(
        behind,
        "waits in lane workers:default:0 (e): 1 worker may run it (web-1), 1 of 2 slots is free; "
        "it is behind 5 jobs, 2 of them of higher priority",
    ),
    "next": Reason(
        waiting,
        "waits in lane workers:default:0 (e): 1 worker may run it (web-1), 2 of 2 slots are free; "
        "nothing is before it: it should start at once",
    ),
}  # fmt: skip
# What is never first: it is a detail of another one.
DETAILS = {"set_aside"}


@pytest.fixture
async def explainer(queue: Queue, server: RedisServer) -> AsyncIterator[Explainer]:
    wire = Wire(Connector.of(server.url), name=None)
    yield Explainer(wire, queue.keys)
    await wire.close()


def plain(sentence: str) -> str:
    """Return a sentence without what is another each time."""
    named = re.sub(r"workers\+(?!0123)[0-9a-f]{12}", "R", sentence)
    return _TIME.sub("T", _MOMENT.sub("M", named))


def codes(it: Explanation) -> list[str]:
    return [it.reason, *(detail.reason for detail in it.details)]


def test_every_reason_of_the_table_is_brought_about() -> None:
    assert [row.code for row in TABLE] == [*REASONS, *DETAILS]


@pytest.mark.parametrize("code", REASONS)
async def test_a_reason_and_its_sentence(queue: Queue, explainer: Explainer, code: str) -> None:
    reason = REASONS[code]
    reason.bring(queue)
    before = queue.snapshot()

    found = await explainer.job("a", coming=reason.coming)

    assert (found.reason, plain(found.sentence)) == (code, reason.sentence)
    assert str(found) == found.sentence
    assert queue.snapshot() == before
