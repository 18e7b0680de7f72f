"""The janitor on real Redis: what it drops, and what does not keep it from the rest."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter
from typing import Any

import pytest
import redis as redis_py

from consumers.connections.wire import Wire
from consumers.jobs.job import Job
from consumers.store.keys import Fleet, Keys
from consumers.upkeep.janitor import Janitor
from taskmanager import ResultExpired, TaskManager
from tests.support.engine import QueueView, emitting, working
from tests.support.queue import foreign_value
from tests.support.servers import RedisServer
from tests.support.waiting import PATIENCE, aeventually

LANE = "workers:default:0"
MISSING = f"{LANE} 1-1"
NO_MARKS = [
    b"",
    b"no-mark",
    b"three words here",
    b"\xff\xfe 1-1",
    f"{LANE} no-entry".encode(),
    f"{LANE} -".encode(),
    f"{LANE} 99999999999999999999-0".encode(),
]


async def work(job: Job[None]) -> None:
    pass


async def tidy(server: RedisServer, queue: QueueView) -> None:
    """Let the janitor of a worker that runs nothing do one round."""
    async with working(server.url, {"other": work}, queues=["idle"]) as worker:
        await worker._parts.janitor.tidy(queue.keys)  # type: ignore[union-attr]


@pytest.mark.parametrize("marks", ["cancelled", "cancelling"])
async def test_what_is_no_mark_is_dropped_with_the_marks_of_missing_entries(
    server: RedisServer, redis: redis_py.Redis, marks: str
) -> None:
    queue = QueueView(redis)
    async with emitting(server.url) as emit:
        await emit("work")
    ((entry, _),) = redis.xrange(queue.lane())  # type: ignore[misc]
    there = f"{LANE} {entry.decode()}"
    redis.sadd(getattr(queue.keys, marks), there, MISSING, *NO_MARKS)

    await tidy(server, queue)

    assert redis.smembers(getattr(queue.keys, marks)) == {there.encode()}


async def test_a_mark_in_a_lane_that_cannot_be_read_stays_and_does_not_keep_the_others(
    server: RedisServer, redis: redis_py.Redis
) -> None:
    queue = QueueView(redis)
    with foreign_value(redis, queue.lane()):
        redis.sadd(queue.keys.cancelled, MISSING, *(f"{LANE} 1-{n}" for n in range(2, 9)))
        redis.sadd(queue.keys.cancelled, "workers:default:1 1-1")

        await tidy(server, queue)

        assert redis.smembers(queue.keys.cancelled) == {
            f"{LANE} 1-{n}".encode() for n in range(1, 9)
        }


@pytest.mark.foreign_keys
async def test_a_foreign_value_in_place_of_one_set_does_not_keep_the_other_one(
    server: RedisServer, redis: redis_py.Redis
) -> None:
    queue = QueueView(redis)
    redis.sadd(queue.keys.cancelling, MISSING)

    with foreign_value(redis, queue.keys.cancelled):
        await tidy(server, queue)

    assert not redis.exists(queue.keys.cancelling)


async def emit_and_lose(server: RedisServer, queue: QueueView, *ids: str) -> None:
    """Emit jobs of a low priority, and delete their lane."""
    async with emitting(server.url) as emit:
        await asyncio.gather(*(emit("work", id=it, priority=-5) for it in ids))
    queue.redis.delete(queue.lane(-5))


async def test_jobs_of_a_deleted_lane_that_nobody_reads_are_found(
    server: RedisServer, redis: redis_py.Redis
) -> None:
    queue = QueueView(redis)
    await emit_and_lose(server, queue, "a", "b")

    async with working(server.url, {"other": work}, queues=["idle"]) as worker:
        parts = worker._parts
        assert parts is not None
        await parts.janitor.tidy(queue.keys)
        await parts.auditor.audit(queue.keys)

    assert queue.lanes() == []
    assert [queue.live(it) for it in ("a", "b")] == [None, None]
    assert queue.stats("vanished") == 2


async def test_while_a_queue_is_paused_who_waits_for_a_job_of_a_deleted_lane_is_told(
    server: RedisServer, redis: redis_py.Redis, caplog: pytest.LogCaptureFixture
) -> None:
    queue = QueueView(redis)
    async with TaskManager(server.url) as tm:
        handle = await tm.emit("work", id="a", priority=-5)
        await tm.pause("default")
        waiting = asyncio.create_task(handle.result(timeout=PATIENCE))
        await aeventually(lambda: redis.hexists(queue.keys.waiters, "a"))
        async with working(server.url, {"work": work}) as worker:
            parts = worker._parts
            assert parts is not None
            redis.delete(queue.lane(-5))
            await parts.janitor.tidy(queue.keys)
            parts.auditor.wake()
            with pytest.raises(ResultExpired):
                await waiting

        assert (await tm.stats()).vanished_total == 1
    # The root logger's records are those of whatever else lives in this process, too.
    warned = [it for it in caplog.records if it.levelno >= logging.WARNING]
    assert [it.getMessage() for it in warned if it.name == "taskmanager.worker"] == [
        "queue default lost jobs because another program deleted their entries: a (1 in total)"
    ]


def list_workers(redis: redis_py.Redis, number: int) -> None:
    """List workers that live, and handle nothing."""
    soon = 1000 * (time.time() + 3600)
    redis.zadd(Fleet().workers, {f"worker.{n}": soon for n in range(number)})


async def emit_what_nobody_handles(server: RedisServer, queue: QueueView, number: int) -> None:
    """Have a job in the own lane of each of so many events."""
    async with (
        emitting(server.url) as emit,
        working(server.url, {"other": work}, concurrency=50),
    ):
        await asyncio.gather(*(emit(f"e{n}") for n in range(number)))
        await aeventually(lambda: queue.stats("released") == number)


class Noting:
    """A wire that notes the name of each command."""

    def __init__(self, wire: Wire) -> None:
        self.sent: list[object] = []
        self._wire = wire

    def __getattr__(self, name: str) -> object:
        return getattr(self._wire, name)

    def send(self, *args: Any, **more: Any) -> asyncio.Future[Any]:
        self.sent.append(args[0])
        return self._wire.send(*args, **more)


async def test_one_worker_of_many_asks_little_in_a_round_and_runs_no_script_for_lanes_in_use(
    server: RedisServer, redis: redis_py.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """200 workers with 1,000 lanes called 20,000 scripts per second."""
    queue = QueueView(redis)

    async def rest(self: Janitor, keys: Keys) -> None: ...

    # The only round is that of the test.
    monkeypatch.setattr(Janitor, "visit", rest)
    await emit_what_nobody_handles(server, queue, 1000)
    list_workers(redis, 200)

    async with working(server.url, {"other": work}) as worker:
        janitor = worker._parts.janitor  # type: ignore[union-attr]
        noting = janitor._wire = Noting(janitor._wire)  # type: ignore[assignment]
        await janitor.tidy(queue.keys)

    sent = Counter(noting.sent)
    assert len(queue.lanes()) == 1001
    # Letters of some age are looked for by whichever worker comes first.
    assert sent["EVALSHA"] <= 1
    # XLEN and XINFO for both streams of 32 lanes, XRANGE and TIME for the one that has a job.
    assert 32 * 4 <= sent.total() <= 32 * 6 + 20, sent


async def test_unused_lanes_go_within_a_tour_of_one_worker_of_many(
    server: RedisServer, redis: redis_py.Redis
) -> None:
    queue = QueueView(redis)
    await emit_what_nobody_handles(server, queue, 100)
    for stream in queue.streams():
        redis.xtrim(stream, 0)
    list_workers(redis, 200)

    async with working(server.url, {"other": work}) as worker:
        janitor = worker._parts.janitor  # type: ignore[union-attr]
        janitor._unused_ms = -1000
        left = []
        for _ in range(4):
            await janitor.tidy(queue.keys)
            left.append(len(queue.lanes()))

    # The default lane stays.
    assert left[0] >= 101 - 32
    assert left[-1] == 1


async def test_jobs_that_nobody_handles_are_buried_within_a_tour_of_one_worker_of_many(
    server: RedisServer, redis: redis_py.Redis
) -> None:
    queue = QueueView(redis)
    await emit_what_nobody_handles(server, queue, 100)
    for stream in queue.streams()[1:80:2]:
        redis.xreadgroup("workers", "dead.0", {stream: ">"})
    queue.expire()
    list_workers(redis, 200)

    async with working(server.url, {"other": work}, no_handler_deadline=0.0) as worker:
        janitor = worker._parts.janitor  # type: ignore[union-attr]
        for _ in range(4):
            await janitor.tidy(queue.keys)
        await aeventually(lambda: len(queue.letters()) == 100)

    assert {it["reason"] for it in queue.letters()} == {b"no_handler"}


async def test_consumers_of_workers_that_are_gone_are_forgotten_in_a_lane_that_is_used(
    server: RedisServer, redis: redis_py.Redis
) -> None:
    queue = QueueView(redis)
    async with emitting(server.url) as emit:
        await emit("work")
    redis.xgroup_createconsumer(queue.lane(), "workers", "gone.0")

    async with working(server.url, {"other": work}, queues=["idle"]) as worker:
        janitor = worker._parts.janitor  # type: ignore[union-attr]
        janitor._unused_ms = -1
        await janitor.tidy(queue.keys)

    assert redis.xinfo_consumers(queue.lane(), "workers") == []
