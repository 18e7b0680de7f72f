"""Jobs that other jobs and schedules add begin as they require."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
import redis as redis_py

from consumers.jobs.job import Job
from tests.store.schedules.steps import due
from tests.support.engine import QueueView, emitting, working
from tests.support.queue import Queue
from tests.support.routing import ABLE, OTHER, PLAIN, Starts, defined, fleet, look, routed_job
from tests.support.servers import RedisServer
from tests.support.waiting import aeventually

ROUTE = routed_job("child").lane.type


async def no_parent(job: Job[Any]) -> None:
    raise AssertionError(f"{job.id} runs here")


@pytest.mark.parametrize("delay", ["", "+100"], ids=["at once", "later"])
@pytest.mark.parametrize("queue_name", ["a", "b"], ids=["own queue", "another queue"])
async def test_children_require_what_they_say(
    server: RedisServer, redis: redis_py.Redis, queue_name: str, delay: str
) -> None:
    """The parent runs on a worker that may not run them; another worker's relay takes them over."""
    queue, starts = QueueView(redis, queue_name), Starts()

    async def parent(job: Job[Any]) -> None:
        job.on_success += [
            routed_job("child", id=f"child-{n}", queue=queue_name, due=delay) for n in range(5)
        ]

    async with (
        emitting(server.url) as emit,
        working(server.url, {("a", "parent"): parent}, name="starter"),
        fleet(server.url, {("a", "child"): starts, ("b", "child"): starts}, concurrency=3),
    ):
        await emit("parent", queue="a")
        await aeventually(lambda: len(starts.all) == 5)
        await aeventually(queue.is_empty)

    assert sorted(starts.of("able")) == [f"child-{n}" for n in range(5)]
    assert defined(redis, queue_name) == {ROUTE: '{"event":"child","requires":["gpu"]}'}


async def test_children_of_a_routed_parent_may_run_where_it_may_not(
    server: RedisServer, redis: redis_py.Redis
) -> None:
    starts = Starts()

    async def work(job: Job[Any]) -> None:
        await starts(job)
        if job.event == "work":
            job.on_success += [
                routed_job("child", id="on-cpu", requires=["cpu"]),
                routed_job("child", id="on-gpu", requires=["gpu"]),
            ]

    async with (
        emitting(server.url) as emit,
        fleet(server.url, {"work": work, "child": work}),
    ):
        await emit.producer.emit(routed_job("work"))
        await aeventually(lambda: len(starts.all) == 3)

    assert starts.all[0] == ("able", "a")
    assert sorted(starts.all[1:]) == [("able", "on-gpu"), ("other", "on-cpu")]


async def test_a_scheduled_job_requires_what_its_schedule_says(
    server: RedisServer, redis: redis_py.Redis
) -> None:
    queue, starts = Queue(redis), Starts()
    record = due(queue)
    word, added = queue.fire(record, routed_job("work", id="fired-1"), routed_job(id="fired-2"))
    assert (word, added) == ("fired", 2)
    assert defined(redis) == {routed_job().lane.type: '{"event":"work","requires":["gpu"]}'}

    async with fleet(server.url, {"work": starts}, PLAIN, OTHER) as others:
        await look(*others)
        assert starts.all == []
        async with fleet(server.url, {"work": starts}, ABLE):
            await aeventually(lambda: len(starts.all) == 2)

    assert sorted(starts.of("able")) == ["fired-1", "fired-2"]


async def test_a_child_that_no_worker_may_run_holds_nobody_up(
    server: RedisServer, redis: redis_py.Redis
) -> None:
    """Not its parent, nor the children beside it, nor the outbox behind it."""
    queue, starts = QueueView(redis, "b"), Starts()
    lone = {"only": ["nobody"]}

    async def parent(job: Job[Any]) -> None:
        job.on_success += [
            routed_job("child", id=f"{job.id}-lone", queue="b", **lone),
            routed_job("child", id=f"{job.id}-child", queue="b"),
        ]

    handlers = {("a", "parent"): parent, ("b", "child"): starts}
    async with emitting(server.url) as emit, fleet(server.url, handlers):
        await asyncio.gather(*(emit("parent", queue="a") for _ in range(3)))
        await aeventually(lambda: len(starts.all) == 3)

    assert sorted(starts.of("able")) == [f"parent-{n}-child" for n in (1, 2, 3)]
    lane = routed_job("child", queue="b", **lone).lane
    assert redis.xlen(queue.keys.lane(lane)) == 3
