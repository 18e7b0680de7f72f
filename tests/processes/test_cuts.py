"""Processes that are cut off at every step of recording an outcome, of a replay and of a relay."""

from __future__ import annotations

import asyncio
import json
import os
import random
import re
from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
import redis as redis_py

from consumers.admin.dead_letters import DeadLetters
from consumers.connections.connector import Connector
from consumers.connections.wire import Wire
from consumers.jobs.envelope import NewJob
from consumers.jobs.lanes import Lane
from consumers.jobs.outcome import Buried, Completed
from consumers.store.settling import Settlement
from consumers.upkeep.relay import Relay
from tests.processes.apps.cuts import worker
from tests.support.processes import Spawner
from tests.support.queue import Queue
from tests.support.scripts import engine_scripts
from tests.support.servers import RedisServer
from tests.support.waiting import PATIENCE, aeventually, eventually

pytestmark = pytest.mark.timeout(300)

APPS = Path(__file__).parent / "apps"
CUT = 137

SETTLE = ["decided", "before_send", "in_flight", "answered", "resolved"]
# At the first two nothing has left the process; at the others Redis has the outcome.
RECORDED = SETTLE[2:]


@dataclass(frozen=True)
class Kind:
    """What the one job of a queue does, and where it is when the cut outcome was recorded.

    settle is the one of its settles that the process is cut at. verdict is how the
    job ends, failures how many attempts that used up before.
    """

    event: str
    recorded: str
    verdict: str
    options: Mapping[str, Any] = field(default_factory=dict)
    settle: int = 1
    failures: int = 0


LANE, FRONT = "lane:workers:default:0", "lane:workers:default:0:front"
ONE_RETRY = {"max_retries": 1, "retry_delay_ms": 0}
KINDS = {
    "complete": Kind("parent", "completed", "completed"),
    "bury": Kind("fail", "dead", "dead"),
    "retry": Kind("fail", LANE, "dead", ONE_RETRY, failures=1),
    "retry-later": Kind(
        "fail", "delayed", "dead", {"max_retries": 1, "retry_delay_ms": 50}, failures=1
    ),
    "bury-at-last": Kind("fail", "dead", "dead", ONE_RETRY, settle=2, failures=1),
    "discard": Kind("discard", "cancelled", "cancelled"),
    "expire": Kind("parent", "cancelled", "cancelled", {"expires_ms": 1}),
    "snooze": Kind("snooze", "delayed", "completed"),
    "snooze-at-once": Kind("snooze-at-once", LANE, "completed"),
    "complete-after-snooze": Kind("snooze", "completed", "completed", settle=2),
    "release-at-stop": Kind("linger", FRONT, "completed"),
    "release-unhandled": Kind("late", "lane:event.late:default:0:front", "completed"),
}
RESULTS = {
    "snooze": "awake",
    "snooze-at-once": "awake",
    "linger": "done elsewhere",
    "late": "handled at last",
}
VERDICTS = ("completed", "dead", "cancelled")
# What the queue counts of each outcome that it records.
COUNTERS = (*VERDICTS, "retried", "released")


def cut_off(spawn: Spawner, server: RedisServer, work: str, cuts: dict[str, str]) -> None:
    """Let each queue's process work until it ends at its point."""
    with server.client() as client:
        for script in engine_scripts():
            # Otherwise what is in flight at the end is refused for want of its text.
            client.script_load(script.source)
    named = [f"{queue}={point}" for queue, point in cuts.items()]
    child = spawn.python(str(APPS / "cuts.py"), server.url, work, *named)
    assert child.wait() == 0, child.text
    # Between these lines there may be what the processes log.
    ended = dict(re.findall(r"^ended (\S+) (-?\d+)$", child.text, re.MULTILINE))
    assert ended == dict.fromkeys(cuts, str(CUT)), child.text


def places(queue: Queue, job_id: str = "job") -> list[str]:
    """Return where a job is: each place counts for as often as it is there."""
    lanes = [
        key.decode().removeprefix(queue.keys.base)
        for key in queue.redis.scan_iter(f"{queue.keys.base}lane:*", _type="stream")
        for _, fields in queue.redis.xrange(key)
        if fields[b"id"].decode() == job_id
    ]
    dead = ["dead" for letter in queue.letters() if letter["job"].decode() == job_id]
    delayed = ["delayed"] if job_id in queue.put_off() else []
    state = stored_end(queue, job_id)[0]
    # That of a dead job is its letter.
    ended = [state] if state in ("completed", "cancelled") else []
    return lanes + dead + delayed + ended


def stored_end(queue: Queue, job_id: str = "job") -> tuple[str, str]:
    """Return the state that is stored for those who ask, and its value; empty when none is."""
    stored = queue.redis.get(queue.keys.result(job_id)) or b"0  "
    _, state, value = stored.decode().split(" ", 2)
    return state.partition(";")[0], value


def children(queue: Queue) -> list[str]:
    return queue.ids(Lane(queue.keys.queue, "nobody"))


def test_g3_g6_a_worker_cut_off_at_every_step_of_a_settle_loses_and_doubles_nothing(
    spawn: Spawner, server: RedisServer, redis: redis_py.Redis
) -> None:
    cuts, queues = {}, {}
    for name, kind in KINDS.items():
        for point in SETTLE:
            queue = queues[name, point] = Queue(redis, f"{name}.{point}")
            given = json.dumps(kind.options).encode() if kind.options else b""
            queue.emit(NewJob("job", kind.event, b"null", queue.lane, given))
            cuts[queue.keys.queue] = f"settle.{point}#{kind.settle}"

    cut_off(spawn, server, "work", cuts)

    for (name, point), queue in queues.items():
        check_cut(KINDS[name], point, queue)
    asyncio.run(recover(server, queues.values()))
    for (name, point), queue in queues.items():
        check_end(end_of(KINDS[name], point), queue)


def end_of(kind: Kind, point: str) -> Kind:
    """A job may have started on a worker that died, and what has started does not expire."""
    is_run_again = "expires_ms" in kind.options and point not in RECORDED
    return replace(kind, verdict="completed") if is_run_again else kind


def check_cut(kind: Kind, point: str, queue: Queue) -> None:
    """The job is in one place: where it was, or where its outcome put it."""
    name, recorded = queue.keys.queue, point in RECORDED
    assert places(queue) == [kind.recorded if recorded else LANE], name
    assert sum(map(queue.stat, COUNTERS)) == kind.settle - 1 + recorded, name
    if recorded and kind.recorded.startswith("lane:"):
        # One delivery that was no crash, and no attempt unless it failed.
        ((_, fields),) = queue.redis.xrange(queue.keys.base + kind.recorded)
        counts = fields[b"head"].split(b":")[3:6]
        assert counts == [b"%d" % kind.failures, b"1", b"0"], name


async def recover(server: RedisServer, queues: Collection[Queue]) -> None:
    """Let a worker that is not cut off bring everything to its end."""

    def is_over(queue: Queue) -> bool:
        ended = any(map(queue.stat, VERDICTS)) and queue.pointer("job") is None
        return ended and not queue.redis.xlen(queue.keys.outbox)

    def are_over() -> bool:
        return all(map(is_over, queues))

    consumer = worker(server.url, *(it.keys.queue for it in queues), newer=True)
    await consumer.start()
    try:
        # Not on the loop of the worker: some hundred questions take longer than its lease.
        await aeventually(lambda: asyncio.to_thread(are_over), 2 * PATIENCE)
    finally:
        await consumer.stop(timeout=0)


def check_end(kind: Kind, queue: Queue) -> None:
    """The job has ended once, as it should, with its children or without them."""
    name = queue.keys.queue
    counted = {it: queue.stat(it) for it in VERDICTS}
    assert counted == {**dict.fromkeys(VERDICTS, 0), kind.verdict: 1}, name
    assert places(queue) == [kind.verdict], name
    has_children = (kind.event, kind.verdict) == ("parent", "completed")
    for place in (queue, Queue(queue.redis, f"{name}.other")):
        assert children(place) == ["child-0", "child-1", "child-2"] * has_children, name
    check_words(kind, queue)


def check_words(kind: Kind, queue: Queue) -> None:
    """What is kept of the end is that of the run that decided it."""
    state, value = stored_end(queue)
    assert state == kind.verdict
    if state == "cancelled":
        assert value == ("no use" if kind.event == "discard" else "expired")
    elif state == "completed":
        assert json.loads(value) == RESULTS.get(kind.event)
    else:
        (letter,) = queue.letters()
        assert len(json.loads(letter["errors"])) == kind.failures + 1
        assert int(letter["head"].split(b":")[3]) == kind.failures


REPLAY = ["before_send", "in_flight", "answered"]


def test_g6_a_replay_cut_off_at_every_step_loses_and_doubles_nothing(
    spawn: Spawner, server: RedisServer, redis: redis_py.Redis
) -> None:
    queues = {point: Queue(redis, f"replay.{point}") for point in REPLAY}
    for queue in queues.values():
        queue.settle((queue.one(NewJob("job", "e", b"[1]", queue.lane)), Buried("failed")))

    cut_off(
        spawn, server, "replay", {f"replay.{point}": f"replay.{point}" for point in REPLAY}
    )  # fmt: skip

    assert places(queues["before_send"]) == ["dead"]
    for point in ("in_flight", "answered"):
        eventually(lambda point=point: places(queues[point]) == ["lane:workers:default:0"])
    found = asyncio.run(replay_again(server, queues))
    assert found == {"before_send": ["+2"], "in_flight": ["=2"], "answered": ["=2"]}
    for queue in queues.values():
        assert places(queue) == ["lane:workers:default:0"]


async def replay_again(server: RedisServer, queues: dict[str, Queue]) -> dict[str, list[str]]:
    wire = Wire(Connector.of(server.url), name="again")
    found = {
        point: await DeadLetters(wire, queue.keys, where="").replay(["job"], patience=30.0)
        for point, queue in queues.items()
    }
    await wire.close()
    return found


RELAY = ["locked", "before_send", "in_flight", "answered", "before_delete", "after_delete"]


def test_g3_a_relay_cut_off_at_every_step_sends_each_child_once_and_in_order(
    spawn: Spawner, server: RedisServer, redis: redis_py.Redis
) -> None:
    cuts = {f"relay.{point}.{nth}": f"relay.{point}#{nth}" for point in RELAY for nth in (1, 2)}
    # The lock is taken once for the whole outbox.
    del cuts["relay.locked.2"]
    queues = {name: Queue(redis, name) for name in cuts}
    for name, queue in queues.items():
        jobs = [NewJob(f"child-{n}", "e", b"null", Lane(f"{name}.other")) for n in range(5)]
        parent = queue.one(NewJob("parent", "e", b"null", queue.lane))
        queue.settle(Settlement(parent, Completed(), jobs))

    cut_off(spawn, server, "relay", cuts)

    found = {name: complete(Queue(redis, f"{name}.other")) for name in queues}
    for queue in queues.values():
        redis.delete(queue.keys.relay_lock)
    asyncio.run(relay_all(server, *queues.values()))
    for name, ids in found.items():
        ids += complete(Queue(redis, f"{name}.other"))
    assert found == {name: [f"child-{n}" for n in range(5)] for name in queues}


def complete(target: Queue) -> list[str]:
    """Complete what has arrived: then its id does not keep it from being added again."""
    if not target.redis.zcard(target.keys.lanes):
        return []
    deliveries = target.deliver()
    target.settle(*((it, Completed()) for it in deliveries), number=0)
    return [it.envelope.id for it in deliveries]


async def relay_all(server: RedisServer, *queues: Queue) -> None:
    wire = Wire(Connector.of(server.url), name="relay")
    for queue in queues:
        await Relay(wire, queue.keys).step()
        assert not queue.redis.xlen(queue.keys.outbox)
    await wire.close()


KILLS = 200


def test_g3_children_arrive_once_and_in_order_although_relays_are_killed_200_times(
    spawn: Spawner, server: RedisServer, redis: redis_py.Redis
) -> None:
    seed = os.environ.get("SEED") or str(random.randrange(2**32))
    print(f"to see this again: SEED={seed}")
    child = spawn.python(str(APPS / "killed_relays.py"), server.url, seed, str(KILLS))
    assert child.wait(250.0) == 0, child.text
    told = json.loads(child.wait_for_line(r"\{.*\}")[0])
    posted, arrived, where = told["posted"], told["arrived"], Counter(told["where"])
    print(f"{told['killed']} relays were killed: {dict(where)}")

    queue = Queue(redis)
    redis.delete(queue.keys.relay_lock)
    asyncio.run(relay_all(server, queue))

    # Most hit relays between two steps of their work, and each step was hit.
    assert sum(where[point] for point in RELAY) >= max(KILLS, 0.9 * told["killed"])
    assert not set(RELAY) - where.keys()
    # The rest has arrived now.
    in_x, in_y = (arrived[name] + Queue(redis, name).ids() for name in "xy")
    assert in_x == [f"child-{n}" for n in range(posted) if n % 3]
    assert in_y == [f"child-{n}" for n in range(posted) if n % 3 == 0]
