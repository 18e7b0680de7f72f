"""What routes require is found in their jobs where its record was deleted or spoiled."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

import pytest
import redis as redis_py

from consumers.jobs.routes import Route
from consumers.store.keys import Keys
from tests.support.engine import QueueView, emitting
from tests.support.queue import Queue, foreign_value, new_job
from tests.support.routing import Starts, defined, fleet, look, routed_job
from tests.support.servers import RedisServer
from tests.support.waiting import aeventually

KEY = Keys("default").routes
ROUTE = routed_job().lane.type
DEFINITION = '{"event":"work","requires":["gpu"]}'
LANE = routed_job().lane
HOUR_MS = 3_600_000

SPOILED: list[Callable[[redis_py.Redis], object]] = [
    lambda redis: redis.delete(KEY),
    lambda redis: redis.hdel(KEY, ROUTE),
    lambda redis: redis.hset(KEY, ROUTE, "no JSON"),
    lambda redis: redis.hset(KEY, ROUTE, '{"event":"work"}'),
    lambda redis: redis.hset(KEY, ROUTE, Route("workers", "work", requires=("cpu",)).json),
    lambda redis: redis.hset(KEY, ROUTE, b"\xff"),
]
SPOILED_IDS = ["all gone", "gone", "no JSON", "another", "of another route", "no text"]


@pytest.mark.parametrize("spoil", SPOILED, ids=SPOILED_IDS)
async def test_a_new_worker_finds_it_in_the_jobs_and_writes_it_again(
    server: RedisServer,
    redis: redis_py.Redis,
    caplog: pytest.LogCaptureFixture,
    spoil: Callable[[redis_py.Redis], object],
) -> None:
    starts = Starts()
    Queue(redis).emit(routed_job(), routed_job(id="b"))
    assert defined(redis) == {ROUTE: DEFINITION}
    spoil(redis)

    async with fleet(server.url, {"work": starts}):
        await aeventually(lambda: len(starts.all) == 2)

    assert starts.of("able") == ["a", "b"]
    assert defined(redis) == {ROUTE: DEFINITION}
    said = "1 routes of queue default had lost their definitions: found in their jobs"
    assert said in [it.getMessage() for it in caplog.records]


async def test_who_knows_it_already_needs_no_record_of_it(
    server: RedisServer, redis: redis_py.Redis
) -> None:
    queue, starts = QueueView(redis), Starts()

    async with emitting(server.url) as emit, fleet(server.url, {"work": starts}) as workers:
        await emit.producer.emit(routed_job())
        await aeventually(queue.is_empty)
        redis.delete(KEY)
        await look(*workers)
        await emit.producer.emit(routed_job(id="b"))
        await aeventually(queue.is_empty)

    assert starts.all == [("able", "a"), ("able", "b")]


async def test_it_is_found_once_there_is_a_job(server: RedisServer, redis: redis_py.Redis) -> None:
    """The lane is listed for a delayed job; nothing lies in it."""
    starts = Starts()
    queue = Queue(redis)
    queue.emit(routed_job(due=f"+{HOUR_MS}"))
    redis.delete(KEY)

    async with fleet(server.url, {"work": starts}) as workers:
        await look(*workers)
        assert defined(redis) == {}
        queue.make_due("a")
        for worker in workers:
            worker._parts.promoters["default"].wake()  # type: ignore[union-attr]
        await aeventually(lambda: starts.all == [("able", "a")])

    assert defined(redis) == {ROUTE: DEFINITION}


@pytest.mark.parametrize("where", ["lane", "front"])
async def test_it_is_found_behind_what_is_no_job(
    server: RedisServer, redis: redis_py.Redis, where: str
) -> None:
    starts, queue = Starts(), Queue(redis)
    queue.emit(routed_job())
    if where == "front":
        redis.zrem(queue.keys.lanes, LANE.name)
        redis.rename(queue.keys.lane(LANE), queue.keys.front(LANE))
        queue.emit(routed_job(id="b"))
        redis.xtrim(queue.keys.lane(LANE), 0)
    redis.xadd(queue.keys.lane(LANE), {"somebody": "else's"})
    redis.delete(KEY)

    async with fleet(server.url, {"work": starts}):
        await aeventually(lambda: starts.all == [("able", "a")])

    assert defined(redis) == {ROUTE: DEFINITION}


@pytest.mark.foreign_keys
async def test_a_foreign_value_in_place_of_all_records_stops_no_lane(
    server: RedisServer, redis: redis_py.Redis, caplog: pytest.LogCaptureFixture
) -> None:
    queue, starts = QueueView(redis), Starts()

    with foreign_value(redis, KEY):
        async with emitting(server.url) as emit, fleet(server.url, {"work": starts}) as workers:
            await asyncio.gather(
                emit("work", id="plain"),
                emit.producer.emit(routed_job()),
                emit.producer.emit(routed_job(id="b", requires=["cpu"])),
            )
            await aeventually(queue.is_empty)
            await look(*workers)
    assert dict(map(reversed, starts.all)) | {"plain": ""} == {  # type: ignore[arg-type]
        "plain": "", "a": "able", "b": "other",
    }  # fmt: skip
    told = [it for it in caplog.records if "what routes require cannot be read" in it.getMessage()]
    assert len(told) <= 3
    assert all(it.levelno == logging.ERROR for it in told)


async def test_a_lane_of_which_nobody_can_know_what_it_requires_harms_no_other(
    server: RedisServer, redis: redis_py.Redis
) -> None:
    """Somebody listed it, and put entries into it that carry no definition, or another one."""
    queue, starts = Queue(redis), Starts()
    liar = routed_job(id="liar", requires=["cpu"])
    queue.emit(liar._replace(lane=LANE))
    queue.emit(new_job("bare", "work", type=ROUTE))
    redis.delete(KEY)

    async with emitting(server.url) as emit, fleet(server.url, {"work": starts}) as workers:
        await emit.producer.emit(routed_job(id="b", requires=["cpu"]))
        await emit("work", id="plain")
        await aeventually(lambda: len(starts.all) == 2)
        await look(*workers)
        assert sorted(starts.ids) == ["b", "plain"]
        # A job that says what it requires makes the lane known, with all that lies in it.
        redis.xtrim(queue.keys.lane(LANE), 1)
        await emit.producer.emit(routed_job(id="honest"))
        await aeventually(lambda: "honest" in starts.ids)

    assert set(starts.of("able")) <= {"plain", "bare", "liar", "honest"}


async def test_a_redis_that_lost_everything_begins_again(
    server: RedisServer, redis: redis_py.Redis
) -> None:
    queue, starts = QueueView(redis), Starts()

    async with emitting(server.url) as emit, fleet(server.url, {"work": starts}) as workers:
        await emit.producer.emit(routed_job())
        await aeventually(lambda: len(starts.all) == 1)
        await aeventually(queue.is_empty)
        redis.flushall()
        await look(*workers)
        await emit.producer.emit(routed_job(id="b"))
        await aeventually(lambda: len(starts.all) == 2)

    assert starts.of("able") == ["a", "b"]
    assert defined(redis) == {ROUTE: DEFINITION}
