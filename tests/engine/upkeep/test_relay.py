"""The outbox of a worker's queue: children reach other queues whatever lies in their way."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
import redis as redis_py

from consumers.connections.connector import Connector
from consumers.connections.link import Argument
from consumers.connections.wire import Wire
from consumers.jobs.envelope import NewJob
from consumers.jobs.job import Job
from consumers.jobs.outcome import Completed
from consumers.store.keys import Keys
from consumers.store.settling import Settlement
from consumers.store.steps import BATCH_BYTES
from consumers.upkeep.relay import Relay
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
    monkeypatch.setattr(Relay, "interval", 3600.0)
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
    assert "follow-up jobs for queue x are waiting" in caplog.text
    assert "follow-up jobs for queue y are waiting" in caplog.text
    await Relay(wire, queue.keys, batch=4).step()
    assert broken.ids() == [f"child-{n}" for n in range(30) if names[n] == "x"]
    assert refusing.ids() == [f"child-{n}" for n in range(30) if names[n] == "y"]


LIKE_OURS = {
    "queue": "other", "lane": "workers:default:0", "id": "a", "event": "e", "data": "",
    "options": "", "due": "", "guard": "", "epoch": "1.1",
}  # fmt: skip

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
    {**LIKE_OURS, "due": "\u0661\u0662"},
    {**LIKE_OURS, "guard": "i caf\u00e9"},
    {**LIKE_OURS, "lane": "workers:default:\u0661"},
    {**LIKE_OURS, "epoch": "of somebody else"},
    {**LIKE_OURS, "epoch": "\u0661.\u0661"},
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


class Watched(Wire):
    """A wire that counts pages of the outbox, and knows the largest script that it sent."""

    def __init__(self, connector: Connector) -> None:
        super().__init__(connector, name="relay")
        self.pages = self.largest = 0

    def send(self, *args: Argument, **more: Any) -> asyncio.Future[Any]:
        self.pages += args[0] == "XRANGE"
        self.largest = max(self.largest, sum(len(it) for it in args if isinstance(it, bytes)))
        return super().send(*args, **more)


@pytest.fixture
async def watched(server: RedisServer) -> AsyncIterator[Watched]:
    watched = Watched(Connector.of(server.url))
    yield watched
    await watched.close()


async def test_an_outbox_of_large_jobs_is_relayed_in_scripts_of_a_bounded_size(
    queue: Queue, watched: Watched, redis: redis_py.Redis
) -> None:
    post(queue, *(new_job(f"small-{n}", queue="x") for n in range(150)))
    large = b"x" * 250_000
    for n in range(20):
        names = [f"large-{n}-{each}" for each in range(3)]
        post(queue, *(new_job(name, queue="x", data=large) for name in names))

    await Relay(watched, queue.keys).step()

    assert redis.xlen(queue.keys.outbox) == 0
    assert len(Queue(redis, "x").ids()) == 150 + 60
    assert Queue(redis, "x").ids()[-3:] == ["large-19-0", "large-19-1", "large-19-2"]
    assert len(large) < watched.largest <= BATCH_BYTES


async def test_children_that_wait_for_a_blocked_queue_are_not_read_again_at_each_wake(
    queue: Queue, watched: Watched, redis: redis_py.Redis
) -> None:
    blocked, healthy = Queue(redis, "x"), Queue(redis, "y")
    post(queue, *(new_job(f"x-{n}", queue="x") for n in range(200)))
    post(queue, new_job("y-0", queue="y"))
    relay = Relay(watched, queue.keys, batch=4)

    with foreign_value(redis, blocked.stream().key):
        await relay.step()
        assert watched.pages > 50
        post(queue, new_job("y-1", queue="y"), new_job("x-200", queue="x"))
        watched.pages = 0
        await relay.step()
        assert watched.pages <= 4

    await relay.step()
    assert healthy.ids() == ["y-0", "y-1"]
    assert blocked.ids() == [f"x-{n}" for n in range(201)]
    assert redis.xlen(queue.keys.outbox) == 0


async def test_what_waited_is_read_again_once_one_of_two_blocked_queues_takes_it(
    queue: Queue, watched: Watched, redis: redis_py.Redis
) -> None:
    one, other = Queue(redis, "x"), Queue(redis, "y")
    post(queue, *(new_job(f"{'xy'[n % 2]}-{n}", queue="xy"[n % 2]) for n in range(60)))
    relay = Relay(watched, queue.keys, batch=4)

    with foreign_value(redis, one.stream().key):
        with foreign_value(redis, other.stream().key):
            await relay.step()
            await relay.step()
        await relay.step()
        assert other.ids() == [f"y-{n}" for n in range(1, 60, 2)]
    await relay.step()

    assert one.ids() == [f"x-{n}" for n in range(0, 60, 2)]


async def test_children_in_an_outbox_that_was_made_again_are_relayed_though_the_clock_went_back(
    queue: Queue, wire: Wire, redis: redis_py.Redis
) -> None:
    post(queue, new_job("before", queue="x"))
    ((entry, _),) = redis.xrange(queue.keys.outbox)
    await Relay(wire, queue.keys).step()
    redis.delete(queue.keys.outbox)
    post(queue, new_job("after", queue="x"))
    ((_, fields),) = redis.xrange(queue.keys.outbox)
    # The clock was set back by a minute in between.
    lower = f"{int(entry.split(b'-')[0]) - 60_000}-0"
    redis.rename(queue.keys.outbox, "was")
    redis.xadd(queue.keys.outbox, fields, id=lower)
    redis.delete("was")

    await Relay(wire, queue.keys).step()
    await Relay(wire, queue.keys).step()

    assert Queue(redis, "x").ids() == ["before", "after"]


async def test_a_relay_whose_lock_another_one_holds_leaves_the_outbox_alone(
    queue: Queue, wire: Wire, redis: redis_py.Redis
) -> None:
    post(queue, new_job("child", queue="other"))
    redis.set(queue.keys.relay_lock, "another", px=60_000)

    await Relay(wire, queue.keys).step()

    assert redis.xlen(queue.keys.outbox) == 1
    assert redis.get(queue.keys.relay_lock) == b"another"
