"""Pausing an event or a queue moves no job past what it requires."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
import redis as redis_py

from consumers.admin.operator import Operator
from consumers.connections.connector import Connector
from consumers.connections.wire import Wire
from consumers.consumer import Consumer
from consumers.jobs.envelope import NewJob
from consumers.jobs.job import Job
from consumers.jobs.lanes import Lane
from consumers.policy import Handler
from consumers.store.keys import Keys
from processors.processor import Processor
from tests.support.engine import QueueView, emitting, working
from tests.support.queue import Queue
from tests.support.routing import ABLE, OTHER, PLAIN, Starts, defined, fleet, look, routed_job
from tests.support.servers import RedisServer
from tests.support.waiting import aeventually

LANE = routed_job().lane
OWN = LANE.for_event("work")


@pytest.fixture
async def operator(server: RedisServer) -> AsyncIterator[Operator]:
    wire = Wire(Connector.of(server.url), name="operator")
    yield Operator(wire, Keys("default"))
    await wire.close()


class Waiting(Starts):
    """Middleware waits before the handler is called, so that its job is delivered and not begun."""

    def __init__(self) -> None:
        super().__init__()
        self.delivered: list[str] = []
        self.go_on = asyncio.Event()

    def policy(self) -> Processor:
        async def around(job: Job[Any], call_next: Any) -> Any:
            self.delivered.append(job.id)
            await self.go_on.wait()
            return await call_next()

        handler = Handler(self.__call__, is_async=True, around=around)
        return Processor({("default", "work"): handler})


async def hold_back(
    server: RedisServer, redis: redis_py.Redis, operator: Operator, event: str | None
) -> None:
    """Have two jobs delivered to a worker, which may not begin them any more."""
    waiting = Waiting()
    consumer = Consumer(
        server.url, policy=waiting.policy(), concurrency=2, name="able", capabilities=["gpu"]
    )
    await consumer.start()
    try:
        await aeventually(lambda: len(waiting.delivered) == 2)
        await operator.until_obeyed(await operator.pause(event))
        waiting.go_on.set()
        await aeventually(lambda: QueueView(redis).pending() == [])
    finally:
        await consumer.stop(timeout=0)
    assert waiting.all == []


async def test_jobs_of_a_paused_event_keep_their_route_in_its_lane(
    server: RedisServer, redis: redis_py.Redis, operator: Operator
) -> None:
    queue, starts = Queue(redis), Starts()
    queue.emit(*(routed_job(id=f"j{n}") for n in range(3)))

    await hold_back(server, redis, operator, "work")

    assert OWN.name == f"event.work@1~{LANE.type}:default:0"
    assert sorted(queue.ids(OWN, front=True)) == ["j0", "j1"]
    assert queue.ids(LANE) == ["j2"]
    async with fleet(server.url, {"work": starts}, PLAIN, OTHER) as others:
        await operator.resume("work")
        await look(*others)
        assert starts.all == []
        async with fleet(server.url, {"work": starts}, ABLE):
            await aeventually(lambda: len(starts.all) == 3)
    assert sorted(starts.of("able")) == ["j0", "j1", "j2"]


async def test_they_come_back_though_their_lane_and_its_definition_are_gone(
    server: RedisServer, redis: redis_py.Redis, operator: Operator
) -> None:
    queue, starts = Queue(redis), Starts()
    queue.emit(*(routed_job(id=f"j{n}") for n in range(2)))
    await hold_back(server, redis, operator, "work")
    redis.zrem(queue.keys.lanes, LANE.name)
    redis.delete(queue.keys.lane(LANE), queue.keys.front(LANE), queue.keys.routes)

    await operator.resume("work")
    async with fleet(server.url, {"work": starts}):
        await aeventually(lambda: len(starts.all) == 2)

    assert sorted(starts.of("able")) == ["j0", "j1"]
    assert defined(redis) == {LANE.type: '{"event":"work","requires":["gpu"]}'}


async def test_a_paused_event_begins_nowhere_and_others_of_the_same_requirements_do(
    server: RedisServer, redis: redis_py.Redis, operator: Operator
) -> None:
    queue, starts = QueueView(redis), Starts()
    await operator.pause("work")
    jobs = [routed_job(event, id=f"{event}-{n}") for n in range(5) for event in ("work", "play")]

    async with (
        emitting(server.url) as emit,
        fleet(server.url, {"work": starts, "play": starts}) as workers,
    ):
        await asyncio.gather(*map(emit.producer.emit, jobs))
        await aeventually(lambda: len(starts.all) == 5)
        await look(*workers)
        assert {job_id.partition("-")[0] for job_id in starts.ids} == {"play"}
        await operator.resume("work")
        await aeventually(queue.is_empty)

    assert len(starts.of("able")) == len(starts.all) == 10


async def test_a_paused_queue_begins_nothing_and_all_where_it_may_when_it_goes_on(
    server: RedisServer, redis: redis_py.Redis, operator: Operator
) -> None:
    queue, starts = Queue(redis), Starts()
    queue.emit(*(routed_job(id=f"j{n}") for n in range(3)))

    await hold_back(server, redis, operator, None)

    assert sorted(queue.ids(LANE, front=True) + queue.ids(LANE)) == ["j0", "j1", "j2"]
    async with fleet(server.url, {"work": starts}) as workers:
        await look(*workers)
        assert starts.all == []
        await operator.resume()
        await aeventually(lambda: len(starts.all) == 3)
    assert sorted(starts.of("able")) == ["j0", "j1", "j2"]


async def test_jobs_go_on_being_held_back_while_they_come_and_go(
    server: RedisServer, redis: redis_py.Redis, operator: Operator
) -> None:
    queue, starts = QueueView(redis), Starts()

    async def work(job: Job[Any]) -> None:
        await starts(job)
        await asyncio.sleep(0.002)

    async with (
        emitting(server.url) as emit,
        fleet(server.url, {"work": work}, concurrency=4),
        working(server.url, {"work": work}, name="able-too", capabilities=["gpu", "cpu"]),
    ):
        for n in range(5):
            emits = [
                emit.producer.emit(routed_job(id=f"{need}-{n}-{m}", requires=[need]))
                for m in range(20)
                for need in ("gpu", "cpu")
            ]
            await operator.pause("work")
            await asyncio.gather(*emits)
            await operator.resume("work")
        await aeventually(queue.is_empty)

    assert len(set(starts.ids)) == len(starts.ids) == 200
    assert starts.of("plain") == []
    assert not any(job_id.startswith("cpu") for job_id in starts.of("able"))
    assert not any(job_id.startswith("gpu") for job_id in starts.of("other"))


async def test_what_waits_for_a_worker_that_may_run_it_is_not_buried_for_want_of_a_handler(
    server: RedisServer, redis: redis_py.Redis
) -> None:
    queue = QueueView(redis)
    plain = NewJob("plain", "work", b"null", Lane("default").for_event("work"))
    Queue(redis).emit(routed_job()._replace(lane=OWN), plain)

    async with working(server.url, {"other": Starts()}, no_handler_deadline=0.0) as worker:
        janitor = worker._parts.janitor  # type: ignore[union-attr]
        for _ in range(3):
            await janitor.tidy(queue.keys)
        await aeventually(lambda: len(queue.letters()) == 1)

    assert [it["job"] for it in queue.letters()] == [b"plain"]
    assert redis.xlen(queue.keys.lane(OWN)) == 1
