"""What a worker leaves behind, stopped or dead, goes to workers that may run it."""

from __future__ import annotations

import asyncio
from typing import Any

import redis as redis_py

from consumers.jobs.job import Job
from consumers.jobs.lanes import Lane
from tests.support.engine import SHORT_LEASE, QueueView, consumer_of, crash, emitting, working
from tests.support.queue import Queue
from tests.support.routing import ABLE, OTHER, PLAIN, Starts, fleet, look, routed_job
from tests.support.servers import RedisServer
from tests.support.waiting import aeventually

LANE = routed_job().lane
ABLE_TOO = {**ABLE, "name": "able-too"}


class Endless(Starts):
    """Notes the start of a job, which then runs for ever."""

    async def __call__(self, job: Job[Any]) -> None:
        await super().__call__(job)
        await asyncio.Event().wait()


async def test_a_stop_hands_back_what_runs_and_what_is_held(
    server: RedisServer, redis: redis_py.Redis
) -> None:
    queue, endless, starts = QueueView(redis), Endless(), Starts()
    jobs = [routed_job(id=f"j{n}") for n in range(8)]

    async with emitting(server.url) as emit, fleet(server.url, {"work": starts}, PLAIN, OTHER) as m:
        async with working(server.url, {"work": endless}, **ABLE, concurrency=4):
            await asyncio.gather(*map(emit.producer.emit, jobs))
            await aeventually(lambda: len(queue.pending()) > 4 and len(endless.all) == 4)
        assert queue.pending() == []
        assert redis.xlen(queue.keys.front(LANE)) >= 5
        await look(*m)
        assert starts.all == []
        async with fleet(server.url, {"work": starts}, ABLE_TOO):
            await aeventually(queue.is_empty)

    assert sorted(starts.of("able-too")) == sorted(starts.ids) == sorted(it.id for it in jobs)


async def test_a_dead_workers_jobs_are_taken_over_by_those_that_may_run_them(
    server: RedisServer, redis: redis_py.Redis
) -> None:
    queue, starts = QueueView(redis), Starts()
    jobs = [routed_job(id=f"j{n}") for n in range(4)]

    async with (
        emitting(server.url) as emit,
        fleet(server.url, {"work": starts}, PLAIN, OTHER, lease=SHORT_LEASE),
    ):
        endless = Endless()
        dead = consumer_of(server.url, {"work": endless}, **ABLE, concurrency=4, lease=SHORT_LEASE)
        await dead.start()
        await asyncio.gather(*map(emit.producer.emit, jobs))
        await aeventually(lambda: len(endless.all) == 4)
        await crash(dead)
        async with fleet(server.url, {"work": starts}, ABLE_TOO, lease=SHORT_LEASE):
            await aeventually(lambda: queue.stats("completed") == 4)

    assert sorted(starts.of("able-too")) == sorted(starts.ids) == sorted(it.id for it in jobs)


async def test_a_job_in_a_lanes_front_is_taken_over_likewise(
    server: RedisServer, redis: redis_py.Redis
) -> None:
    """It was handed back once; then its second worker dies."""
    queue, starts = QueueView(redis), Starts()
    Queue(redis).emit(routed_job())
    async with working(server.url, {"work": Endless()}, **ABLE) as first:
        await aeventually(lambda: first.running == 1)
    assert redis.xlen(queue.keys.front(LANE)) == 1

    async with fleet(server.url, {"work": starts}, PLAIN, OTHER, lease=SHORT_LEASE) as others:
        dead = consumer_of(server.url, {"work": Endless()}, **ABLE, lease=SHORT_LEASE)
        await dead.start()
        await aeventually(lambda: dead.running == 1)
        await crash(dead)
        queue.expire()
        await look(*others)
        assert [it[0] for it in queue.pending()] == [queue.keys.front(LANE)]
        async with fleet(server.url, {"work": starts}, ABLE_TOO, lease=SHORT_LEASE):
            await aeventually(lambda: queue.stats("completed") == 1)

    assert starts.all == [("able-too", "a")]


async def test_a_suspect_runs_solo_where_it_may(server: RedisServer, redis: redis_py.Redis) -> None:
    queue, starts = QueueView(redis), Starts()
    jobs = Queue(redis)
    jobs.emit(routed_job(), routed_job(id="b"))
    abandon(queue, LANE, crashes=2)

    async with fleet(server.url, {"work": starts}, concurrency=2) as workers:
        await look(*workers)
        await aeventually(lambda: queue.stats("completed") == 2)

    assert sorted(starts.all) == [("able", "a"), ("able", "b")]


async def test_a_suspect_that_its_worker_may_run_no_more_keeps_nobody_waiting(
    server: RedisServer, redis: redis_py.Redis
) -> None:
    queue, starts, slow_ended = QueueView(redis), Starts(), asyncio.Event()

    async def slow(job: Job[Any]) -> None:
        await slow_ended.wait()

    async with (
        emitting(server.url) as emit,
        working(server.url, {"work": starts, "slow": slow}, **ABLE, concurrency=2) as able,
    ):
        await emit("slow")
        await aeventually(lambda: able.running == 1)
        Queue(redis).emit(routed_job())
        abandon(queue, LANE, crashes=2)
        # It waits until the one beside it has ended.
        await aeventually(lambda: able._parts.fetcher.gate.suspect)  # type: ignore[union-attr]
        able.set_capabilities([])
        await emit("work", id="plain")
        slow_ended.set()
        await aeventually(lambda: starts.ids == ["plain"])
        await aeventually(lambda: queue.pending() == [])
        async with fleet(server.url, {"work": starts}, ABLE_TOO):
            await aeventually(lambda: starts.of("able-too") == ["a"])

    assert starts.of("able") == ["plain"]


def abandon(queue: QueueView, lane: Lane, *, crashes: int) -> None:
    """Fetch a job as a worker that dies at once, that many times; its leases have run out."""
    stream, dead = queue.keys.lane(lane), "dead.0"
    ((_, ((entry, _),)),) = queue.redis.xreadgroup(lane.group, dead, {stream: ">"}, 1)  # type: ignore[misc]
    queue.redis.xclaim(
        stream, lane.group, dead, 0, [entry], retrycount=crashes, justid=True, idle=86_400_000
    )
