"""G14: a job that this worker cannot run is kept for one that can, and delayed by nothing."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from typing import Any, cast

import pytest
import redis as redis_py

from consumers.jobs.job import Job
from consumers.store.keys import Fleet
from tests.support.engine import QueueView, emitting, working
from tests.support.servers import RedisServer
from tests.support.waiting import aeventually


async def test_g14_a_job_that_an_old_worker_met_runs_on_a_new_one_without_waiting_for_its_look(
    server: RedisServer, redis: redis_py.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    queue = QueueView(redis)
    runs: list[tuple[int, int]] = []
    # Only a hint can tell of a new lane in the time of this test.
    monkeypatch.setattr("consumers.fetch.fetcher.REFRESH", 3600.0)

    async def new(job: Job[None]) -> None:
        runs.append((job.delivery, job.attempt))

    async def other(job: Job[None]) -> None:
        pass

    async with (
        emitting(server.url) as emit,
        # Three old workers to one new: most jobs meet an old one first.
        working(server.url, {"other": other}, concurrency=4),
        working(server.url, {"other": other}, concurrency=4),
        working(server.url, {"other": other}, concurrency=4),
        working(server.url, {"new": new, "other": other}, concurrency=4),
    ):
        for n in range(100):
            await emit("new", priority=n % 3)
        await aeventually(lambda: len(runs) == 100)
        await aeventually(queue.is_empty)

    # Handed over once at most; it may be that old workers met them all.
    assert set(runs) <= {(1, 1), (2, 1)}
    assert queue.letters() == []
    assert queue.stats("completed") == 100
    assert queue.stats("released") > 0


async def test_g14_what_no_worker_can_run_waits_in_its_own_lane_without_ping_pong(
    server: RedisServer, redis: redis_py.Redis
) -> None:
    queue = QueueView(redis)
    ran: list[int] = []

    async def other(job: Job[None]) -> None:
        pass

    async def new(job: Job[None]) -> None:
        ran.append(job.delivery)

    async with emitting(server.url) as emit:
        async with (
            working(server.url, {"other": other}),
            working(server.url, {"other": other}),
        ):
            await emit("new", priority=7)
            own_lane = queue.lane(7, front=True, type="event.new")
            await aeventually(lambda: redis.xlen(own_lane) == 1)
            # Nothing happens in two seconds, the time of a look at all lanes.
            await asyncio.sleep(2.0)
            assert queue.stats("released") == 1
            assert queue.pending() == []
        async with working(server.url, {"new": new}):
            await aeventually(lambda: ran == [2])
            await aeventually(queue.is_empty)


async def test_g14_a_job_in_its_own_lane_keeps_its_priority(
    server: RedisServer, redis: redis_py.Redis
) -> None:
    queue = QueueView(redis)
    ran: list[str] = []

    async def other(job: Job[None]) -> None:
        pass

    async def new(job: Job[None]) -> None:
        ran.append(job.id)

    async with emitting(server.url) as emit:
        async with working(server.url, {"other": other}):
            await asyncio.gather(*(emit("new", id=f"met-{n}", priority=n) for n in (1, 3)))
            await aeventually(lambda: queue.stats("released") == 2)
        await asyncio.gather(*(emit("new", id=f"not-met-{n}", priority=n) for n in (2, 4)))
        async with working(server.url, {"new": new}):
            await aeventually(lambda: len(ran) == 4)

    assert ran == ["not-met-4", "met-3", "not-met-2", "met-1"]


async def test_g14_an_envelope_of_a_newer_version_is_kept_for_a_newer_worker(
    server: RedisServer, redis: redis_py.Redis
) -> None:
    queue = QueueView(redis)
    ran: list[str] = []

    async def work(job: Job[None]) -> None:
        ran.append(job.id)

    newer = {
        "head": "2:9:0:0:0:0:what-follows", "id": "newer", "event": "work",
        "data": "\x00not JSON any more", "options": "neither", "more": "field",
    }  # fmt: skip
    async with emitting(server.url) as emit:
        await emit("work")
        async with (
            working(server.url, {"work": work}),
            working(server.url, {"work": work}),
        ):
            await aeventually(lambda: ran == ["work-1"])
            redis.xadd(queue.lane(), cast("Any", newer))
            own_lane = queue.lane(front=True, type="event.work@2")
            await aeventually(lambda: redis.xlen(own_lane) == 1)
            await emit("work")
            await aeventually(lambda: ran == ["work-1", "work-2"])
            # Nothing happens in two seconds, the time of a look at all lanes.
            await asyncio.sleep(2.0)

            assert queue.stats("released") == 1
            assert queue.pending() == []

    [(_, kept)] = redis.xrange(own_lane)
    expected = {**newer, "head": "2:9:0:0:1:0:what-follows"}
    assert kept == {name.encode(): value.encode() for name, value in expected.items()}
    assert queue.letters() == []


async def test_g14_a_job_is_buried_at_the_deadline_when_no_live_worker_lists_its_event(
    server: RedisServer, redis: redis_py.Redis
) -> None:
    queue = QueueView(redis)

    async def other(job: Job[None]) -> None:
        pass

    async with (
        emitting(server.url) as emit,
        working(server.url, {"other": other}, no_handler_deadline=3600.0) as worker,
    ):
        await emit("nobodys", {"kept": True})
        await aeventually(lambda: queue.stats("released") == 1)
        janitor = worker._parts.janitor  # type: ignore[union-attr]
        await janitor.tidy(queue.keys)
        assert queue.letters() == []
        janitor._deadline = 1.0

        async def buried() -> bool:
            await janitor.tidy(queue.keys)
            return bool(queue.letters())

        await aeventually(buried)

    [letter] = queue.letters()
    assert (letter["job"], letter["reason"]) == (b"nobodys-1", b"no_handler")
    assert b"nobodys" in letter["error"]
    assert letter["data"] == b'{"kept": true}'
    assert queue.live("nobodys-1") is None


async def test_g14_an_entry_in_the_lane_of_an_event_that_is_no_job_is_buried_with_its_bytes(
    server: RedisServer, redis: redis_py.Redis
) -> None:
    queue = QueueView(redis)
    own_lane = queue.lane(front=True, type="event.work")

    async def other(job: Job[None]) -> None:
        pass

    async with (
        emitting(server.url) as emit,
        working(server.url, {"other": other}, no_handler_deadline=0.0) as worker,
    ):
        await emit("work")
        await aeventually(lambda: redis.xlen(own_lane) == 1, within=30.0)
        redis.xadd(own_lane, cast("Any", {f"field-{n}": "x" for n in range(5000)}))

        async def buried() -> bool:
            await worker._parts.janitor.tidy(queue.keys)  # type: ignore[union-attr]
            return len(queue.letters()) == 2

        await aeventually(buried, within=30.0)

    letters = {letter["reason"]: letter for letter in queue.letters()}
    assert letters[b"no_handler"]["job"] == b"work-1"
    assert letters[b"foreign"]["raw"].startswith(b"7:field-0,1:x,")


@pytest.mark.parametrize("is_late", [True, False])
async def test_g14_a_job_that_a_dead_worker_had_in_its_events_lane_is_not_forgotten(
    server: RedisServer, redis: redis_py.Redis, is_late: bool
) -> None:
    """Nobody reads that lane: it is buried past the deadline, before that it waits there again."""
    queue = QueueView(redis)
    front = queue.lane(type="event.nobodys", front=True)

    async def other(job: Job[None]) -> None:
        pass

    deadline = 0.0 if is_late else 3600.0
    options = {"no_handler_deadline": deadline, "lease": 3600.0}
    async with (
        emitting(server.url) as emit,
        working(server.url, {"other": other}, **options) as worker,
    ):
        await emit("nobodys")
        await aeventually(lambda: queue.stats("released") == 1, within=20.0)
        redis.xreadgroup("workers", "dead.0", {front: ">"})
        janitor = worker._parts.janitor  # type: ignore[union-attr]
        # It may still be alive.
        await janitor.tidy(queue.keys)
        assert [consumer for _, _, consumer, _ in queue.pending()] == ["dead.0"]
        queue.expire()

        await janitor.tidy(queue.keys)
        await aeventually(lambda: not queue.pending(), within=20.0)

    assert [letter["reason"] for letter in queue.letters()] == [b"no_handler"] * is_late
    if not is_late:
        [(_, fields)] = redis.xrange(front)  # type: ignore[misc]
        # failures, deliveries, crashes: what its worker died of is not forgotten.
        assert fields[b"head"].split(b":")[3:] == [b"0", b"3", b"1"]


async def test_g14_a_job_is_not_buried_while_a_live_worker_lists_its_event(
    server: RedisServer, redis: redis_py.Redis
) -> None:
    queue = QueueView(redis)
    may_end = asyncio.Event()

    async def other(job: Job[None]) -> None:
        pass

    async def busy(job: Job[None]) -> None:
        await may_end.wait()

    async with emitting(server.url) as emit, working(server.url, {"busy": busy}) as capable:
        await emit("busy", priority=9)
        await aeventually(lambda: capable.running == 1)
        await aeventually(lambda: redis.zscore(Fleet().workers, capable.id) is not None)
        # Behind the one that runs: nobody capable has a free slot.
        async with working(server.url, {"other": other}, no_handler_deadline=0.0) as worker:
            await emit("busy")
            await aeventually(lambda: queue.stats("released") == 1)
            await worker._parts.janitor.tidy(queue.keys)  # type: ignore[union-attr]
            assert queue.letters() == []
            may_end.set()
            await aeventually(lambda: queue.stats("completed") == 2)


async def test_g14_types_that_met_jobs_of_one_event_keep_each_for_its_own_workers(
    server: RedisServer, redis: redis_py.Redis
) -> None:
    queue = QueueView(redis)
    ran: set[tuple[str, str]] = set()

    async def other(job: Job[None]) -> None:
        pass

    async def work(job: Job[None]) -> None:
        ran.add((job.id, job.type))

    types = ("gpu", "cpu", "workers")
    async with emitting(server.url) as emit, AsyncExitStack() as old:
        for type_ in types:
            await old.enter_async_context(working(server.url, {"other": other}, type=type_))
        for done, type_ in enumerate(types, start=1):
            await emit("work", id=type_, type=type_)
            await aeventually(lambda n=done: queue.stats("released") == n, within=30.0)
        for type_ in types:
            async with working(server.url, {"work": work}, type=type_):
                await aeventually(lambda it=type_: (it, it) in ran, within=30.0)
        await aeventually(queue.is_empty, within=30.0)

    assert ran == {(it, it) for it in types}
    assert queue.stats("completed") == 3


async def test_g14_a_worker_of_another_type_is_no_reason_to_keep_a_job(
    server: RedisServer, redis: redis_py.Redis
) -> None:
    queue = QueueView(redis)

    async def work(job: Job[None]) -> None:
        pass

    async with (
        emitting(server.url) as emit,
        working(server.url, {"work": work}, type="gpu") as capable,
        working(server.url, {"other": work}, type="cpu", no_handler_deadline=0.0) as worker,
    ):
        await aeventually(lambda: redis.zscore(Fleet().workers, capable.id), within=30.0)
        await emit("work", type="cpu")
        await aeventually(lambda: queue.stats("released") == 1, within=30.0)

        async def buried() -> bool:
            await worker._parts.janitor.tidy(queue.keys)  # type: ignore[union-attr]
            return bool(queue.letters())

        await aeventually(buried, within=30.0)

    [letter] = queue.letters()
    assert (letter["job"], letter["reason"]) == (b"work-1", b"no_handler")
    assert (letter["lane"], letter["group"]) == (b"event.work@1~cpu:default:0", b"cpu")


async def test_g14_a_worker_that_has_gone_is_no_live_worker(
    server: RedisServer, redis: redis_py.Redis
) -> None:
    async def work(job: Job[None]) -> None:
        pass

    async with working(server.url, {"work": work}) as worker:
        await aeventually(lambda: redis.exists(Fleet().worker(worker.id)))

    assert not redis.exists(Fleet().worker(worker.id))
    assert redis.zscore(Fleet().workers, worker.id) is None
