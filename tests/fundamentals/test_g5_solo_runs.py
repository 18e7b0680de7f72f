"""G5: how a job runs that crashed before: alone for a while, and counted exactly."""

from __future__ import annotations

import asyncio
from typing import Any

import redis as redis_py

from consumers.jobs.job import Job
from consumers.jobs.outcome import Buried
from consumers.store.delivery import Delivery
from consumers.store.leasing import MARK_SOLO
from taskmanager import Context, TaskManager
from tests.support.engine import SHORT_LEASE, QueueView, emitting, working
from tests.support.proxy import FaultProxy
from tests.support.servers import RedisServer
from tests.support.waiting import aeventually


async def test_g5_a_solo_run_whose_recording_was_not_answered_is_counted_once(
    server: RedisServer, redis: redis_py.Redis
) -> None:
    queue, pointers = QueueView(redis), list[bytes | None]()

    async def work(job: Job[None]) -> None:
        pointers.append(queue.live(job.id))

    async with emitting(server.url) as emit:
        await emit("suspect")
    queue.abandon(crashes=5)
    queue.expire()
    with FaultProxy(server.port) as proxy:
        proxy.drop_reply_of(MARK_SOLO, times=4)
        async with working(proxy.url, {"suspect": work}):
            await aeventually(queue.is_empty, within=30.0)
        assert proxy.dropped == 4

    assert queue.letters() == []
    [pointer] = pointers
    assert pointer is not None
    assert pointer.split()[1] == b"1"


async def test_g5_a_suspect_that_waits_for_its_child_lets_it_start(
    server: RedisServer, redis: redis_py.Redis
) -> None:
    """However often it was in a crash: its child may need this very worker."""
    queue = QueueView(redis)
    tm = TaskManager(server.url, concurrency=2, lease=1.0)

    @tm.registerHandler(event="parent")
    async def parent(job: Job[Any], ctx: Context) -> str:
        child = await ctx.emit("child")
        return f"with {await child.result()}"

    @tm.registerHandler(event="child")
    async def child(job: Job[Any]) -> str:
        return "child"

    async with tm:
        handle = await tm.emit("parent")
        queue.abandon(crashes=12)
        queue.expire()
        await tm.start()

        assert await handle.result(timeout=30.0) == "with child"


async def test_g5_a_suspect_starts_beside_a_run_that_waits_for_it(
    server: RedisServer, redis: redis_py.Redis
) -> None:
    """However often it was in a crash: the other run cannot end before it."""
    queue = QueueView(redis)
    tm = TaskManager(server.url, concurrency=2, lease=1.0)

    @tm.registerHandler(event="parent")
    async def parent(job: Job[Any]) -> str:
        return f"with {await tm.handle('child').result()}"

    @tm.registerHandler(event="child")
    async def child(job: Job[Any]) -> str:
        return "child"

    async with tm:
        await tm.emit("child", id="child")
        queue.abandon(crashes=12)
        handle = await tm.emit("parent")
        await tm.start()

        assert await handle.result(timeout=30.0) == "with child"


async def test_g5_a_suspect_waits_for_a_run_of_some_leases_and_then_runs_solo(
    server: RedisServer, redis: redis_py.Redis
) -> None:
    """Beside others it proves nothing: if it is the one that kills, all of them die once more."""
    queue, beside = QueueView(redis), list[int]()

    async def neighbour(job: Job[None]) -> None:
        await asyncio.sleep(2 * SHORT_LEASE)

    async def suspect(job: Job[None]) -> None:
        beside.append(worker.running - 1)

    async with emitting(server.url) as emit:
        handlers = {"suspect": suspect, "neighbour": neighbour}
        await emit("suspect")
        queue.abandon(crashes=8)
        await emit("neighbour")
        async with working(server.url, handlers, concurrency=2, lease=SHORT_LEASE) as worker:
            await aeventually(lambda: worker.running == 1, within=20.0)
            queue.expire()
            await aeventually(queue.is_empty, within=40.0)

    assert beside == [0]


async def test_g5_a_suspect_that_runs_for_long_lets_others_start_and_is_not_blamed(
    server: RedisServer, redis: redis_py.Redis
) -> None:
    queue, ran = QueueView(redis), list[str]()
    may_end = asyncio.Event()

    async def suspect(job: Job[None]) -> None:
        ran.append("suspect")
        await may_end.wait()

    async def work(job: Job[None]) -> None:
        ran.append("work")

    async with emitting(server.url) as emit:
        await emit("suspect")
        queue.abandon(crashes=2)
        queue.expire()
        handlers = {"suspect": suspect, "work": work}
        async with working(server.url, handlers, concurrency=2, lease=SHORT_LEASE):
            await aeventually(lambda: ran == ["suspect"], within=20.0)
            marked = queue.live("suspect-1")
            await emit("work")
            await aeventually(lambda: ran == ["suspect", "work"], within=40.0)
            unmarked = queue.live("suspect-1")
            may_end.set()
            await aeventually(queue.is_empty, within=20.0)

    assert marked is not None
    assert unmarked is not None
    assert [pointer.split()[1] for pointer in (marked, unmarked)] == [b"1", b"0"]


async def test_g5_a_suspect_that_a_stop_hands_back_while_its_run_is_recorded_does_not_start(
    server: RedisServer, redis: redis_py.Redis
) -> None:
    queue, ran = QueueView(redis), list[str]()

    async def work(job: Job[None]) -> None:
        ran.append(job.id)

    async with emitting(server.url) as emit:
        await emit("suspect")
    queue.abandon(crashes=5)
    queue.expire()
    async with working(server.url, {"suspect": work}) as worker:
        gate = worker._parts.fetcher.gate  # type: ignore[union-attr]
        verdict, recorded = gate.verdict, asyncio.Event()

        async def slow_verdict(delivery: Delivery) -> Buried | None:
            """Answer as late as a slow Redis may: after the stop."""
            buried = await verdict(delivery)
            recorded.set()
            await aeventually(lambda: gate.suspect is None, within=20.0)
            return buried

        gate.verdict = slow_verdict  # type: ignore[method-assign]
        await asyncio.wait_for(recorded.wait(), 20.0)
        await worker.stop(timeout=20.0)

    assert ran == []
    assert queue.pending() == []
    pointer = queue.live("suspect-1")
    assert pointer is not None
    # It is in the lane's front, and the record of its solo run is taken back.
    assert pointer.split()[1:3] == [b"0", b"workers:default:0:front"]
