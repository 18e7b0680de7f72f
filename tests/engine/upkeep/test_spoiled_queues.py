"""A queue that somebody spoiled in Redis: it is said once, and the other queues go on."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any

import pytest
import redis as redis_py

from consumers.errors import LayoutMismatch
from consumers.jobs.job import Job
from consumers.lease.leases import Leases
from consumers.store.delivery import Delivery
from consumers.store.keys import Keys
from tests.support.engine import SHORT_LEASE, QueueView, emitting, working
from tests.support.servers import RedisServer
from tests.support.waiting import aeventually

Spoil = Callable[[redis_py.Redis, QueueView], Any]


def hold_a_string(redis: redis_py.Redis, queue: QueueView) -> None:
    redis.set(queue.lane(), "somebody else's")


def be_another_layout(redis: redis_py.Redis, queue: QueueView) -> None:
    redis.hset(queue.keys.meta, "layout", "99")


def hold_a_list_of_lanes_that_is_none(redis: redis_py.Redis, queue: QueueView) -> None:
    redis.set(queue.keys.lanes, "somebody else's")


def hold_properties_that_are_none(redis: redis_py.Redis, queue: QueueView) -> None:
    redis.set(queue.keys.meta, "somebody else's")


def hold_an_epoch_that_is_no_number(redis: redis_py.Redis, queue: QueueView) -> None:
    redis.hset(queue.keys.meta, mapping={"epoch": "x", "lease": "30000"})
    redis.zadd(queue.keys.lanes, {"workers:default:0": 0})


SPOILS: list[Spoil] = [
    hold_a_string,
    be_another_layout,
    hold_a_list_of_lanes_that_is_none,
    hold_properties_that_are_none,
    hold_an_epoch_that_is_no_number,
]


def forget(redis: redis_py.Redis, queue: QueueView) -> None:
    """Delete a queue by hand."""
    for key in redis.scan_iter(f"{queue.keys.base}*"):
        redis.delete(key)


def refreshes(caplog: pytest.LogCaptureFixture) -> int:
    """Count how often it was seen that the queue is spoiled."""
    return sum("cannot read queue spoiled" in line for line in caplog.messages)


@pytest.mark.parametrize("spoil", SPOILS)
async def test_a_spoiled_queue_does_not_stop_the_others_of_its_worker(
    server: RedisServer, redis: redis_py.Redis, caplog: pytest.LogCaptureFixture, spoil: Spoil
) -> None:
    ran, spoiled = list[str](), QueueView(redis, "spoiled")

    async def work(job: Job[None]) -> None:
        ran.append(job.id)

    handlers = {("sound", "work"): work, ("spoiled", "work"): work}
    caplog.set_level(logging.DEBUG)
    async with emitting(server.url) as emit, working(server.url, handlers):
        await emit("work", queue="sound")
        await aeventually(lambda: ran == ["work-1"], within=20.0)
        forget(redis, spoiled)
        spoil(redis, spoiled)
        await aeventually(lambda: refreshes(caplog) >= 2, within=20.0)

        await asyncio.gather(*(emit("work", queue="sound") for _ in range(3)))
        await aeventually(lambda: len(ran) == 4, within=20.0)
        forget(redis, spoiled)

    said = [it for it in caplog.records if "cannot read queue spoiled" in it.getMessage()]
    assert [it.levelno for it in said].count(logging.ERROR) == 1


@pytest.mark.parametrize("spoil", SPOILS)
async def test_a_worker_that_starts_with_a_spoiled_queue_serves_the_others(
    server: RedisServer, redis: redis_py.Redis, caplog: pytest.LogCaptureFixture, spoil: Spoil
) -> None:
    ran, spoiled = list[str](), QueueView(redis, "spoiled")

    async def work(job: Job[None]) -> None:
        ran.append(job.queue)

    handlers = {("spoiled", "work"): work, ("sound", "work"): work}
    spoil(redis, spoiled)
    async with emitting(server.url) as emit, working(server.url, handlers):
        await emit("work", queue="sound")
        await aeventually(lambda: ran == ["sound"])
        assert refreshes(caplog) > 0

        forget(redis, spoiled)
        await emit("work", queue="spoiled")
        await aeventually(lambda: ran == ["sound", "spoiled"])


async def test_a_worker_all_of_whose_queues_are_spoiled_does_not_start(
    server: RedisServer, redis: redis_py.Redis
) -> None:
    spoiled = QueueView(redis, "spoiled")
    be_another_layout(redis, spoiled)

    with pytest.raises(LayoutMismatch):
        async with working(server.url, {("spoiled", "work"): print}):
            pass

    forget(redis, spoiled)


async def test_a_queue_that_is_not_spoiled_any_more_is_read_again(
    server: RedisServer, redis: redis_py.Redis, caplog: pytest.LogCaptureFixture
) -> None:
    ran, spoiled = list[str](), QueueView(redis, "spoiled")

    async def work(job: Job[None]) -> None:
        ran.append(job.id)

    async with emitting(server.url) as emit, working(server.url, {("spoiled", "work"): work}):
        await aeventually(lambda: redis.exists(Keys("spoiled").meta), within=20.0)
        forget(redis, spoiled)
        hold_a_string(redis, spoiled)
        await aeventually(lambda: refreshes(caplog), within=20.0)
        forget(redis, spoiled)
        await emit("work", queue="spoiled")

        await aeventually(lambda: ran == ["work-1"], within=20.0)


async def test_a_lease_that_somebody_set_to_nothing_is_not_adopted(
    server: RedisServer, redis: redis_py.Redis, caplog: pytest.LogCaptureFixture
) -> None:
    ran, spoiled = list[int](), QueueView(redis, "spoiled")

    async def work(job: Job[None]) -> None:
        ran.append(job.delivery)

    async with (
        emitting(server.url) as emit,
        working(server.url, {("spoiled", "work"): work}) as worker,
    ):
        redis.hset(spoiled.keys.meta, "lease", 0)
        await aeventually(lambda: refreshes(caplog), within=20.0)
        await emit("work", queue="spoiled")
        await aeventually(lambda: spoiled.stats("completed") == 1, within=20.0)
        fenced = worker.fenced

    assert (ran, fenced) == ([1], 0)
    assert "lease of queue spoiled 0.0 is not allowed" in caplog.text


@pytest.mark.parametrize("lease", ["0", "abc"])
async def test_a_queue_whose_lease_is_none_costs_the_jobs_of_others_no_lease(
    server: RedisServer, redis: redis_py.Redis, lease: str
) -> None:
    """What was fetched of it had no lease, and ended the thread that renews all of them."""
    began = asyncio.Event()

    async def work(job: Job[None]) -> None:
        began.set()
        await asyncio.sleep(2 * SHORT_LEASE)

    spoiled, sound = QueueView(redis, "spoiled"), QueueView(redis, "sound")
    redis.hset(spoiled.keys.meta, mapping={"layout": "1", "epoch": "5", "lease": lease})
    handlers = {("spoiled", "work"): work, ("sound", "work"): work}
    async with (
        emitting(server.url) as emit,
        working(server.url, handlers, lease=SHORT_LEASE, concurrency=2) as worker,
    ):
        await emit("work", queue="spoiled")
        await emit("work", queue="sound")
        await began.wait()
        await aeventually(sound.is_empty)
        assert worker.fenced == 0

    assert sound.stats("completed") == 1
    assert spoiled.stats("completed") == 0


async def test_what_a_look_at_the_leases_raises_does_not_end_their_renewals(
    server: RedisServer,
    redis: redis_py.Redis,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    queue, raised = QueueView(redis), list[str]()

    def expired(self: Leases) -> list[Delivery]:
        raised.append("once more")
        raise KeyError("queue")

    async def work(job: Job[None]) -> None:
        await asyncio.sleep(2 * SHORT_LEASE)

    monkeypatch.setattr(Leases, "expired", expired)
    async with emitting(server.url) as emit, working(server.url, {"work": work}, lease=SHORT_LEASE):
        await emit("work")
        await aeventually(lambda: queue.stats("completed") == 1)

    assert len(raised) > 1
    assert "renewing leases failed" in caplog.messages
