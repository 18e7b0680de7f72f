"""Servers as others run them: commands are switched off, rights are few, it is a cluster."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
import redis as redis_py

from consumers.channel import SyncChannel
from consumers.connection import Connector
from consumers.errors import RedisUnavailable, TaskManagerError
from consumers.job import Job
from consumers.reader import BLOCK_UNWOKEN
from tests.support.engine import QueueView, emitting, working
from tests.support.servers import RedisServer
from tests.support.waiting import aeventually

WITHIN = 30.0


async def work(job: Job[Any]) -> None:
    pass


def url_of_user(server: RedisServer, redis: redis_py.Redis, *rules: str) -> str:
    """Return the URL of a user with these rules; the server forgets it with the test."""
    redis.execute_command("ACL", "SETUSER", "u", "on", ">pw", *rules)
    return server.url.replace("redis://", "redis://u:pw@")


async def test_a_user_without_the_client_command_emits_and_works(
    server: RedisServer, redis: redis_py.Redis
) -> None:
    queue = QueueView(redis)
    url = url_of_user(server, redis, "~*", "&*", "+@all", "-client")

    async with emitting(url) as emit, working(url, {"work": work}) as worker:
        await emit("work")
        await aeventually(lambda: queue.stats("completed") == 1, WITHIN)
        # A lane that is not there yet: the reader blocks on the others, and nobody wakes it.
        await emit("work", priority=5)
        await aeventually(lambda: queue.stats("completed") == 2, WITHIN)
        assert worker._parts is not None
        reader = worker._parts.reader
        await aeventually(lambda: reader.block == BLOCK_UNWOKEN, WITHIN)


def test_a_thread_that_renews_leases_needs_no_client_command(
    server: RedisServer, redis: redis_py.Redis
) -> None:
    url = url_of_user(server, redis, "~*", "&*", "+@all", "-client")
    channel = SyncChannel(Connector.of(url), name="a-keeper")

    assert channel.ask(("PING",), timeout=WITHIN) == [b"PONG"]
    names = [it["name"] for it in redis.client_list()]
    assert "a-keeper" in names
    assert channel.client_id is not None
    channel.close()


async def test_a_reader_that_can_be_woken_blocks_as_long_as_ever(server: RedisServer) -> None:
    async with emitting(server.url) as emit, working(server.url, {"work": work}) as worker:
        assert worker._parts is not None
        parts = worker._parts
        await aeventually(lambda: parts.reader.channel.client_id is not None, WITHIN)
        passes = parts.fetcher.passes
        await asyncio.gather(emit("work", priority=5), emit("work"))
        await aeventually(lambda: worker.settled == 2 and parts.fetcher.passes > passes, WITHIN)

        assert parts.reader.can_be_woken
        assert parts.reader.block > BLOCK_UNWOKEN


async def test_the_keys_that_a_user_may_not_touch_are_named(
    server: RedisServer, redis: redis_py.Redis
) -> None:
    url = url_of_user(server, redis, "~jobs:*", "&*", "+@all")

    with pytest.raises(TaskManagerError, match=r"keys tm:\{default\}:\*.*Extend its ACL rules"):
        async with working(url, {"work": work}):
            pass
    async with emitting(url) as emit:
        with pytest.raises(TaskManagerError, match=r"keys tm:\{default\}:\*.*Extend its ACL"):
            await emit("work")


@pytest.fixture
def cluster_node(server: RedisServer) -> Iterator[RedisServer]:
    """A server in cluster mode that has no slots, as most nodes have few."""
    node = RedisServer(server.binary, cluster_enabled="yes").start()
    yield node
    node.stop()


async def test_a_node_of_a_cluster_is_refused_at_once_and_named(cluster_node: RedisServer) -> None:
    url = cluster_node.url

    with pytest.raises(RedisUnavailable, match="a node of a cluster, which is not supported"):
        # Waiting would not make another server of it.
        async with working(url, {"work": work}, connect_timeout=10 * WITHIN):
            pass
    async with emitting(url, emit_timeout=10 * WITHIN) as emit:
        with pytest.raises(RedisUnavailable, match="a node of a cluster") as refused:
            await emit("work")

    assert refused.value.outcome == "not_sent"
