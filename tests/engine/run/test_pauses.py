"""Nothing begins where it is paused, however a worker came by the job."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest
import redis as redis_py

from consumers.admin.operator import Operator
from consumers.connections.connector import Connector
from consumers.connections.wire import Wire
from consumers.consumer import Consumer
from consumers.jobs.job import Job
from consumers.policy import Handler
from consumers.run import pauses
from consumers.store import settling
from consumers.store.keys import Keys
from processors.processor import Processor
from tests.support.engine import QueueView, emitting, working, working_thread
from tests.support.servers import RedisServer
from tests.support.waiting import PATIENCE, aeventually


@pytest.fixture
async def operator(server: RedisServer) -> AsyncIterator[Operator]:
    wire = Wire(Connector.of(server.url), name="operator")
    yield Operator(wire, Keys("default"))
    await wire.close()


async def test_what_a_blocked_loop_has_not_begun_looks_at_the_queue_before_it_does(
    server: RedisServer, operator: Operator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pauses, "MOST_STALE", 0.5)
    ran: list[str] = []
    blocking = asyncio.Event()
    loop = asyncio.get_running_loop()
    paused = False

    async def block(job: Job[Any]) -> None:
        loop.call_soon_threadsafe(blocking.set)
        until = time.monotonic() + PATIENCE
        while not paused and time.monotonic() < until:
            time.sleep(0.01)
        time.sleep(1.0)

    async def work(job: Job[Any]) -> None:
        ran.append(job.id)

    async with emitting(server.url) as emit:
        with working_thread(server.url, {"block": block, "work": work}, concurrency=4):
            await asyncio.gather(emit("block"), emit("work"), emit("work"))
            await asyncio.wait_for(blocking.wait(), PATIENCE)
            before = len(ran)
            await operator.pause()
            paused = True
            await operator.until_obeyed(1)
            assert len(ran) == before
            await operator.resume()
            await aeventually(lambda: len(ran) == 2)


@pytest.mark.parametrize("is_async", [True, False], ids=["async", "sync"])
async def test_a_handler_is_not_called_when_its_event_was_paused_while_middleware_waited(
    server: RedisServer, redis: redis_py.Redis, operator: Operator, is_async: bool
) -> None:
    ran: list[int] = []
    waiting, go_on = asyncio.Event(), asyncio.Event()

    async def around(job: Job[Any], call_next: Any) -> Any:
        waiting.set()
        await go_on.wait()
        return await call_next()

    async def work(job: Job[Any]) -> None:
        ran.append(job.attempt)

    def work_in_thread(job: Job[Any]) -> None:
        ran.append(job.attempt)

    call = work if is_async else work_in_thread
    handler = Handler(call, is_async=is_async, around=around)
    consumer = Consumer(server.url, policy=Processor({("default", "work"): handler}))
    await consumer.start()
    try:
        async with emitting(server.url) as emit:
            await emit("work")
            await asyncio.wait_for(waiting.wait(), PATIENCE)
            await operator.until_obeyed(await operator.pause("work"))
            go_on.set()
            await aeventually(lambda: QueueView(redis).pending() == [])
            assert ran == []
            await operator.resume("work")
            await aeventually(lambda: ran == [1])
    finally:
        await consumer.stop(timeout=0)


@pytest.mark.parametrize("how", ["paused", "stopping"])
@pytest.mark.parametrize("is_async", [True, False], ids=["async", "sync"])
async def test_a_run_that_began_goes_on_where_nothing_begins_also_when_middleware_calls_again(
    server: RedisServer, redis: redis_py.Redis, operator: Operator, is_async: bool, how: str
) -> None:
    """The second call was refused: without retries, its job was a dead letter."""
    ran: list[int] = []
    failed, go_on = asyncio.Event(), asyncio.Event()

    async def around(job: Job[Any], call_next: Any) -> Any:
        try:
            return await call_next()
        except ValueError:
            failed.set()
            await go_on.wait()
            return await call_next()

    def work_in_thread(job: Job[Any]) -> None:
        ran.append(job.attempt)
        if len(ran) == 1:
            raise ValueError("it failed")

    async def work(job: Job[Any]) -> None:
        work_in_thread(job)

    call = work if is_async else work_in_thread
    handler = Handler(call, is_async=is_async, around=around)
    consumer = Consumer(server.url, policy=Processor({("default", "work"): handler}))
    await consumer.start()
    stopping: asyncio.Task[None] | None = None
    try:
        async with emitting(server.url) as emit:
            await emit("work")
            await asyncio.wait_for(failed.wait(), PATIENCE)
            if how == "stopping":
                parts = consumer._parts
                assert parts is not None
                stopping = asyncio.create_task(consumer.stop(timeout=60))
                await aeventually(lambda: parts.pauses.closed)
            else:
                await operator.until_obeyed(await operator.pause())
            go_on.set()
            await aeventually(lambda: QueueView(redis).pending() == [] and ran)
            if stopping is not None:
                await asyncio.wait_for(stopping, PATIENCE)
    finally:
        await consumer.stop(timeout=0)

    queue = QueueView(redis)
    assert ran == [1, 1]
    assert queue.stats("completed") == 1
    assert queue.stats("dead") == 0
    assert sum(int(redis.xlen(stream)) for stream in queue.streams()) == 0  # type: ignore[misc]


async def test_a_worker_that_winds_down_holds_up_no_pause(
    server: RedisServer, operator: Operator
) -> None:
    running, go_on = asyncio.Event(), asyncio.Event()

    async def work(job: Job[Any]) -> None:
        running.set()
        await go_on.wait()

    async with emitting(server.url) as emit, working(server.url, {"work": work}) as worker:
        await emit("work")
        await asyncio.wait_for(running.wait(), PATIENCE)
        stopping = asyncio.create_task(worker.stop(timeout=60))
        # It runs its job to the end, and obeys every pause meanwhile.
        await asyncio.wait_for(operator.until_obeyed(await operator.pause()), PATIENCE)
        assert not stopping.done()
        go_on.set()
        await stopping


async def test_jobs_of_a_paused_event_whose_lane_has_no_room_are_bounded_and_go_back_at_the_stop(
    server: RedisServer,
    redis: redis_py.Redis,
    operator: Operator,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(settling, "MAX_EVENT_LANES", 0)
    monkeypatch.setattr("consumers.fetch.fetcher._MOST_UNSETTLED", 20)
    queue = QueueView(redis)

    async def work(job: Job[Any]) -> None:
        raise AssertionError(f"{job.id} is paused")

    await operator.pause("work")
    async with emitting(server.url) as emit:
        await asyncio.gather(*(emit("work") for _ in range(200)))
        async with working(server.url, {"work": work}, concurrency=4) as worker:
            await aeventually(lambda: len(queue.pending()) > 20)
            await aeventually(lambda: worker.running == 0)
        assert queue.pending() == []

    assert sum(int(redis.xlen(stream)) for stream in queue.streams()) == 200  # type: ignore[misc]
    assert queue.stats("dead") == 0
