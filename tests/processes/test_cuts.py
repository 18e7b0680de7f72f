"""Processes that are cut off at every step of recording an outcome, of a replay and of a relay."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
import redis as redis_py

from consumers.connection import Connector
from consumers.dead_letters import DeadLetters
from consumers.job import NewJob
from consumers.lanes import Lane
from consumers.outcome import Buried, Completed
from consumers.relay import Relay
from consumers.transitions import ALL, Settlement
from consumers.wire import Wire
from tests.processes.apps.cuts import worker
from tests.support.processes import Spawner
from tests.support.queue import Queue
from tests.support.servers import RedisServer
from tests.support.waiting import aeventually, eventually

APPS = Path(__file__).parent / "apps"
CUT = 137

SETTLE = ["decided", "before_send", "in_flight", "answered", "resolved"]
# What the one job of a queue does, and which of its outcomes the process is cut at.
KINDS: dict[str, tuple[str, dict[str, Any], int]] = {
    "complete": ("parent", {}, 1),
    "bury": ("fail", {}, 1),
    "retry": ("fail", {"max_retries": 1, "retry_delay_ms": 0}, 1),
    "retry-later": ("fail", {"max_retries": 1, "retry_delay_ms": 50}, 1),
    "bury-at-last": ("fail", {"max_retries": 1, "retry_delay_ms": 0}, 2),
}


def cut_off(spawn: Spawner, server: RedisServer, work: str, cuts: dict[str, str]) -> None:
    """Let each queue's process work until it ends at its point."""
    with server.client() as client:
        for script in ALL:
            # Otherwise what is in flight at the end is refused for want of its text.
            client.script_load(script.source)
    named = [f"{queue}={point}" for queue, point in cuts.items()]
    child = spawn.python(str(APPS / "cuts.py"), server.url, work, *named)
    assert child.wait(30.0) == 0, child.text
    ended = dict(line.split() for line in child.text.splitlines() if " " in line)
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
    stored = queue.redis.get(queue.keys.result(job_id))
    done = ["done"] if stored is not None and b" completed " in stored else []
    return lanes + dead + delayed + done


def children(queue: Queue) -> list[str]:
    return queue.ids(Lane(queue.keys.queue, "nobody"))


def test_g3_g6_a_worker_cut_off_at_every_step_of_a_settle_loses_and_doubles_nothing(
    spawn: Spawner, server: RedisServer, redis: redis_py.Redis
) -> None:
    cuts, queues = {}, {}
    for kind, (event, options, nth) in KINDS.items():
        for point in SETTLE:
            queue = queues[f"{kind}.{point}"] = Queue(redis, f"{kind}.{point}")
            given = json.dumps(options).encode() if options else b""
            queue.emit(NewJob("job", event, b"null", queue.lane, given))
            cuts[queue.keys.queue] = f"settle.{point}#{nth}"

    cut_off(spawn, server, "work", cuts)

    assert {name: len(places(queue)) for name, queue in queues.items()} == dict.fromkeys(queues, 1)
    assert places(queues["complete.in_flight"]) == places(queues["complete.answered"]) == ["done"]
    assert places(queues["bury.in_flight"]) == places(queues["bury.answered"]) == ["dead"]
    asyncio.run(recover(server, queues))
    for name, queue in queues.items():
        check_end(name, queue)


async def recover(server: RedisServer, queues: dict[str, Queue]) -> None:
    """Let a worker that is not cut off bring everything to its end."""

    def is_over(queue: Queue) -> bool:
        over = queue.stat("completed") + queue.stat("dead") == 1 and queue.pointer("job") is None
        return over and not queue.redis.xlen(queue.keys.outbox)

    consumer = worker(server.url, *queues)
    await consumer.start()
    try:
        await aeventually(lambda: all(map(is_over, queues.values())), within=20.0)
    finally:
        await consumer.stop(timeout=0)


def check_end(name: str, queue: Queue) -> None:
    other = Queue(queue.redis, f"{queue.keys.queue}.other")
    if name.startswith("complete"):
        assert places(queue) == ["done"], name
        assert children(queue) == children(other) == ["child-0", "child-1", "child-2"], name
        return
    assert places(queue) == ["dead"], name
    (letter,) = queue.letters()
    attempts = 1 if name.startswith("bury.") else 2
    assert len(json.loads(letter["errors"])) == attempts, name
    assert int(letter["head"].split(b":")[3]) == attempts - 1, name
    assert children(queue) == children(other) == [], name


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
        point: await DeadLetters(wire, queue.keys, where="").replay(["job"], patience=5.0)
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


@pytest.mark.timeout(120)
def test_g3_children_arrive_once_and_in_order_although_relays_are_killed_200_times(
    spawn: Spawner, server: RedisServer, redis: redis_py.Redis
) -> None:
    child = spawn.python(str(APPS / "killed_relays.py"), server.url, "20261122", "200")
    assert child.wait(100.0) == 0, child.text
    told = child.wait_for_line(r"posted (\d+) (.*)")
    posted, arrived = int(told[1]), json.loads(told[2])

    queue = Queue(redis)
    redis.delete(queue.keys.relay_lock)
    asyncio.run(relay_all(server, queue))

    ids = range(posted)
    assert posted >= 200
    # The rest has arrived now.
    in_x, in_y = (arrived[name] + Queue(redis, name).ids() for name in "xy")
    assert in_x == [f"child-{n}" for n in ids if n % 3]
    assert in_y == [f"child-{n}" for n in ids if n % 3 == 0]
