"""Workers come, go and change what they can do, while jobs wait that require it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import redis as redis_py

from consumers.consumer import Consumer
from consumers.errors import InvalidName
from consumers.jobs.job import Job
from consumers.policy import Handler
from processors.processor import Processor
from tests.support.engine import (
    QueueView,
    consumer_of,
    emitting,
    working,
)
from tests.support.proxy import FaultProxy
from tests.support.queue import Queue
from tests.support.routing import ABLE, PLAIN, Starts, fleet, look, routed_job
from tests.support.servers import RedisServer
from tests.support.waiting import PATIENCE, aeventually

LANE = routed_job().lane


@asynccontextmanager
async def without_hints(server: RedisServer) -> AsyncIterator[str]:
    """Return the URL of a Redis through which no message is ever pushed."""
    with FaultProxy(server.port) as proxy:
        proxy.mute_pubsub()
        yield proxy.url


@pytest.mark.parametrize("hints", [True, False], ids=["hints", "no hints"])
async def test_who_joins_starts_what_waits(
    server: RedisServer, redis: redis_py.Redis, hints: bool
) -> None:
    queue, starts = QueueView(redis), Starts()
    Queue(redis).emit(*(routed_job(id=f"j{n}") for n in range(20)))

    async with without_hints(server) as muted, fleet(muted, {"work": starts}, PLAIN) as others:
        await look(*others)
        url = server.url if hints else muted
        async with fleet(url, {"work": starts}, ABLE, {**ABLE, "name": "able-too"}):
            await aeventually(queue.is_empty)

    assert len(starts.all) == 20
    assert starts.of("plain") == []


@pytest.mark.parametrize("hints", [True, False], ids=["hints", "no hints"])
async def test_a_route_that_is_new_is_found_by_those_that_match_it(
    server: RedisServer, redis: redis_py.Redis, hints: bool
) -> None:
    queue, starts = QueueView(redis), Starts()

    async with without_hints(server) as muted:
        url = server.url if hints else muted
        async with emitting(url) as emit, fleet(url, {"work": starts}) as workers:
            await aeventually(lambda: all(it._parts.fetcher.idle for it in workers))  # type: ignore[union-attr]
            await asyncio.gather(
                *(emit.producer.emit(routed_job(id=f"j{n}", priority=n)) for n in range(5))
            )
            await aeventually(queue.is_empty)

    assert len(starts.of("able")) == len(starts.all) == 5


def url_of(server: RedisServer, redis: redis_py.Redis, name: str, *rules: str) -> str:
    """Return the URL of a user that may do all but some."""
    redis.execute_command("ACL", "SETUSER", name, "on", ">pw", "~*", "&*", "+@all", *rules)
    return server.url.replace("redis://", f"redis://{name}:pw@")


async def test_without_the_right_to_publish_or_subscribe_a_route_is_found(
    server: RedisServer, redis: redis_py.Redis
) -> None:
    starts = Starts()
    emits = url_of(server, redis, "emits", "-publish")
    works = url_of(server, redis, "works", "-subscribe", "-psubscribe")

    async with emitting(emits) as emit, fleet(works, {"work": starts}):
        await emit.producer.emit(routed_job())
        await aeventually(lambda: starts.all == [("able", "a")])


@pytest.mark.parametrize("hints", [True, False], ids=["hints", "no hints"])
async def test_who_gains_a_capability_starts_what_waits(
    server: RedisServer, redis: redis_py.Redis, monkeypatch: pytest.MonkeyPatch, hints: bool
) -> None:
    # Nothing but the change itself makes a worker look at its lanes in time.
    monkeypatch.setattr("consumers.fetch.fetcher.REFRESH", 3600.0)
    starts = Starts()
    Queue(redis).emit(routed_job())

    async with without_hints(server) as muted:
        url = server.url if hints else muted
        async with fleet(url, {"work": starts}, PLAIN, {"name": "late"}) as workers:
            await look(*workers)
            assert starts.all == []
            workers[1].set_capabilities(["gpu", "cpu"])
            await aeventually(lambda: starts.all == [("late", "a")])


async def test_what_it_can_do_when_it_starts_is_what_was_said_last(server: RedisServer) -> None:
    starts = Starts()
    worker = consumer_of(server.url, {"work": starts}, **PLAIN)
    worker.set_capabilities(["gpu"])
    with pytest.raises(InvalidName):
        worker.set_capabilities("cpu")
    await worker.start()
    try:
        async with emitting(server.url) as emit:
            await emit.producer.emit(routed_job())
            await aeventually(lambda: starts.all == [("plain", "a")])
    finally:
        await worker.stop(timeout=0)


async def test_who_loses_a_capability_starts_nothing_more_that_requires_it(
    server: RedisServer, redis: redis_py.Redis
) -> None:
    """What runs goes on."""
    queue, starts, may_end = QueueView(redis), Starts(), asyncio.Event()

    async def work(job: Job[Any]) -> None:
        await starts(job)
        await may_end.wait()

    async with (
        emitting(server.url) as emit,
        working(server.url, {"work": work}, **ABLE, concurrency=2) as worker,
    ):
        await asyncio.gather(*(emit.producer.emit(routed_job(id=f"j{n}")) for n in range(6)))
        # A slot is taken a moment before the handler is called.
        await aeventually(lambda: len(starts.all) == 2)
        worker.set_capabilities([])
        assert worker.running == 2
        may_end.set()
        await emit("work", id="plain")
        await aeventually(lambda: "plain" in starts.ids)
        await look(worker)
        await aeventually(lambda: queue.pending() == [])
        assert len(starts.all) == 3
        assert queue.stats("completed") == 3

        worker.set_capabilities(["gpu"])
        await aeventually(queue.is_empty)

    assert len(starts.all) == len(set(starts.all)) == 7


async def test_what_it_held_goes_back_and_runs_elsewhere(
    server: RedisServer, redis: redis_py.Redis
) -> None:
    queue, starts, may_end = QueueView(redis), Starts(), asyncio.Event()

    async def slow(job: Job[Any]) -> None:
        await may_end.wait()

    handlers = {"slow": slow, "work": starts}
    async with emitting(server.url) as emit:
        jobs = [routed_job(id=f"j{n}") for n in range(3)]
        async with working(server.url, handlers, **ABLE, concurrency=8) as worker:
            await asyncio.gather(*(emit("slow") for _ in range(8)))
            await aeventually(lambda: worker.running == 8)
            await asyncio.gather(*map(emit.producer.emit, jobs))
            await aeventually(lambda: len(worker._parts.fetcher.held))  # type: ignore[union-attr]
            worker.set_capabilities([])
            # No slot is free in which it could look at them.
            await aeventually(lambda: len(queue.pending()) == 8)
            async with fleet(server.url, {"work": starts}, {**ABLE, "name": "able-too"}):
                await aeventually(lambda: len(starts.all) == 3)
            may_end.set()

    assert sorted(starts.of("able-too")) == ["j0", "j1", "j2"]
    assert queue.stats("dead") == 0


@pytest.mark.parametrize("is_async", [True, False], ids=["async", "sync"])
async def test_a_job_whose_middleware_waits_does_not_begin_any_more(
    server: RedisServer, redis: redis_py.Redis, is_async: bool
) -> None:
    queue, ran, waits, go_on = QueueView(redis), Starts(), asyncio.Event(), asyncio.Event()

    async def around(job: Job[Any], call_next: Any) -> Any:
        waits.set()
        await go_on.wait()
        return await call_next()

    def work_in_thread(job: Job[Any]) -> None:
        ran.all.append((job.worker, job.id))

    handler = Handler(ran if is_async else work_in_thread, is_async=is_async, around=around)
    able = Consumer(server.url, policy=Processor({("default", "work"): handler}), **ABLE)
    await able.start()
    try:
        Queue(redis).emit(routed_job())
        await asyncio.wait_for(waits.wait(), PATIENCE)
        able.set_capabilities([])
        go_on.set()
        await aeventually(lambda: queue.pending() == [])
        async with fleet(server.url, {"work": ran}, {**ABLE, "name": "able-too"}):
            await aeventually(lambda: ran.all)
    finally:
        await able.stop(timeout=0)

    assert ran.all == [("able-too", "a")]
    assert queue.stats("dead") == 0


async def test_jobs_that_come_while_a_capability_goes_begin_elsewhere(
    server: RedisServer, redis: redis_py.Redis
) -> None:
    """The read that brings them is under way."""
    queue, starts = QueueView(redis), Starts()
    wrong: list[str] = []

    async with emitting(server.url) as emit:

        async def work(job: Job[Any]) -> None:
            await starts(job)
            if job.worker == "able" and "gpu" not in worker.terms.profile.capabilities:
                wrong.append(job.id)

        worker = consumer_of(server.url, {"work": work}, **ABLE, concurrency=4)
        await worker.start()
        try:
            for n in range(50):
                emits = [emit.producer.emit(routed_job(id=f"j{n}-{m}")) for m in range(4)]
                worker.set_capabilities(["gpu"] if n % 2 else [])
                await asyncio.gather(*emits)
            worker.set_capabilities([])
            await look(worker)
            await aeventually(lambda: queue.pending() == [])
            async with fleet(server.url, {"work": starts}, {**ABLE, "name": "able-too"}):
                await aeventually(queue.is_empty)
        finally:
            await worker.stop(timeout=0)

    assert wrong == []
    assert len(starts.ids) == len(set(starts.ids)) == 200


@pytest.mark.parametrize("gains", [True, False])
async def test_what_changes_while_a_worker_starts_counts_from_its_first_read_on(
    server: RedisServer, redis: redis_py.Redis, gains: bool
) -> None:
    queue, starts = QueueView(redis), Starts()
    able = {**ABLE, "capabilities": [] if gains else ["gpu"]}
    worker = consumer_of(server.url, {"work": starts, "plain": starts}, **able)
    Queue(redis).emit(routed_job(id="routed"))
    starting = asyncio.create_task(worker.start())
    await asyncio.sleep(0)
    assert not starting.done()

    worker.set_capabilities(["gpu"] if gains else [])
    await starting
    try:
        if gains:
            await aeventually(queue.is_empty)
            return
        async with emitting(server.url) as emit:
            await emit("plain", id="plain")
        await aeventually(lambda: starts.all == [("able", "plain")])
        await look(worker)
        assert len(starts.all) == 1
    finally:
        await worker.stop(0)
