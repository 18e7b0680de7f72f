"""A job that waits, on whatever it requires, begins on a worker that has it and on no other."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import pytest
import redis as redis_py

from consumers.jobs.lanes import Lane
from tests.support.engine import QueueView, emitting, new_job
from tests.support.routing import ABLE, OTHER, PLAIN, Starts, defined, fleet, look, routed_job
from tests.support.servers import RedisServer
from tests.support.waiting import aeventually

Worker = Mapping[str, Any]

EU, US = {"name": "eu", "region": "eu"}, {"name": "us", "region": "us"}
REQUIRED = [
    pytest.param({"requires": ["gpu"]}, [ABLE], [PLAIN, OTHER], id="a capability"),
    pytest.param(
        {"requires": ["gpu", "cpu"]},
        [{"name": "both", "capabilities": ["cpu", "gpu", "ssd"]}],
        [ABLE, OTHER],
        id="two capabilities",
    ),
    pytest.param({"only": ["plain"]}, [PLAIN], [ABLE, OTHER], id="one worker"),
    pytest.param({"anti_affinity": ["able", "other"]}, [PLAIN], [ABLE, OTHER], id="not some"),
    pytest.param({"region": "eu"}, [EU], [US, PLAIN], id="a region"),
    pytest.param(
        {"type": "encoder", "requires": ["gpu"]},
        [{**ABLE, "type": "encoder"}],
        [{**ABLE, "name": "of-another-type"}, {"name": "too-little", "type": "encoder"}],
        id="a type",
    ),
    pytest.param(
        {"requires": ["gpu"], "region": "eu", "anti_affinity": ["w1"]},
        [{"name": "w2", "capabilities": ["gpu"], "region": "eu"}],
        [{"name": "w1", "capabilities": ["gpu"], "region": "eu"}, {**ABLE, "region": "us"}],
        id="much",
    ),
    pytest.param(
        {"requires": ["gpu"], "priority": 5},
        [{**ABLE, "levels": [5, 7]}],
        [{**ABLE, "name": "takes-others", "levels": [0, 7]}, PLAIN],
        id="a priority",
    ),
]


@pytest.mark.parametrize(("required", "able", "unable"), REQUIRED)
async def test_it_begins_where_it_may_though_others_are_idle(
    server: RedisServer,
    redis: redis_py.Redis,
    required: Worker,
    able: list[Worker],
    unable: list[Worker],
) -> None:
    queue, starts = QueueView(redis), Starts()
    jobs = [routed_job(id=f"j{n}", **required) for n in range(20)]

    async with (
        emitting(server.url) as emit,
        fleet(server.url, {"work": starts}, *unable, *able, concurrency=4),
    ):
        await asyncio.gather(*map(emit.producer.emit, jobs))
        await aeventually(lambda: len(starts.all) == 20)
        await aeventually(queue.is_empty)

    assert {worker for worker, _ in starts.all} <= {it["name"] for it in able}
    assert sorted(starts.ids) == sorted(job.id for job in jobs)


@pytest.mark.parametrize(("required", "able", "unable"), REQUIRED)
async def test_it_waits_until_somebody_comes_who_may(
    server: RedisServer,
    redis: redis_py.Redis,
    required: Worker,
    able: list[Worker],
    unable: list[Worker],
) -> None:
    queue, starts = QueueView(redis), Starts()

    async with (
        emitting(server.url) as emit,
        fleet(server.url, {"work": starts}, *unable) as idle,
    ):
        await emit.producer.emit(routed_job(**required))
        await look(*idle)
        assert starts.all == []
        assert queue.pending() == []
        async with fleet(server.url, {"work": starts}, *able):
            await aeventually(lambda: starts.all == [(able[0]["name"], "a")])
            await aeventually(queue.is_empty)


async def test_jobs_that_require_nothing_begin_everywhere(server: RedisServer) -> None:
    starts, ended = Starts(), asyncio.Event()

    async def work(job: Any) -> None:
        await starts(job)
        await ended.wait()

    async with emitting(server.url) as emit, fleet(server.url, {"work": work}):
        await asyncio.gather(*(emit("work") for _ in range(3)))
        await aeventually(lambda: len(starts.all) == 3)
        ended.set()

    assert {worker for worker, _ in starts.all} == {"plain", "other", "able"}


async def test_a_worker_that_takes_some_priorities_leaves_the_others(
    server: RedisServer, redis: redis_py.Redis
) -> None:
    """Also of jobs that require nothing; it may take none that its queue begins with."""
    queue, starts = QueueView(redis), Starts()
    jobs = [new_job("work", id=f"plain-{n}", priority=n) for n in (-1, 0, 1)]
    jobs += [routed_job(id=f"routed-{n}", priority=n) for n in (-1, 0, 1)]
    picky = {**ABLE, "levels": [1]}

    async with emitting(server.url) as emit, fleet(server.url, {"work": starts}, picky) as workers:
        await look(*workers)
        await asyncio.gather(*map(emit.producer.emit, jobs))
        await aeventually(lambda: sorted(starts.ids) == ["plain-1", "routed-1"])
        await look(*workers)

    assert len(starts.all) == 2
    assert sum(redis.xlen(stream) for stream in queue.streams()) == 4  # type: ignore[misc]


async def test_a_queue_with_its_partitions_and_queues_beside_it_keeps_its_routes_apart(
    server: RedisServer, redis: redis_py.Redis
) -> None:
    starts = Starts()
    jobs = [
        routed_job(id=f"{queue}-{tenant}", queue=queue, partition=tenant)
        for queue in ("a", "b")
        for tenant in ("t1", "t2")
    ]

    async with (
        emitting(server.url) as emit,
        fleet(server.url, {("a", "work"): starts, ("b", "work"): starts}),
    ):
        await asyncio.gather(*map(emit.producer.emit, jobs))
        await aeventually(lambda: len(starts.all) == 4)

    assert sorted(starts.of("able")) == sorted(job.id for job in jobs)
    for queue in ("a", "b"):
        assert defined(redis, queue) == {jobs[0].lane.type: '{"event":"work","requires":["gpu"]}'}


async def test_each_lane_of_a_route_is_read_through_the_group_of_its_type(
    server: RedisServer, redis: redis_py.Redis
) -> None:
    job = routed_job(type="encoder", priority=3)
    async with emitting(server.url) as emit:
        await emit.producer.emit(job)

    keys = QueueView(redis).keys
    for stream in (keys.lane(job.lane), keys.front(job.lane)):
        groups: Any = redis.xinfo_groups(stream)
        assert [it["name"] for it in groups] == [b"encoder"]
    assert job.lane == Lane("default", job.lane.type, priority=3)
