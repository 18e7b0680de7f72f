"""The auditor on real Redis: who does it, who is told, and what it does not touch."""

from __future__ import annotations

import asyncio

import pytest
import redis as redis_py

from consumers.connections.connector import Connector
from consumers.connections.wire import Wire
from consumers.jobs.job import Job
from consumers.jobs.lanes import Lane
from consumers.store import tending
from consumers.upkeep.auditor import Auditor
from taskmanager import ResultExpired, TaskManager
from tests.support.engine import SHORT_LEASE, QueueView, emitting, working
from tests.support.queue import GROUP, Queue
from tests.support.servers import RedisServer
from tests.support.waiting import PATIENCE, aeventually


async def work(job: Job[None]) -> None:
    pass


async def emit_and_lose(server: RedisServer, redis: redis_py.Redis, *ids: str) -> QueueView:
    """Emit jobs, delete their lane and repair it: what is left to do is the audit."""
    view, queue = QueueView(redis), Queue(redis)
    async with emitting(server.url) as emit:
        await asyncio.gather(*(emit("work", id=job_id) for job_id in ids))
    redis.delete(view.lane())
    queue.run(tending.repair(view.keys, Lane("default"), GROUP))
    return view


async def audit(server: RedisServer, view: QueueView, *, workers: int = 1) -> None:
    wires = [Wire(Connector.of(server.url), name=f"auditor-{n}") for n in range(workers)]
    try:
        await asyncio.gather(*(Auditor(wire, [view.keys]).audit(view.keys) for wire in wires))
    finally:
        await asyncio.gather(*(wire.close() for wire in wires))


async def test_an_audit_that_a_dead_worker_has_left_is_done_by_another(
    server: RedisServer, redis: redis_py.Redis
) -> None:
    view = await emit_and_lose(server, redis, "a")

    async with working(server.url, {"work": work}) as worker:
        worker._parts.auditor.wake()  # type: ignore[union-attr]
        await aeventually(lambda: view.stats("vanished") == 1)

    assert view.live("a") is None


async def test_workers_that_audit_together_find_each_job_once(
    server: RedisServer, redis: redis_py.Redis, caplog: pytest.LogCaptureFixture
) -> None:
    ids = {f"job-{n}" for n in range(15)}
    view = await emit_and_lose(server, redis, *ids)

    await audit(server, view, workers=3)

    told = [it.partition("their entries: ")[2].rpartition(" (")[0] for it in caplog.messages]
    found = [job_id for line in told for job_id in line.split(", ")]
    assert sorted(found) == sorted(ids)
    assert view.stats("vanished") == 15


async def test_of_many_jobs_the_first_20_are_named_in_one_line(
    server: RedisServer, redis: redis_py.Redis, caplog: pytest.LogCaptureFixture
) -> None:
    view = await emit_and_lose(server, redis, *(f"job-{n}" for n in range(50)))

    await audit(server, view)

    (line,) = caplog.messages
    assert line.count("job-") == 20
    assert line.endswith(", ... (50 in total)")


async def test_a_group_that_was_destroyed_makes_no_job_vanish_and_no_noise(
    server: RedisServer, redis: redis_py.Redis, caplog: pytest.LogCaptureFixture
) -> None:
    view, queue = QueueView(redis), Queue(redis)
    async with emitting(server.url) as emit:
        await emit("work", id="a")
    redis.xgroup_destroy(view.lane(), GROUP)
    queue.run(tending.repair(view.keys, Lane("default"), GROUP))

    await audit(server, view)

    assert view.live("a") is not None
    assert caplog.messages == []


async def test_who_waits_for_a_job_of_a_deleted_lane_is_told_that_nobody_knows_it(
    server: RedisServer, redis: redis_py.Redis
) -> None:
    view = QueueView(redis)
    async with TaskManager(server.url) as tm:
        handle = await tm.emit("work", id="a")
        waiting = asyncio.create_task(handle.result(timeout=PATIENCE))
        await aeventually(lambda: redis.hexists(view.keys.waiters, "a"))
        redis.delete(view.lane())

        async with working(server.url, {"other": work}):
            with pytest.raises(ResultExpired):
                await waiting

        assert (await tm.stats()).vanished_total == 1
        assert await handle.status() == "unknown"


async def test_who_waits_for_a_job_that_a_dead_worker_had_is_told_when_its_entry_was_deleted(
    server: RedisServer, redis: redis_py.Redis
) -> None:
    view = QueueView(redis)
    async with TaskManager(server.url) as tm:
        handle = await tm.emit("work", id="a")
        waiting = asyncio.create_task(handle.result(timeout=60))
        await aeventually(lambda: redis.hexists(view.keys.waiters, "a"), within=30.0)
        [entry] = view.abandon()
        redis.xdel(view.lane(), entry)

        async with working(server.url, {"other": work}, lease=SHORT_LEASE):
            with pytest.raises(ResultExpired):
                await waiting

        await aeventually(lambda: view.live("a") is None, within=30.0)
        assert (await tm.stats()).vanished_total == 1
