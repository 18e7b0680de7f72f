"""Heartbeats on real Redis: who lives is listed, also while memory is full."""

from __future__ import annotations

import asyncio
import json
import logging
from dataclasses import replace
from typing import Any, cast

import pytest
import redis as redis_py

from consumers.connections.connector import Connector
from consumers.connections.wire import Wire
from consumers.jobs.job import Job
from consumers.jobs.routes import Profile
from consumers.store.fleet import FORGET_AFTER
from consumers.store.keys import Fleet, Keys
from consumers.store.pause_state import PauseState
from consumers.store.queue_workers import WorkerState
from consumers.upkeep.heartbeat import Heartbeat, identity
from taskmanager import TaskManager
from tests.support.engine import emitting, working
from tests.support.queue import full_memory
from tests.support.servers import RedisServer
from tests.support.waiting import aeventually

FLEET, KEYS = Fleet(), Keys("default")
STATE = WorkerState(Profile("w"), 1, 0, frozenset({"work"}), 1)


async def work(job: Job[None]) -> None:
    pass


def facts(redis: redis_py.Redis, worker_id: str) -> dict[bytes, bytes]:
    return cast("dict[bytes, bytes]", redis.hgetall(FLEET.worker(worker_id)))


def listed(redis: redis_py.Redis) -> list[str]:
    return [name.decode() for name in cast("list[bytes]", redis.zrange(FLEET.workers, 0, -1))]


async def test_a_worker_that_starts_in_full_memory_is_listed_with_its_facts(
    server: RedisServer, redis: redis_py.Redis, caplog: pytest.LogCaptureFixture
) -> None:
    async with emitting(server.url) as emit:
        await emit("work")
    with full_memory(redis):
        async with working(server.url, {"work": work}) as worker:
            assert listed(redis) == [worker.id]
            assert json.loads(facts(redis, worker.id)[b"queues"]) == ["default"]
            assert 0 < redis.ttl(FLEET.worker(worker.id)) <= FORGET_AFTER
        assert listed(redis) == []
        assert not redis.exists(FLEET.worker(worker.id))

    assert "not listed" not in caplog.text
    assert [it for it in caplog.records if it.levelno >= logging.ERROR] == []


async def test_a_beat_in_full_memory_tells_what_has_changed(
    server: RedisServer, redis: redis_py.Redis
) -> None:
    async with working(server.url, {"work": work}) as worker:
        parts = worker._parts
        assert parts is not None
        score = redis.zscore(FLEET.workers, worker.id)
        with full_memory(redis):
            redis.hdel(FLEET.worker(worker.id), "pauses")
            redis.expire(FLEET.worker(worker.id), 5)
            parts.pauses.tell("default", PauseState(7))
            await parts.heartbeat.beat()

        assert json.loads(facts(redis, worker.id)[b"pauses"]) == {"default": 7}
        assert redis.ttl(FLEET.worker(worker.id)) > 5
        assert cast("float", redis.zscore(FLEET.workers, worker.id)) > cast("float", score)


async def test_g12_a_pause_is_confirmed_by_every_worker_while_memory_is_full(
    server: RedisServer, redis: redis_py.Redis
) -> None:
    started: list[str] = []
    # More than run until the pause is obeyed.
    jobs = 10_000
    tm = TaskManager(server.url, concurrency=2)

    @tm.registerHandler(event="work")
    async def many(job: Job[Any]) -> None:
        started.append(job.id)
        await asyncio.sleep(0.001)

    await tm.emit_many([{"event": "work", "data": n} for n in range(jobs)])
    try:
        with full_memory(redis):
            await tm.start()
            await aeventually(lambda: started)
            await tm.pause(wait=True)
            then = len(started)
            (worker_id,) = listed(redis)
            confirmed = json.loads(facts(redis, worker_id)[b"pauses"])["default"]
            # The time in which a worker that does not obey yet starts some hundred.
            await asyncio.sleep(0.3)

        assert (len(started), confirmed) == (then, 1)
        assert 0 < then < jobs
    finally:
        await tm.stop(timeout=0)


async def test_who_was_silent_for_a_minute_is_taken_off_the_list(
    server: RedisServer, redis: redis_py.Redis
) -> None:
    now = int(redis.time()[0]) * 1000
    redis.zadd(FLEET.workers, {"silent": now - FORGET_AFTER * 1000 - 1000, "late": now - 50_000})

    async with working(server.url, {"work": work}) as worker:
        assert listed(redis) == ["late", worker.id]


async def test_a_foreign_value_in_place_of_the_list_does_not_keep_the_facts_from_being_told(
    server: RedisServer, redis: redis_py.Redis
) -> None:
    redis.set(FLEET.workers, "somebody else's", ex=60)
    wire = Wire(Connector.from_url(server.url), name=None)
    beats = Heartbeat(
        wire, FLEET, worker_id="w", queues=[KEYS],
        facts=[identity(name="w", type="workers", slots=1)], state=lambda queue: STATE,
    )  # fmt: skip

    with pytest.raises(redis_py.ResponseError, match="WRONGTYPE"):
        await beats.beat()
    await wire.send("PING")
    await wire.close()

    assert facts(redis, "w")[b"name"] == b"w"


async def test_a_beat_that_fails_for_any_reason_is_not_the_last_one(
    server: RedisServer, redis: redis_py.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Heartbeat, "interval", 0.01)
    asked = 0

    def state(queue: str) -> WorkerState:
        nonlocal asked
        asked += 1
        if asked < 3:
            raise RuntimeError("the application cannot say")
        return STATE

    wire = Wire(Connector.of(server.url), name="heartbeat")
    heartbeat = Heartbeat(wire, FLEET, worker_id="w.0", queues=[KEYS], facts=[], state=state)
    beating = asyncio.create_task(heartbeat.run())
    try:
        await aeventually(lambda: listed(redis) == ["w.0"], within=20.0)
    finally:
        beating.cancel()
        await heartbeat.remove()
        await wire.close()


def registered(redis: redis_py.Redis) -> dict[str, dict[str, Any]]:
    """Return what the workers of the queue tell, by their ids."""
    found = cast("dict[bytes, bytes]", redis.hgetall(KEYS.workers))
    return {it.decode(): json.loads(told.partition(b" ")[2]) for it, told in found.items()}


async def test_a_worker_is_listed_in_each_of_its_queues_until_it_stops(
    server: RedisServer, redis: redis_py.Redis
) -> None:
    handlers = {("default", "work"): work, ("mail", "send"): work}
    options = {"name": "enc-1", "type": "encoder", "capabilities": ["gpu"], "levels": [3, 1]}
    async with working(server.url, handlers, **options, region="eu", concurrency=2) as worker:
        listed_in = {it: redis.hkeys(Keys(it).workers) for it in ("default", "mail")}
        assert set(map(tuple, listed_in.values())) == {(worker.id.encode(),)}
        assert registered(redis)[worker.id] == {
            "name": "enc-1", "type": "encoder", "capabilities": ["gpu"], "levels": [1, 3],
            "region": "eu", "slots": 2, "running": 0, "events": ["work"], "envelope": 1,
            "stopping": False,
        }  # fmt: skip
        assert 0 < redis.ttl(KEYS.workers) <= FORGET_AFTER

    assert not redis.exists(KEYS.workers, Keys("mail").workers)


async def test_a_worker_tells_its_queue_that_it_stops_and_what_it_still_runs(
    server: RedisServer, redis: redis_py.Redis
) -> None:
    go_on = asyncio.Event()

    async def wait(job: Job[None]) -> None:
        await go_on.wait()

    async with emitting(server.url) as emit, working(server.url, {"work": wait}) as worker:
        await emit("work")
        await aeventually(lambda: worker.running)
        stopping = asyncio.create_task(worker.stop())
        await aeventually(lambda: registered(redis)[worker.id]["stopping"])
        running = registered(redis)[worker.id]["running"]
        go_on.set()
        await stopping

    assert running == 1
    assert not redis.exists(KEYS.workers)


async def test_a_beat_tells_the_profile_that_the_worker_has_by_then(
    server: RedisServer, redis: redis_py.Redis
) -> None:
    async with working(server.url, {"work": work}) as worker:
        parts = worker._parts
        assert parts is not None
        profile = replace(parts.terms.profile, capabilities=frozenset({"av1"}))
        parts.terms = replace(parts.terms, profile=profile)
        await parts.heartbeat.beat()

        assert registered(redis)[worker.id]["capabilities"] == ["av1"]


async def test_workers_of_a_queue_that_were_silent_for_a_minute_are_dropped_in_turn(
    server: RedisServer, redis: redis_py.Redis
) -> None:
    now = int(redis.time()[0]) * 1000
    then = {"silent": now - 61_000, "ahead": now + 3_600_000, "late": now - 30_000}
    told = {name: f"{at} {{}}" for name, at in then.items()} | {"foreign": "x"}
    redis.hset(KEYS.workers, mapping=told)

    async with working(server.url, {"work": work}) as worker:
        assert set(names_registered(redis)) == {"late", "foreign", worker.id}
        redis.hset(KEYS.workers, "silent", "1 {}")
        parts = worker._parts
        assert parts is not None
        await parts.heartbeat.beat()
        # Somebody looked a moment ago.
        assert "silent" in names_registered(redis)
        redis.hset(KEYS.meta, "turn.workers", now - 60_000)
        await parts.heartbeat.beat()
        assert set(names_registered(redis)) == {"late", "foreign", worker.id}


async def test_thousands_of_silent_workers_are_dropped_in_several_turns(
    server: RedisServer, redis: redis_py.Redis
) -> None:
    redis.hset(KEYS.workers, mapping={f"w-{n}": "1 {}" for n in range(2500)})
    wire = Wire(Connector.of(server.url), name=None)
    heartbeat = Heartbeat(
        wire, FLEET, worker_id="w.0", queues=[KEYS], facts=[], state=lambda queue: STATE
    )
    left = []
    for _ in range(3):
        redis.hdel(KEYS.meta, "turn.workers")
        await heartbeat.beat()
        left.append(cast("int", redis.hlen(KEYS.workers)))
    await wire.close()

    assert left == [1501, 501, 1]


async def test_a_worker_that_starts_in_full_memory_is_listed_in_its_queue(
    server: RedisServer, redis: redis_py.Redis
) -> None:
    async with emitting(server.url) as emit:
        await emit("work")
    with full_memory(redis):
        async with working(server.url, {"work": work}) as worker:
            assert list(registered(redis)) == [worker.id]


async def test_a_foreign_value_in_place_of_a_queues_workers_is_said_once(
    server: RedisServer, redis: redis_py.Redis, caplog: pytest.LogCaptureFixture
) -> None:
    redis.set(KEYS.workers, "somebody else's", ex=60)
    ran = []

    async def note(job: Job[None]) -> None:
        ran.append(job.id)

    handlers = {("default", "work"): note, ("mail", "work"): note}
    async with emitting(server.url) as emit, working(server.url, handlers) as worker:
        parts = worker._parts
        assert parts is not None
        for _ in range(3):
            await parts.heartbeat.beat()
        await emit("work")
        await aeventually(lambda: ran)
        assert listed(redis) == [worker.id]
        assert redis.hkeys(Keys("mail").workers) == [worker.id.encode()]

    warnings = [it.getMessage() for it in caplog.records if it.levelno >= logging.WARNING]
    assert len([it for it in warnings if "is not listed in queue default" in it]) == 1
    assert redis.get(KEYS.workers) == b"somebody else's"
    assert listed(redis) == []


def names_registered(redis: redis_py.Redis) -> list[str]:
    return [it.decode() for it in cast("list[bytes]", redis.hkeys(KEYS.workers))]
