"""The workers and the routes of a queue, as people see them."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import redis as redis_py

from consumers.admin.routes import RouteInfo, able
from consumers.admin.workers import WorkerInfo
from consumers.errors import BrokenKey, InvalidName
from consumers.jobs.job import Job
from consumers.jobs.lanes import Lane
from consumers.jobs.routes import Profile, Route
from consumers.store.keys import Fleet, Keys
from consumers.store.queue_workers import WorkerState, register_worker
from taskmanager import TaskManager
from tests.support.engine import working
from tests.support.routed import define, fill
from tests.support.servers import RedisServer
from tests.support.waiting import aeventually

KEYS = Keys("default")
ROUTE = Route("encoder", "transcode", requires=("gpu",), anti_affinity=("enc-3",), region="eu")
ENCODER: dict[str, Any] = {"type": "encoder", "capabilities": ["gpu", "av1"], "region": "eu"}


async def work(job: Job[Any]) -> None:
    pass


def state(name: str, *, levels: set[int] | None = None, envelope: int = 1) -> WorkerState:
    taken = None if levels is None else frozenset(levels)
    profile = Profile(name, "encoder", frozenset({"gpu"}), taken, "eu")
    return WorkerState(profile, 1, 0, frozenset({"transcode"}), envelope)


async def the_workers(server: RedisServer, queue: str = "default") -> list[WorkerInfo]:
    async with TaskManager(server.url) as tm:
        return await tm.workers(queue)


async def the_routes(server: RedisServer) -> list[RouteInfo]:
    async with TaskManager(server.url) as tm:
        return await tm.routes()


async def test_a_worker_is_described(server: RedisServer, redis: redis_py.Redis) -> None:
    began = datetime.now(UTC) - timedelta(seconds=60)
    handlers = {("default", "transcode"): work, ("mail", "send"): work}
    async with working(
        server.url, handlers, name="enc-1", levels=[5, -5], concurrency=3, **ENCODER
    ) as worker:
        (info,) = await the_workers(server)
        (other,) = await the_workers(server, "mail")

    assert (info.id, info.name, info.type, info.region) == (worker.id, "enc-1", "encoder", "eu")
    assert (info.capabilities, info.levels) == (("av1", "gpu"), (-5, 5))
    assert (info.slots, info.running, info.stopping) == (3, 0, False)
    assert (info.events, other.events) == (("transcode",), ("send",))
    assert (info.host, info.pid) == (socket.gethostname(), os.getpid())
    assert info.version
    assert info.started_at is not None
    assert began < info.started_at
    assert began < info.seen_at
    assert await the_workers(server) == []


async def test_the_workers_of_a_queue_are_sorted_by_name(
    server: RedisServer, redis: redis_py.Redis
) -> None:
    async with (
        working(server.url, {"e": work}, name="b"),
        working(server.url, {("mail", "e"): work}, name="c"),
        working(server.url, {"e": work}, name="a"),
    ):
        assert [it.name for it in await the_workers(server)] == ["a", "b"]
        assert [it.levels for it in await the_workers(server)] == [None, None]


async def test_a_worker_of_which_the_fleet_knows_nothing_is_listed_all_the_same(
    server: RedisServer, redis: redis_py.Redis
) -> None:
    key = Fleet().worker("a.1")
    redis.execute_command(*register_worker(KEYS, "a.1", state("a")).by_source)
    (unknown,) = await the_workers(server)
    redis.set(key, "somebody else's", ex=60)
    (foreign,) = await the_workers(server)
    redis.delete(key)
    redis.hset(key, mapping={"pid": "x", "since": "-", "host": b"\xff"})
    redis.expire(key, 60)
    (odd,) = await the_workers(server)

    assert (unknown.name, unknown.host, unknown.pid, unknown.version) == ("a", None, None, None)
    assert (foreign.name, foreign.host, foreign.started_at) == ("a", None, None)
    assert (odd.pid, odd.started_at, odd.host) == (None, None, "\ufffd")


async def test_a_silent_worker_and_what_somebody_else_wrote_are_passed_over(
    server: RedisServer, redis: redis_py.Redis
) -> None:
    now = int(redis.time()[0]) * 1000
    times = {"late": now - 50_000, "silent": now - 61_000, "ahead": now + 3_600_000, "no": "x"}
    told = state("w").written().decode()
    redis.hset(KEYS.workers, mapping={name: f"{at} {told}" for name, at in times.items()})
    redis.hset(KEYS.workers, "foreign", "somebody else's")
    redis.expire(KEYS.workers, 60)

    assert [it.id for it in await the_workers(server)] == ["late"]


@pytest.mark.parametrize("ask", [the_workers, the_routes])
async def test_a_foreign_value_in_place_of_the_workers_is_named(
    server: RedisServer, redis: redis_py.Redis, ask: Callable[[RedisServer], Awaitable[object]]
) -> None:
    redis.set(KEYS.workers, "somebody else's", ex=60)

    with pytest.raises(BrokenKey, match=r"tm:\{default\}:workers"):
        await ask(server)


async def test_a_queue_must_have_a_name_for_its_workers_and_routes(server: RedisServer) -> None:
    async with TaskManager(server.url) as tm:
        for ask in (tm.workers, tm.routes):
            with pytest.raises(InvalidName):
                await ask("a b")


async def test_workers_and_routes_are_listed_without_an_event_loop(
    server: RedisServer, redis: redis_py.Redis
) -> None:
    define(redis, ROUTE)
    tm = TaskManager(server.url)
    async with working(server.url, {"transcode": work}, name="enc-1", **ENCODER):
        workers = await asyncio.to_thread(tm.sync.workers)
        routes = await asyncio.to_thread(tm.sync.routes)
        elsewhere = await asyncio.to_thread(tm.sync.workers, "mail")

    assert ([it.name for it in workers], elsewhere) == (["enc-1"], [])
    assert [it.able for it in routes] == [("enc-1",)]


def live(redis: redis_py.Redis, *workers: WorkerState) -> None:
    """List workers as their heartbeats do."""
    for it in workers:
        step = register_worker(KEYS, f"{it.profile.name}.0", it)
        redis.execute_command(*step.by_source)


async def test_a_route_is_described_with_its_lanes_and_the_workers_that_may_run_it(
    server: RedisServer, redis: redis_py.Redis
) -> None:
    define(redis, ROUTE)
    low = fill(redis, ROUTE.name, priority=1, jobs=3, taken=1)
    high = fill(redis, ROUTE.name, priority=5, jobs=2)
    event = fill(redis, f"event.transcode@1~{ROUTE.name}", priority=2)
    fill(redis, "encoder", jobs=7)
    weak = WorkerState(Profile("weak", "encoder", region="eu"), 1, 0, frozenset({"transcode"}), 1)
    idle = replace(state("idle"), events=frozenset({"other"}))
    ending = replace(state("ending"), stopping=True)
    live(redis, *map(state, ("enc-3", "enc-2", "enc-1")), weak, idle, ending)

    (info,) = await the_routes(server)

    assert (info.name, info.type, info.event) == (ROUTE.name, "encoder", "transcode")
    assert (info.requires, info.only) == (("gpu",), ())
    assert (info.anti_affinity, info.region) == (("enc-3",), "eu")
    assert info.lanes == (high, event, low)
    assert (info.waiting, info.running) == (5, 1)
    assert info.able == ("enc-1", "enc-2")


async def test_the_route_of_an_emitted_job_is_listed_with_the_worker_that_runs_it(
    server: RedisServer, redis: redis_py.Redis
) -> None:
    go_on = asyncio.Event()

    async def wait(job: Job[Any]) -> None:
        await go_on.wait()

    async with TaskManager(server.url) as tm:
        await tm.emit("encode", type="encoder", requires=["gpu"])
        (waiting,) = await tm.routes()
        async with working(server.url, {"encode": wait}, name="enc-1", **ENCODER) as worker:
            await aeventually(lambda: worker.running)
            (running,) = await tm.routes()
            go_on.set()

    assert (waiting.event, waiting.requires, waiting.able) == ("encode", ("gpu",), ())
    assert (waiting.waiting, waiting.running) == (1, 0)
    assert (running.waiting, running.running, running.able) == (0, 1, ("enc-1",))


async def test_what_waits_and_runs_in_a_route_is_counted(
    server: RedisServer, redis: redis_py.Redis
) -> None:
    define(redis, ROUTE)
    fill(redis, ROUTE.name, priority=1, jobs=3, taken=2)
    fill(redis, ROUTE.name, priority=5, jobs=2)

    (info,) = await the_routes(server)

    assert (info.waiting, info.running, info.able) == (3, 2, ())


async def test_a_route_without_a_definition_that_can_be_read_is_listed_as_unknown(
    server: RedisServer, redis: redis_py.Redis
) -> None:
    name = "encoder+0123456789ab"
    redis.hset(KEYS.routes, mapping={name: '{"mood": "good"}', b"\xff": "x", ROUTE.name: "{}"})
    lane = fill(redis, "encoder+feedfeedfeed", jobs=2)

    async with working(server.url, {"transcode": work}, name="enc-1", **ENCODER):
        infos = {it.name: it for it in await the_routes(server)}

    assert infos.keys() == {name, "encoder+feedfeedfeed", "\ufffd", ROUTE.name}
    assert {(it.event, it.able) for it in infos.values()} == {(None, ())}
    lost = infos["encoder+feedfeedfeed"]
    assert (lost.type, lost.lanes, lost.waiting) == ("encoder", (lane,), 2)


async def test_a_foreign_value_in_place_of_the_routes_is_named(
    server: RedisServer, redis: redis_py.Redis
) -> None:
    redis.set(KEYS.routes, "somebody else's", ex=60)

    with pytest.raises(BrokenKey, match=r"tm:\{default\}:routes"):
        await the_routes(server)


def test_a_worker_that_takes_no_priority_of_the_lanes_of_a_route_is_not_able() -> None:
    workers = [state("all"), state("high", levels={5, 6}), state("low", levels={-5})]
    lanes = [Lane("default", ROUTE.name, "default", priority) for priority in (0, 5)]

    assert able(ROUTE, lanes, workers) == ("all", "high")
    assert able(ROUTE, [], workers) == ("all", "high", "low")


def test_a_worker_that_does_not_know_the_entries_of_the_only_lane_is_not_able() -> None:
    lane = Lane("default", f"event.transcode@2~{ROUTE.name}")
    workers = [state("old"), state("new", envelope=2)]

    assert able(ROUTE, [lane], workers) == ("new",)


def test_workers_of_one_name_are_named_once() -> None:
    assert able(ROUTE, [], [state("a"), state("a")]) == ("a",)
