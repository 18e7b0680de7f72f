"""Servers as others run them: commands are switched off, rights are few, it is a cluster."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
import redis as redis_py

from consumers.connections.channel import SyncChannel
from consumers.connections.connector import Connector
from consumers.errors import RedisUnavailable, TaskManagerError
from consumers.fetch.reader import BLOCK_UNWOKEN
from consumers.jobs.job import Job
from consumers.jobs.lanes import DEFAULT_TYPE
from taskmanager import Context, JobFailed, TaskManager
from tests.support.engine import QueueView, emitting, working
from tests.support.servers import RedisServer
from tests.support.waiting import aeventually, eventually

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
    channel = SyncChannel(Connector.of(url), name="a-renewer")

    assert channel.ask(("PING",), timeout=WITHIN) == [b"PONG"]
    names = [it["name"] for it in redis.client_list()]
    assert "a-renewer" in names
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

    with pytest.raises(
        RedisUnavailable, match="a cluster node, which is supported only if one node"
    ):
        # Waiting would not make another server of it.
        async with working(url, {"work": work}, connect_timeout=10 * WITHIN):
            pass
    async with emitting(url, emit_timeout=10 * WITHIN) as emit:
        with pytest.raises(RedisUnavailable, match="a cluster node") as refused:
            await emit("work")

    assert refused.value.outcome == "not_sent"


@pytest.fixture
def half_node(cluster_node: RedisServer) -> RedisServer:
    """A node that serves half of the slots, as of a cluster of two."""
    return with_slots(cluster_node, range(8192))


@pytest.fixture
def whole_node(cluster_node: RedisServer) -> RedisServer:
    """A node that serves all slots by itself, as hosted services offer it."""
    with_slots(cluster_node, range(16_384))
    with cluster_node.client() as client:
        eventually(lambda: client.execute_command("CLUSTER INFO")["cluster_state"] == "ok")
    return cluster_node


def with_slots(node: RedisServer, slots: range) -> RedisServer:
    with node.client() as client:
        client.execute_command("CLUSTER", "ADDSLOTS", *slots)
    return node


async def test_a_node_that_serves_half_of_the_slots_is_refused(half_node: RedisServer) -> None:
    with pytest.raises(RedisUnavailable, match="only if one node serves all slots"):
        async with working(half_node.url, {"work": work}, connect_timeout=10 * WITHIN):
            pass
    async with emitting(half_node.url, emit_timeout=10 * WITHIN) as emit:
        with pytest.raises(RedisUnavailable, match="only if one node serves all slots"):
            await emit("work")


async def test_a_node_with_all_slots_runs_jobs_children_and_schedules_of_two_queues(
    whole_node: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    tm, ran = TaskManager(whole_node.url), list[str]()

    @tm.registerHandler(event="parent")
    async def parent(job: Job[Any], ctx: Context) -> None:
        ctx.emit("child", queue="other", on_success=True)

    @tm.registerHandler(event="fails", max_retries=1, retry_delay_ms=20)
    async def fails(job: Job[Any]) -> None:
        raise ValueError("again and again")

    @tm.registerHandler(event="child", queue="other")
    async def child(job: Job[Any]) -> None:
        ran.append("child")

    @tm.registerHandler(event="tick", queue="other", repeat={"pattern": "* * * * * *"})
    async def tick(job: Job[Any]) -> None:
        ran.append("tick")

    await tm.start()
    await (await tm.emit("parent")).result(timeout=WITHIN)
    with pytest.raises(JobFailed):
        await (await tm.emit("fails")).result(timeout=WITHIN)
    await aeventually(lambda: {"child", "tick"} <= set(ran), WITHIN)
    stats = [await tm.stats(queue) for queue in ("default", "other")]
    await tm.stop()

    assert [it.dead for it in stats] == [1, 0]
    errors = [it.getMessage() for it in caplog.records if it.levelname == "ERROR"]
    assert [it for it in errors if "again and again" not in it] == []


async def test_in_cluster_mode_each_queue_is_read_whichever_is_blocked_on(
    whole_node: RedisServer,
) -> None:
    queues, handlers = ("a", "b", "c"), {(queue, "work"): work for queue in ("a", "b", "c")}
    async with emitting(whole_node.url) as emit, working(whole_node.url, handlers) as worker:
        for settled in range(1, 10):
            await emit("work", queue=queues[settled % 3], priority=settled % 2)
            await aeventually(lambda count=settled: worker.settled == count, WITHIN)
        await asyncio.gather(*(emit("work", queue=queue) for queue in queues * 50))
        await aeventually(lambda: worker.settled == 159, WITHIN)


async def test_in_cluster_mode_a_queue_that_lost_its_group_keeps_no_job_of_another(
    whole_node: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    with whole_node.client() as client:
        other = QueueView(client, "other")
        handlers = {(queue, "work"): work for queue in ("default", "other")}
        async with emitting(whole_node.url) as emit, working(whole_node.url, handlers) as worker:
            await asyncio.gather(emit("work"), emit("work", queue="other"))
            await aeventually(lambda: worker.settled == 2, WITHIN)
            client.xgroup_destroy(other.lane(), DEFAULT_TYPE)
            await asyncio.gather(emit("work"), emit("work", queue="other"), emit("work"))
            await aeventually(lambda: worker.settled == 5, WITHIN)

    assert "had lost its group; created it again from the first entry" in caplog.text
