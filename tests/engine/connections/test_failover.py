"""An address that leads to a new primary, while the old one goes on as a replica of it.

As behind a managed Redis, HAProxy or a Kubernetes service: connections to the old
primary stay open, and whatever they write is refused.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator
from typing import Any

import pytest
import redis as redis_py

from consumers.connections.channel import SyncChannel
from consumers.connections.connector import Connector
from consumers.jobs.job import Job
from tests.support.engine import QueueView, emitting, working
from tests.support.proxy import FaultProxy
from tests.support.servers import RedisServer
from tests.support.waiting import aeventually, eventually

WITHIN = 30.0


class Pair:
    """A primary and its replica behind one address."""

    def __init__(self, server: RedisServer, proxy: FaultProxy) -> None:
        self.old = RedisServer(server.binary).start()
        self.new = RedisServer(server.binary).start()
        self.proxy = proxy
        with self.new.client() as client:
            client.replicaof("127.0.0.1", self.old.port)
            eventually(lambda: _is_up(client), WITHIN)
        proxy.lead_to(self.old.port)

    @property
    def url(self) -> str:
        return self.proxy.url

    def fail_over(self) -> None:
        """Let them change roles, and the address follow; connections stay as they are."""
        with self.old.client() as old, self.new.client() as new:
            # What was acknowledged is there: this is no loss of data.
            old.wait(1, round(WITHIN * 1000))
            new.replicaof("NO", "ONE")
            old.replicaof("127.0.0.1", self.new.port)
            self.proxy.lead_to(self.new.port)

    def connected_to_old(self) -> list[str]:
        """Return the names of the connections through the address to the old primary."""
        with self.old.client(decode_responses=True) as client:
            return [it["name"] for it in client.client_list() if it["name"]]

    def stop(self) -> None:
        self.old.stop()
        self.new.stop()


def _is_up(replica: redis_py.Redis) -> bool:
    return replica.info("replication").get("master_link_status") == "up"


@pytest.fixture
def pair(server: RedisServer) -> Iterator[Pair]:
    with FaultProxy(server.port) as proxy:
        pair = Pair(server, proxy)
        yield pair
        pair.stop()


async def test_a_producer_with_an_open_connection_emits_to_the_new_primary(pair: Pair) -> None:
    async with emitting(pair.url, emit_timeout=WITHIN) as emit:
        await emit("before")
        pair.fail_over()

        emitted = await emit("after")

    assert emitted.created
    with pair.new.client() as redis:
        assert redis.xlen(QueueView(redis).lane()) == 2


async def test_a_worker_records_at_the_new_primary_what_it_ran_and_runs_it_once(
    pair: Pair,
) -> None:
    ran: list[str] = []
    may_end = asyncio.Event()

    async def work(job: Job[Any]) -> None:
        ran.append(job.id)
        await job.logger("begun")
        await may_end.wait()
        await job.logger("ended")

    async with emitting(pair.url, emit_timeout=WITHIN) as emit:
        await emit("work")
        async with working(pair.url, {"work": work}, concurrency=4, lease=3.0) as worker:
            await aeventually(lambda: worker.running == 1, WITHIN)
            pair.fail_over()
            await emit("work")
            await aeventually(lambda: worker.running == 2, WITHIN)
            may_end.set()
            await aeventually(lambda: worker.settled == 2, WITHIN)
            # Whatever writes and whatever only listens, it goes over to the new one.
            await aeventually(lambda: pair.connected_to_old() == [], WITHIN)

    assert sorted(ran) == ["work-1", "work-2"]
    with pair.new.client() as redis:
        queue = QueueView(redis)
        assert queue.stats("completed") == 2
        assert redis.llen(queue.keys.log("work-1")) == 2


async def test_that_an_address_leads_to_a_replica_is_said_once(
    pair: Pair, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING, "taskmanager.redis")

    async def work(job: Job[Any]) -> None:
        pass

    async with emitting(pair.url, emit_timeout=WITHIN) as emit:
        connector = emit.producer.wire.connector
        async with working(connector, {"work": work}, concurrency=4) as worker:
            await emit("work")
            # The address is late: for a while it leads to what is a replica by now.
            pair.fail_over()
            pair.proxy.lead_to(pair.old.port)
            late = emit("work")
            await aeventually(lambda: connector.era.number >= 3, WITHIN)
            pair.proxy.lead_to(pair.new.port)
            await late
            await aeventually(lambda: worker.settled == 2, WITHIN)

    said = [it.getMessage() for it in caplog.records if it.name == "taskmanager.redis"]
    assert len(said) == 1
    assert "is now a replica; reconnecting: " in said[0]


def test_a_thread_that_renews_leases_leaves_the_old_primary(pair: Pair) -> None:
    channel = SyncChannel(Connector.of(pair.url), name="a-renewer")
    write = ("EVAL", "return redis.call('SET', KEYS[1], 1, 'PX', 60000)", 1, "key")
    assert channel.ask(write, timeout=WITHIN) == [b"OK"]
    pair.fail_over()

    with pytest.raises(redis_py.ConnectionError, match="read only replica"):
        channel.ask(write, timeout=WITHIN)

    assert channel.ask(write, timeout=WITHIN) == [b"OK"]
    assert pair.connected_to_old() == []
    channel.close()
