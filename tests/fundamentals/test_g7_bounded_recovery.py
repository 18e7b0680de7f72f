"""G7: what a dead worker held starts again within the lease and one sweep."""

from __future__ import annotations

import asyncio
import threading
import time

import pytest
import redis as redis_py

from consumers.job import Job
from tests.support.engine import SHORT_LEASE, Emitter, QueueView, crash, emitting, working
from tests.support.servers import RedisServer
from tests.support.waiting import aeventually

# A sweep comes at most half a lease after the one before; the rest is for a busy machine.
BOUND = SHORT_LEASE * 1.5 + 1.0


@pytest.mark.parametrize("load", ["idle", "busy"])
async def test_g7_an_orphan_starts_within_lease_and_sweep(
    server: RedisServer, redis: redis_py.Redis, load: str
) -> None:
    queue = QueueView(redis)
    started: dict[str, float] = {}
    over = asyncio.Event()

    async def orphan(job: Job[None]) -> None:
        started[job.id] = time.monotonic()

    async def work(job: Job[None]) -> None:
        # As soon as one ends there is the next: the worker is never without work.
        if load == "busy" and not over.is_set():
            emit("work")
            await asyncio.sleep(0.002)

    async with emitting(server.url) as emit:
        await emit("orphan")
        queue.abandon()
        abandoned = time.monotonic()
        handlers = {"orphan": orphan, "work": work}
        async with working(server.url, handlers, lease=SHORT_LEASE, concurrency=20):
            await asyncio.gather(*(emit("work") for _ in range(100)))
            await aeventually(lambda: started, within=BOUND * 2)
            over.set()
            await aeventually(queue.is_empty)

    assert SHORT_LEASE * 0.9 < started["orphan-1"] - abandoned < BOUND


async def test_g7_more_orphans_than_one_step_looks_at_all_run(
    server: RedisServer, redis: redis_py.Redis
) -> None:
    queue = QueueView(redis)
    ran: list[str] = []

    async def work(job: Job[None]) -> None:
        ran.append(job.id)

    async with emitting(server.url) as emit:
        await asyncio.gather(*(emit("work") for _ in range(3000)))
        # The last ones are orphans, behind more than a sweep's worth of living ones.
        queue.abandon(count=2900)
        queue.abandon(count=100)
        for _, entry, _, _ in queue.pending()[2900:]:
            queue.expire(entry)
        handlers = {"work": work}
        async with working(server.url, handlers, lease=SHORT_LEASE * 50, concurrency=50) as it:
            reclaimer = it._parts.fetcher.reclaimer  # type: ignore[union-attr]

            def swept() -> bool:
                # Not to wait for the next sweep of a long lease.
                reclaimer._next = 0.0
                it._parts.fetcher.wake()  # type: ignore[union-attr]
                return len(ran) == 100

            await aeventually(swept, within=10.0)

    assert len(set(ran)) == 100


async def test_g7_orphans_start_in_the_order_of_their_priority(
    server: RedisServer, redis: redis_py.Redis
) -> None:
    queue = QueueView(redis)
    ran: list[str] = []

    async def work(job: Job[None]) -> None:
        ran.append(job.id)

    async with emitting(server.url) as emit:
        for priority in (1, 2, 3):
            await emit("work", id=f"orphan-{priority}", priority=priority)
            queue.abandon(priority=priority)
            await emit("work", id=f"new-{priority}", priority=priority)
    queue.expire()
    async with working(server.url, {"work": work}):
        await aeventually(queue.is_empty)

    assert ran == ["orphan-3", "new-3", "orphan-2", "new-2", "orphan-1", "new-1"]


async def test_g7_what_a_dead_worker_had_in_a_front_runs_again(
    server: RedisServer, redis: redis_py.Redis
) -> None:
    queue = QueueView(redis)
    runs: list[int] = []

    async def work(job: Job[None]) -> None:
        runs.append(job.delivery)
        if len(runs) < 3:
            await asyncio.sleep(60)

    async with emitting(server.url) as emit:
        await emit("work")
    async with working(server.url, {"work": work}):
        await aeventually(lambda: runs == [1])
    async with working(server.url, {"work": work}) as worker:
        await aeventually(lambda: runs == [1, 2])
        assert [row[0] for row in queue.pending()] == [queue.lane(front=True)]
        await crash(worker)
    queue.expire()
    async with working(server.url, {"work": work}):
        await aeventually(queue.is_empty)

    assert runs == [1, 2, 3]


async def test_g7_a_running_job_is_never_started_again(
    server: RedisServer, redis: redis_py.Redis
) -> None:
    """Three leases long, renewed all the time, beside a worker that sweeps."""
    runs: list[int] = []

    async def work(job: Job[None]) -> None:
        runs.append(job.delivery)
        # The run itself has to last: longer than any lease and sweep.
        await asyncio.sleep(3 * SHORT_LEASE)

    async with (
        emitting(server.url) as emit,
        working(server.url, {"work": work}, lease=SHORT_LEASE) as one,
        working(server.url, {"work": work}, lease=SHORT_LEASE) as other,
    ):
        await emit("work")
        await aeventually(lambda: one.settled + other.settled == 1, within=10.0)

    assert runs == [1]


async def test_g7_an_orphan_whose_entry_was_deleted_is_counted(
    server: RedisServer, redis: redis_py.Redis
) -> None:
    queue = QueueView(redis)

    async with emitting(server.url) as emit:
        await emit("work")
        [entry] = queue.abandon()
        redis.xdel(queue.lane(), entry)
        async with working(server.url, {}, lease=SHORT_LEASE):
            await aeventually(lambda: queue.stats("missing") == 1, within=BOUND * 2)

    assert queue.pending() == []


async def test_g7_an_orphan_starts_beside_a_run_that_lost_its_lease_and_does_not_end(
    server: RedisServer, redis: redis_py.Redis
) -> None:
    queue = QueueView(redis)
    may_end = threading.Event()
    ran: list[str] = []

    def zombie(job: Job[None]) -> None:
        may_end.wait(30.0)

    async def work(job: Job[None]) -> None:
        ran.append(job.id)

    async with emitting(server.url) as emit:
        handlers = {"zombie": zombie, "work": work}
        async with working(server.url, handlers, lease=SHORT_LEASE, concurrency=2) as worker:
            await emit("zombie")
            await aeventually(lambda: worker.running == 1)
            [(stream, entry, _, _)] = queue.pending()
            # Another worker took it over and settled it.
            redis.xack(stream, "workers", entry)
            redis.xdel(stream, entry)
            await _orphan(queue, emit)
            try:
                await aeventually(lambda: ran == ["work-1"], within=BOUND * 2)
            finally:
                may_end.set()


async def _orphan(queue: QueueView, emit: Emitter) -> None:
    """Make an orphan before a living worker can fetch the job."""
    stream = queue.lane()
    with queue.redis.pipeline(transaction=True) as pipe:
        generation = 1000
        fields = {
            "head": f"1:{generation}:0:0:0:0", "id": "work-1", "event": "work",
            "data": "null", "options": "",
        }  # fmt: skip
        pipe.xadd(stream, fields)
        pipe.xreadgroup("workers", "dead.0", {stream: ">"})
        pipe.execute()
