"""The outbox of a worker's queue: children reach other queues whatever lies in their way."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
import redis as redis_py

from consumers.connection import Connector
from consumers.job import Job, NewJob
from consumers.keys import Keys
from consumers.outcome import Completed
from consumers.relay import Relay
from consumers.transitions import Settlement
from consumers.wire import Wire
from tests.support.engine import QueueView, emitting, working
from tests.support.engine import new_job as engine_job
from tests.support.queue import Queue, foreign_value, new_job
from tests.support.servers import RedisServer
from tests.support.waiting import aeventually


@pytest.fixture
def queue(redis: redis_py.Redis) -> Queue:
    return Queue(redis)


@pytest.fixture
async def wire(server: RedisServer) -> AsyncIterator[Wire]:
    wire = Wire(Connector.of(server.url), name="relay")
    yield wire
    await wire.close()


def post(queue: Queue, *children: NewJob) -> None:
    parent = queue.one(new_job(f"parent-of-{children[0].id}"))
    assert queue.settle(Settlement(parent, Completed(), children)) == ["1"]


async def test_g3_a_child_for_another_queue_is_run_there_soon(
    server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The settle itself wakes the relay: no look at the outbox comes in time.
    monkeypatch.setattr("consumers.relay.LOOK", 3600.0)
    ran: list[tuple[str, str]] = []

    async def parent(job: Job[None]) -> None:
        job.on_success += [engine_job("child", id=f"child-{n}", queue="b") for n in range(3)]

    async def child(job: Job[None]) -> None:
        ran.append((job.queue, job.id))

    handlers = {("a", "parent"): parent, ("b", "child"): child}
    async with emitting(server.url) as emit, working(server.url, handlers):
        await emit("parent", queue="a")
        await aeventually(lambda: len(ran) == 3)

    assert ran == [("b", f"child-{n}") for n in range(3)]


async def test_a_burst_does_not_end_before_its_children_are_on_their_way(
    server: RedisServer, redis: redis_py.Redis
) -> None:
    async def parent(job: Job[None]) -> None:
        job.on_success += [engine_job("child", id=f"child-{n}", queue="b") for n in range(300)]

    async with emitting(server.url) as emit:
        await asyncio.gather(*(emit("parent", queue="a") for _ in range(1)))
        async with working(server.url, {("a", "parent"): parent}) as worker:
            await worker.until_idle()

    assert redis.xlen(Keys("a").outbox) == 0
    assert redis.xlen(QueueView(redis, "b").lane()) == 300


async def test_an_outbox_larger_than_a_page_is_relayed_in_order(
    queue: Queue, wire: Wire, redis: redis_py.Redis
) -> None:
    children = [new_job(f"child-{n}", queue="x" if n % 2 else "y") for n in range(250)]
    post(queue, *children)

    await Relay(wire, queue.keys).step()

    assert redis.xlen(queue.keys.outbox) == 0
    for name in ("x", "y"):
        expected = [child.id for child in children if child.lane.queue == name]
        assert Queue(redis, name).ids() == expected
    assert redis.smembers("tm:queues") == {b"x", b"y"}
    assert not redis.exists(queue.keys.relay_lock)


async def test_a_queue_that_takes_nothing_holds_up_its_own_children_only(
    queue: Queue, wire: Wire, redis: redis_py.Redis, caplog: pytest.LogCaptureFixture
) -> None:
    broken, refusing, healthy = (Queue(redis, name) for name in "xyz")
    names = "xyz" * 10
    post(queue, *(new_job(f"child-{n}", queue=name) for n, name in enumerate(names)))

    with (
        foreign_value(redis, broken.stream().key),
        foreign_value(redis, refusing.keys.meta),
    ):
        await Relay(wire, queue.keys, batch=4).step()

    assert healthy.ids() == [f"child-{n}" for n in range(30) if names[n] == "z"]
    assert redis.xlen(queue.keys.outbox) == 20
    assert "children for queue x wait" in caplog.text
    assert "children for queue y wait" in caplog.text
    await Relay(wire, queue.keys, batch=4).step()
    assert broken.ids() == [f"child-{n}" for n in range(30) if names[n] == "x"]
    assert refusing.ids() == [f"child-{n}" for n in range(30) if names[n] == "y"]


FOREIGN = [
    {"somebody": "else's"},
    {"queue": "other", "lane": "x", "id": "a", "event": "e", "data": "", "options": "",
     "due": "", "guard": ""},
    {"queue": "{", "lane": "workers:default:0", "id": "a", "event": "e", "data": "", "options": "",
     "due": "", "guard": ""},
    {"queue": "other", "lane": "workers:default:0", "id": "a b", "event": "e", "data": "",
     "options": "", "due": "", "guard": ""},
    {"queue": "other", "lane": "workers:default:0", "id": "a", "event": "e", "data": "",
     "options": "", "due": "soon", "guard": ""},
    {"queue": b"\xff", "lane": b"\xff", "id": b"\xff", "event": "", "data": "", "options": "",
     "due": b"\xff", "guard": ""},
]  # fmt: skip


@pytest.mark.parametrize("fields", FOREIGN)
async def test_g13_a_foreign_entry_of_the_outbox_is_quarantined_and_stops_nobody(
    queue: Queue, wire: Wire, redis: redis_py.Redis, fields: dict[str, str]
) -> None:
    redis.xadd(queue.keys.outbox, fields)  # type: ignore[arg-type]
    post(queue, new_job("child", queue="other"))

    await Relay(wire, queue.keys).step()

    assert Queue(redis, "other").ids() == ["child"]
    (letter,) = queue.letters()
    assert letter["reason"] == b"foreign"
    assert letter["raw"].startswith(b"%d:" % len(next(iter(fields))))
    assert redis.xlen(queue.keys.outbox) == 0


async def test_a_relay_whose_lock_another_one_holds_leaves_the_outbox_alone(
    queue: Queue, wire: Wire, redis: redis_py.Redis
) -> None:
    post(queue, new_job("child", queue="other"))
    redis.set(queue.keys.relay_lock, "another", px=60_000)

    await Relay(wire, queue.keys).step()

    assert redis.xlen(queue.keys.outbox) == 1
    assert redis.get(queue.keys.relay_lock) == b"another"
