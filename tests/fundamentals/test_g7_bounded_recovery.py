"""G7: what a dead worker held starts again with the first sweep after its lease."""

from __future__ import annotations

import asyncio
import threading
from typing import Any, cast

import pytest
import redis as redis_py

from consumers.connections.connector import Connector
from consumers.fetch.levels import Levels
from consumers.fetch.reader import Reader
from consumers.fetch.reclaimer import Reclaimer
from consumers.jobs.job import Job
from consumers.jobs.lanes import Lane
from consumers.jobs.routes import Profile
from consumers.lease.leases import Leases
from consumers.run.pauses import Pauses
from consumers.store.keys import Keys
from processors.processor import Processor
from tests.support.engine import SHORT_LEASE, Emitter, QueueView, crash, emitting, working
from tests.support.queue import Queue
from tests.support.servers import RedisServer
from tests.support.waiting import aeventually

pytestmark = pytest.mark.timeout(180)


class Sweeps:
    """Notes of each sweep with room when it began (ms, by Redis' clock) and what it took."""

    def __init__(self, queue: Queue, monkeypatch: pytest.MonkeyPatch) -> None:
        self.noted: list[tuple[int, list[str]]] = []
        # For how many seconds the next one was put off, each time.
        self.pauses: list[float] = []
        sweep = Reclaimer.sweep

        async def noting(reclaimer: Reclaimer, want: int) -> Any:
            began = queue.now_ms()
            taken = await sweep(reclaimer, want)
            if want > 0:
                self.noted.append((began, [it.envelope.id for it in taken]))
                self.pauses.append(reclaimer.due_in)
            return taken

        monkeypatch.setattr(Reclaimer, "sweep", noting)

    def begun_since(self, moment: int) -> list[list[str]]:
        """Return what each sweep took that began at a moment or later."""
        return [taken for began, taken in self.noted if began >= moment]


@pytest.mark.parametrize("load", ["idle", "busy"])
async def test_g7_an_orphan_starts_with_the_first_sweep_after_its_lease(
    server: RedisServer, redis: redis_py.Redis, monkeypatch: pytest.MonkeyPatch, load: str
) -> None:
    queue, clock = QueueView(redis), Queue(redis)
    sweeps = Sweeps(clock, monkeypatch)
    started: list[int] = []
    over = asyncio.Event()

    async def orphan(job: Job[None]) -> None:
        started.append(clock.now_ms())

    async def work(job: Job[None]) -> None:
        # As soon as one ends there is the next: the worker is never without work.
        if load == "busy" and not over.is_set():
            emit("work")
            await asyncio.sleep(0.002)

    async with emitting(server.url) as emit:
        await emit("orphan")
        before = clock.now_ms()
        queue.abandon()
        after = clock.now_ms()
        handlers = {"orphan": orphan, "work": work}
        async with working(server.url, handlers, lease=SHORT_LEASE, concurrency=20):
            await asyncio.gather(*(emit("work") for _ in range(100)))
            await aeventually(lambda: started)
            over.set()
            await aeventually(queue.is_empty)

    lease_ms = round(SHORT_LEASE * 1000)
    (at,) = started
    assert at >= before + lease_ms
    # The one that began around the end of the lease may have taken it before.
    assert sweeps.begun_since(after + lease_ms)[:1] in ([], [["orphan-1"]])
    assert max(sweeps.pauses) <= SHORT_LEASE / 2


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

            await aeventually(swept)

    assert len(set(ran)) == 100


async def test_g7_a_sweep_finds_the_jobs_of_a_dead_worker_behind_any_number_of_living_ones(
    server: RedisServer, redis: redis_py.Redis
) -> None:
    queue, keys, lane = QueueView(redis), Keys("default"), Lane("default")
    levels, leases = Levels(Profile("w"), Processor({}), Pauses()), Leases()
    levels.set_lanes(keys, [lane])
    leases.seconds["default"] = 1.0
    reader = Reader(
        Connector.of(server.url), levels, group="workers", consumer="me.0", on_repaired=print
    )

    def silent_ms(name: bytes) -> int:
        rows = cast("list[Any]", redis.xinfo_consumers(queue.lane(), "workers"))
        return next(int(row["idle"]) for row in rows if row["name"] == name)

    async with emitting(server.url) as emit:
        await asyncio.gather(*(emit("work") for _ in range(2600)))
    redis.xreadgroup("workers", "living.0", {queue.lane(): ">"}, 2500)
    orphans = queue.abandon(count=100)
    await aeventually(lambda: silent_ms(b"dead.0") > 1000, within=20.0)
    living = [entry for _, entry, consumer, _ in queue.pending() if consumer == "living.0"]
    redis.xclaim(queue.lane(), "workers", "living.0", 0, cast("Any", living), justid=True)
    try:
        taken = await Reclaimer(reader, levels, leases, on_missing=list).sweep(100)
    finally:
        await reader.channel.close()

    assert [delivery.entry for delivery in taken] == orphans


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
        await aeventually(lambda: one.settled + other.settled == 1)

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
            await aeventually(lambda: queue.stats("missing") == 1)

    assert queue.pending() == []


async def test_g7_an_orphan_starts_beside_a_run_that_lost_its_lease_and_does_not_end(
    server: RedisServer, redis: redis_py.Redis
) -> None:
    queue = QueueView(redis)
    may_end = threading.Event()
    ran: list[str] = []

    def zombie(job: Job[None]) -> None:
        may_end.wait(60.0)

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
                await aeventually(lambda: ran == ["work-1"])
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
