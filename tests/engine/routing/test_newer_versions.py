"""Jobs that a matching worker cannot run yet go to the lane of their event, route and all."""

from __future__ import annotations

from typing import Any

import redis as redis_py

from consumers.jobs.envelope import ENVELOPE_VERSION
from consumers.jobs.lanes import Lane
from tests.support.engine import QueueView, emitting, working
from tests.support.queue import Queue
from tests.support.routing import ABLE, OTHER, PLAIN, Starts, defined, fleet, look, routed_job
from tests.support.servers import RedisServer
from tests.support.waiting import aeventually

LANE = routed_job().lane


async def test_a_worker_without_the_handler_leaves_the_route_alone(
    server: RedisServer, redis: redis_py.Redis
) -> None:
    queue, starts = QueueView(redis), Starts()

    async with emitting(server.url) as emit, working(server.url, {"other": starts}, **ABLE) as old:
        await emit.producer.emit(routed_job())
        await look(old)
        assert queue.pending() == []
        async with fleet(server.url, {"work": starts}, {**ABLE, "name": "new"}):
            await aeventually(lambda: starts.all == [("new", "a")])

    # It never met the job, so there was nothing to pass on.
    assert queue.stats("released") == 0
    assert [it for it in queue.lanes() if it.startswith("event.")] == []


async def test_a_job_of_an_event_that_its_route_is_not_for_is_passed_on_with_its_route(
    server: RedisServer, redis: redis_py.Redis
) -> None:
    """Somebody put it there: the handler of the route's event is not its own."""
    queue, starts = Queue(redis), Starts()
    queue.emit(routed_job()._replace(event="play"), routed_job(id="b"))
    own = LANE.for_event("play")

    async with fleet(server.url, {"work": starts}, PLAIN, OTHER, ABLE):
        await aeventually(lambda: starts.all == [("able", "b")])
        await aeventually(lambda: queue.ids(own, front=True) == ["a"])
    async with fleet(server.url, {"play": starts}, PLAIN, OTHER) as others:
        await look(*others)
        assert len(starts.all) == 1
        async with fleet(server.url, {"play": starts}, {**ABLE, "name": "player"}):
            await aeventually(lambda: starts.of("player") == ["a"])

    assert defined(redis)[LANE.type] == '{"event":"work","requires":["gpu"]}'


async def test_a_job_of_a_newer_version_waits_in_its_events_lane_for_who_is_newer_and_matches(
    server: RedisServer, redis: redis_py.Redis, monkeypatch: Any
) -> None:
    queue, starts = QueueView(redis), Starts()
    version = ENVELOPE_VERSION + 1
    make_newer(redis, queue, version)
    own = LANE.for_event("work", version)
    assert own.name == f"event.work@2~{LANE.type}:default:0"

    async with fleet(server.url, {"work": starts}) as workers:
        await aeventually(lambda: redis.xlen(queue.keys.front(own)) == 1)
        await look(*workers)
        assert starts.all == []
    for module in ("consumers.fetch.levels", "consumers.fetch.admission"):
        monkeypatch.setattr(f"{module}.ENVELOPE_VERSION", version)
    async with fleet(server.url, {"work": starts}, PLAIN, OTHER) as others:
        await look(*others)
        assert starts.all == []
        async with fleet(server.url, {"work": starts}, ABLE):
            await aeventually(lambda: starts.all == [("able", "a")])


def make_newer(redis: redis_py.Redis, queue: QueueView, version: int) -> None:
    """Have a job waiting as a newer producer would add it."""
    Queue(redis).emit(routed_job())
    stream = queue.keys.lane(LANE)
    ((entry, fields),) = redis.xrange(stream)  # type: ignore[misc]
    head = fields[b"head"]
    newer = {**fields, b"head": b"%d" % version + head[head.index(b":") :]}
    redis.xdel(stream, entry)
    added: Any = redis.xadd(stream, newer)
    pointer = queue.live("a")
    assert pointer is not None
    redis.hset(queue.keys.live("a"), "a", pointer.replace(entry, added))


async def test_what_somebody_handles_waits_there_for_a_worker_that_matches(
    server: RedisServer, redis: redis_py.Redis
) -> None:
    queue, starts = QueueView(redis), Starts()
    Queue(redis).emit(routed_job()._replace(lane=Lane("default", f"event.work@1~{LANE.type}")))

    async with fleet(server.url, {"work": starts}, PLAIN, no_handler_deadline=0.0) as (plain,):
        await plain._parts.janitor.tidy(queue.keys)  # type: ignore[union-attr]
        await look(plain)
        assert queue.letters() == []
        async with fleet(server.url, {"work": starts}, ABLE):
            await aeventually(lambda: starts.all == [("able", "a")])
