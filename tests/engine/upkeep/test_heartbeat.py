"""Heartbeats on real Redis: who lives is listed, also while memory is full."""

from __future__ import annotations

import asyncio
import json
import logging
from typing import Any, cast

import pytest
import redis as redis_py

from consumers.connections.connector import Connector
from consumers.connections.wire import Wire
from consumers.jobs.job import Job
from consumers.store.fleet import FORGET_AFTER
from consumers.store.keys import Fleet
from consumers.store.pause_state import PauseState
from consumers.upkeep.heartbeat import Heartbeat, identity
from taskmanager import TaskManager
from tests.support.engine import emitting, working
from tests.support.queue import full_memory
from tests.support.servers import RedisServer
from tests.support.waiting import aeventually

FLEET = Fleet()


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
        wire, FLEET, worker_id="w", queues=["default"],
        facts=[identity(name="w", type="workers", slots=1)],
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

    def events() -> dict[str, list[str]]:
        nonlocal asked
        asked += 1
        if asked < 3:
            raise RuntimeError("the application cannot say")
        return {"default": ["work"]}

    wire = Wire(Connector.of(server.url), name="heartbeat")
    heartbeat = Heartbeat(
        wire, FLEET, worker_id="w.0", queues=["default"], facts=[lambda: {"events": events()}]
    )
    beating = asyncio.create_task(heartbeat.run())
    try:
        await aeventually(lambda: listed(redis) == ["w.0"], within=20.0)
    finally:
        beating.cancel()
        await heartbeat.remove()
        await wire.close()
