"""Scripts on a node of a cluster while it moves the queue's slot key by key."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import redis as redis_py

from consumers.jobs.outcome import Completed, RetryAt
from tests.support.queue import Queue, new_job
from tests.support.servers import RedisServer, free_port
from tests.support.waiting import eventually

DELAY_MS = 60_000


@pytest.fixture
def nodes(server: RedisServer) -> Iterator[list[RedisServer]]:
    """A node with all slots, and one without any that it knows."""
    if server.version < (7, 0):
        pytest.skip("the port between nodes can be chosen from Redis 7.0 on")
    nodes = []
    try:
        for _ in range(2):
            bus = str(free_port())
            node = RedisServer(server.binary, cluster_enabled="yes", cluster_port=bus)
            nodes.append((node.start(), bus))
        (one, _), (other, bus) = nodes
        with one.client() as client:
            client.execute_command("CLUSTER", "ADDSLOTSRANGE", 0, 16383)
            client.execute_command("CLUSTER", "MEET", "127.0.0.1", other.port, bus)
            eventually(lambda: client.cluster("INFO")["cluster_state"] == "ok")
            eventually(lambda: len(client.cluster("NODES")) == 2)
        yield [node for node, _ in nodes]
    finally:
        for node, _ in nodes:
            node.stop()


@pytest.fixture
def queue(nodes: list[RedisServer]) -> Iterator[Queue]:
    with nodes[0].client() as client:
        yield Queue(client)


def set_slot(queue: Queue, *state: str) -> None:
    slot = queue.redis.execute_command("CLUSTER", "KEYSLOT", queue.keys.meta)
    queue.redis.execute_command("CLUSTER", "SETSLOT", slot, *state)


@pytest.mark.parametrize("outcome", [Completed(), RetryAt(DELAY_MS)], ids=["complete", "retry"])
def test_a_settle_is_refused_whole_and_goes_through_afterwards(
    queue: Queue, nodes: list[RedisServer], outcome: Completed | RetryAt
) -> None:
    deliveries = [queue.one(new_job(it)) for it in "ab"]
    with nodes[1].client() as client:
        set_slot(queue, "MIGRATING", client.execute_command("CLUSTER", "MYID").decode())
    before = queue.snapshot()

    with pytest.raises(redis_py.exceptions.TryAgainError):
        queue.settle(*((it, outcome) for it in deliveries))

    assert queue.snapshot() == before
    set_slot(queue, "STABLE")
    assert queue.settle(*((it, outcome) for it in deliveries)) == ["1", "1"]


def test_an_emit_is_refused_whole_and_is_no_foreign_value(
    queue: Queue, nodes: list[RedisServer]
) -> None:
    queue.emit(new_job("a"))
    with nodes[1].client() as client:
        set_slot(queue, "MIGRATING", client.execute_command("CLUSTER", "MYID").decode())
    before = queue.snapshot()

    with pytest.raises(redis_py.exceptions.TryAgainError):
        queue.emit(new_job("b"))

    assert queue.snapshot() == before
    set_slot(queue, "STABLE")
    assert queue.emit(new_job("b")) == ["+2"]
