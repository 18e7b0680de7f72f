"""A queue has so many routes and lanes of them and no more, and those that are not used go."""

from __future__ import annotations

from typing import Any

import pytest
import redis as redis_py

from consumers.errors import TooManyRoutes
from consumers.jobs.envelope import NewJob
from consumers.jobs.job import Job
from consumers.jobs.lanes import MAX_LANES
from consumers.jobs.outcome import Completed
from consumers.jobs.routes import MAX_ROUTE_LANES, MAX_ROUTES
from consumers.store.settling import Settlement
from consumers.upkeep import janitor
from tests.support.engine import QueueView, emitting, working
from tests.support.queue import Queue, new_job
from tests.support.routing import PLAIN, Starts, defined, fleet, look, routed_job
from tests.support.servers import RedisServer
from tests.support.waiting import aeventually

LANE = routed_job().lane
DEFINITION = '{"event":"work","requires":["gpu"]}'
HOUR_MS = 3_600_000


def job_of(n: int, **given: Any) -> NewJob:
    """Return a job of a route that is another for each number."""
    return routed_job(id=f"j{n}-{given.get('priority', 0)}", requires=[f"c{n}"], **given)


def fill(queue: Queue, routes: int, *, priorities: tuple[int, ...] = (0,)) -> None:
    for priority in priorities:
        for at in range(0, routes, 100):
            some = range(at, min(at + 100, routes))
            words = queue.emit(*(job_of(n, priority=priority) for n in some))
            assert all(word.startswith("+") for word in words)


async def test_one_route_too_many_is_refused_and_nothing_is_written(
    server: RedisServer, redis: redis_py.Redis
) -> None:
    queue = Queue(redis)
    fill(queue, MAX_ROUTES)
    before = queue.writes()

    async with emitting(server.url) as emit:
        with pytest.raises(TooManyRoutes, match="512 routes, or 1,024 lanes") as caught:
            await emit.producer.emit(job_of(MAX_ROUTES))
        assert {key: it for key, it in queue.writes().items() if key in before} == before
        assert (caught.value.queue, caught.value.limit) == ("default", MAX_ROUTES)
        assert caught.value.lane == job_of(MAX_ROUTES).lane.name
        # One that is known may have a lane more, and others have their own limits.
        await emit.producer.emit(job_of(0, priority=5))
        await emit("work", priority=5)

    assert len(defined(redis)) == MAX_ROUTES
    assert len(QueueView(redis).lanes()) == MAX_ROUTES + 2


def test_one_lane_of_routes_too_many_is_refused_whether_its_route_is_known_or_not(
    redis: redis_py.Redis,
) -> None:
    queue, half = Queue(redis), MAX_ROUTE_LANES // 4
    fill(queue, half, priorities=(0, 1, 2, 3))
    before = queue.writes()

    assert queue.emit(job_of(0, priority=4), job_of(half)) == ["L", "L"]
    assert queue.writes() == before
    # Into lanes that are there jobs still go.
    assert queue.emit(job_of(0)._replace(id="more"))[0].startswith("+")


def test_routes_take_nothing_from_the_lanes_of_types_nor_these_from_them(
    redis: redis_py.Redis,
) -> None:
    queue = Queue(redis)
    fill(queue, MAX_ROUTES)

    words = queue.emit(*(new_job(f"p{n}", priority=n) for n in range(MAX_LANES + 1)))

    assert [word[0] for word in words] == ["+"] * MAX_LANES + ["L"]


def test_a_batch_opens_as_many_routes_as_there_is_room_for(redis: redis_py.Redis) -> None:
    queue = Queue(redis)
    fill(queue, MAX_ROUTES - 1)

    words = queue.emit(job_of(600), job_of(601), job_of(600, priority=1), new_job("plain"))

    assert [word[0] for word in words] == ["+", "L", "+", "+"]


def test_a_parent_may_have_the_last_route_for_several_children(redis: redis_py.Redis) -> None:
    queue = Queue(redis)
    fill(queue, MAX_ROUTES - 1)
    parent = queue.one(new_job("parent"))
    children = [job_of(600), job_of(600, priority=1), new_job("plain", priority=9)]

    assert queue.settle(Settlement(parent, Completed(), children)) == ["1"]
    assert len(defined(redis)) == MAX_ROUTES


def test_children_of_one_sort_take_nothing_from_those_of_another(redis: redis_py.Redis) -> None:
    queue = Queue(redis)
    parent = queue.one(new_job("parent"))
    queue.emit(*(new_job(f"p{n}", priority=n) for n in range(1, MAX_LANES - 1)))
    children = [*map(job_of, range(10)), new_job("plain", priority=-1)]

    assert queue.settle(Settlement(parent, Completed(), children)) == ["1"]
    another = queue.one(new_job("another"))
    too_many = [*map(job_of, range(10, 20)), new_job("one-more", priority=-2)]
    assert queue.settle(Settlement(another, Completed(), too_many)) == ["L"]


async def test_a_parent_whose_child_has_no_room_is_buried_with_the_reason(
    server: RedisServer, redis: redis_py.Redis
) -> None:
    queue = QueueView(redis)
    fill(Queue(redis), MAX_ROUTES)

    async def parent(job: Job[Any]) -> None:
        job.on_success += [job_of(600)]

    async with emitting(server.url) as emit, working(server.url, {"parent": parent}):
        await emit("parent", id="parent")
        letter = await aeventually(lambda: queue.letter("parent"))

    assert letter is not None
    assert b"already has 512 routes" in letter["error"]
    assert queue.live("j600-0") is None


async def tidy(server: RedisServer, queue: QueueView, unused_ms: int = -1000) -> None:
    """Let the janitor of a worker that may run nothing here do one round."""

    async def work(job: Job[Any]) -> None: ...

    async with working(server.url, {"other": work}) as worker:
        tidying = worker._parts.janitor  # type: ignore[union-attr]
        tidying._unused_ms = unused_ms
        await tidying.tidy(queue.keys)


async def test_an_unused_route_goes_with_its_last_lane_and_can_come_back(
    server: RedisServer, redis: redis_py.Redis
) -> None:
    queue, scripts, starts = QueueView(redis), Queue(redis), Starts()
    scripts.emit(routed_job(), routed_job(id="b", priority=5), routed_job("play", id="c"))

    async with fleet(server.url, {"work": starts}):
        await aeventually(lambda: len(starts.all) == 2)
        await aeventually(lambda: queue.pending() == [])
        scripts.emit(routed_job(id="d", priority=5, due=f"+{HOUR_MS}"))
        await tidy(server, queue)
        # What is delayed has its lane reserved, and another event has a route of its own.
        other = routed_job("play").lane
        lanes = [it for it in queue.lanes() if "+" in it]
        assert sorted(lanes) == sorted([routed_job(priority=5).lane.name, other.name])
        assert defined(redis)[LANE.type] == DEFINITION
        scripts.cancel("d")
        await tidy(server, queue)
        assert defined(redis).keys() == {other.type}
        assert not redis.exists(queue.keys.lane(LANE), queue.keys.front(LANE))

        scripts.emit(routed_job(id="e"))
        await aeventually(lambda: starts.of("able")[2:] == ["e"])
    assert defined(redis)[LANE.type] == DEFINITION


async def test_a_route_goes_after_a_minute_where_other_lanes_stay_for_ten(
    server: RedisServer, redis: redis_py.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(janitor, "UNUSED_ROUTE_MS", -1000)
    queue, starts = QueueView(redis), Starts()
    Queue(redis).emit(routed_job(), new_job("b", "work", priority=5))

    async with fleet(server.url, {"work": starts}):
        await aeventually(lambda: len(starts.all) == 2)
        await aeventually(lambda: queue.pending() == [])
        await tidy(server, queue, unused_ms=HOUR_MS)

    assert queue.lanes() == ["workers:default:0", "workers:default:5"]
    assert not redis.exists(queue.keys.routes)


async def test_a_route_stays_as_long_as_the_lane_of_its_event_has_its_jobs(
    server: RedisServer, redis: redis_py.Redis
) -> None:
    queue, scripts, own = QueueView(redis), Queue(redis), LANE.for_event("work", 2)
    scripts.emit(routed_job()._replace(lane=own), routed_job(id="b", due=f"+{HOUR_MS}"))
    scripts.cancel("b")

    await tidy(server, queue)

    assert queue.lanes() == ["workers:default:0", own.name]
    assert defined(redis) == {LANE.type: DEFINITION}


async def test_a_waiting_job_keeps_its_route_though_nobody_may_run_it(
    server: RedisServer, redis: redis_py.Redis
) -> None:
    queue, starts = QueueView(redis), Starts()
    Queue(redis).emit(routed_job())

    async with fleet(server.url, {"work": starts}, PLAIN) as others:
        await look(*others)
        await tidy(server, queue)

    assert defined(redis) == {LANE.type: DEFINITION}
    assert QueueView(redis).live("a") is not None


async def test_full_queues_are_served(server: RedisServer, redis: redis_py.Redis) -> None:
    queue, starts = QueueView(redis), Starts()
    fill(Queue(redis), MAX_ROUTES)
    able = {"name": "able", "capabilities": [f"c{n}" for n in range(0, MAX_ROUTES, 2)]}
    rest = {"name": "rest", "capabilities": [f"c{n}" for n in range(1, MAX_ROUTES, 2)]}

    async with fleet(server.url, {"work": starts}, able, rest, concurrency=16):
        await aeventually(lambda: len(starts.all) == MAX_ROUTES)
        await aeventually(queue.is_empty)

    assert all(int(it[1:].partition("-")[0]) % 2 == 0 for it in starts.of("able"))
    assert all(int(it[1:].partition("-")[0]) % 2 == 1 for it in starts.of("rest"))
