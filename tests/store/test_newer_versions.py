"""Beside a newer version: what this one does not know it leaves as it is, and loses nothing."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import redis as redis_py

from consumers.connections.connector import Connector
from consumers.connections.wire import Wire
from consumers.jobs.outcome import Buried, Completed, Released, RetryAt
from consumers.store.delivery import Delivery
from consumers.store.keys import bucket
from consumers.store.settling import Settlement
from consumers.upkeep.relay import Relay
from tests.support.queue import Queue, new_job
from tests.support.servers import RedisServer

HOUR_MS = 3_600_000
# Clauses of a head that no version has yet, around those that this one knows.
CLAUSES = ":z=x/y,1:r=1:i=key"
# What a newer version may ask before a job is added.
NEWER_GUARDS = ["z ab", "i key;z ab 1", "z ab;i key", "i key;t key 1 2"]


@pytest.fixture
def queue(redis: redis_py.Redis) -> Queue:
    return Queue(redis)


@pytest.fixture
async def wire(server: RedisServer) -> AsyncIterator[Wire]:
    wire = Wire(Connector.of(server.url), name="relay")
    yield wire
    await wire.close()


def delivered_with_newer_clauses(queue: Queue) -> Delivery:
    """Return the delivery of a job as a newer version adds it."""
    queue.emit(new_job("before"))
    lane = queue.stream().key
    head = f"1:7:{queue.now_ms()}:0:0:0{CLAUSES}"
    fields = {"head": head, "id": "a", "event": "e", "data": "{}", "options": ""}
    entry = queue.redis.xadd(lane, fields).decode()  # type: ignore[arg-type]
    queue.redis.hset(queue.keys.live("a"), "a", f"7 0 {queue.lane.name} {entry}")
    return queue.deliver()[-1]


def clauses_of(queue: Queue, key: str) -> str:
    """Return the clauses of the head of a stream's last entry."""
    ((_, fields),) = queue.redis.xrevrange(key, count=1)
    return ":" + fields[b"head"].decode().split(":", 6)[6]


def test_a_release_carries_clauses_along_that_only_a_newer_version_knows(queue: Queue) -> None:
    assert queue.settle((delivered_with_newer_clauses(queue), Released("stop"))) == ["1"]

    assert clauses_of(queue, queue.stream(front=True).key) == CLAUSES


def test_a_retry_carries_them_along(queue: Queue) -> None:
    assert queue.settle((delivered_with_newer_clauses(queue), RetryAt(0))) == ["1"]

    assert clauses_of(queue, queue.stream().key) == CLAUSES


def test_a_promotion_carries_them_along(queue: Queue) -> None:
    assert queue.settle((delivered_with_newer_clauses(queue), RetryAt(HOUR_MS))) == ["1"]
    queue.make_due("a")
    queue.promote()

    assert clauses_of(queue, queue.stream().key) == CLAUSES


def test_a_replay_carries_them_along(queue: Queue) -> None:
    assert queue.settle((delivered_with_newer_clauses(queue), Buried("failed"))) == ["1"]
    # The newer version has counted further than this one's meta says.
    assert queue.replay("a") == ["+2"]

    assert clauses_of(queue, queue.stream().key) == CLAUSES


def test_a_completion_knows_the_key_of_a_job_with_newer_clauses(queue: Queue) -> None:
    delivery = delivered_with_newer_clauses(queue)
    value = f"{bucket('a')} a 7 {queue.now_ms()}"
    queue.redis.set(queue.keys.idempotency("key"), value)

    assert queue.settle((delivery, Completed())) == ["1"]

    assert queue.redis.pttl(queue.keys.idempotency("key")) > 0


@pytest.mark.parametrize("guard", NEWER_GUARDS)
def test_an_emit_refuses_a_guard_that_only_a_newer_version_knows(queue: Queue, guard: str) -> None:
    words = queue.emit(new_job("a", guard=guard), new_job("b"))

    assert words == [f"U{'t' if 't' in guard else 'z'}", "+1"]
    assert queue.ids() == ["b"]
    assert queue.pointer("a") is None


@pytest.mark.parametrize("guard", NEWER_GUARDS)
def test_a_parent_stays_ours_when_only_a_newer_version_knows_what_a_child_asks(
    queue: Queue, guard: str
) -> None:
    parent = queue.one()

    (word,) = queue.settle(Settlement(parent, Completed(), [new_job("child", guard=guard)]))

    assert word[0] == "U"
    assert queue.pending(parent) is not None
    assert queue.ids() == ["a"]


@pytest.mark.parametrize("guard", NEWER_GUARDS)
async def test_a_committed_job_waits_for_a_relay_that_knows_what_it_asks(
    queue: Queue, wire: Wire, guard: str, caplog: pytest.LogCaptureFixture
) -> None:
    other, third = Queue(queue.redis, "other"), Queue(queue.redis, "third")
    children = [
        new_job("first", queue="other"),
        new_job("newer", queue="other", guard=guard),
        new_job("last", queue="other"),
        new_job("elsewhere", queue="third"),
    ]
    assert queue.settle(Settlement(queue.one(), Completed(), children)) == ["1"]

    await Relay(wire, queue.keys).step()

    assert (other.ids(), third.ids()) == (["first"], ["elsewhere"])
    waiting = [fields[b"id"] for _, fields in queue.redis.xrange(queue.keys.outbox)]
    assert waiting == [b"newer", b"last"]
    assert queue.letters() == []
    assert "only a newer version knows what they ask" in caplog.text
