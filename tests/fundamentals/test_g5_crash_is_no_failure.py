"""G5: a crash is no failure; who kills its worker again and again is buried, nobody else."""

from __future__ import annotations

import asyncio

import pytest
import redis as redis_py

from consumers.consumer import Consumer
from consumers.jobs.job import Job
from consumers.lease.leases import Leases
from consumers.store.delivery import Delivery
from tests.support.engine import SHORT_LEASE, Handlers, QueueView, crash, emitting, working
from tests.support.servers import RedisServer
from tests.support.waiting import aeventually


class Killer:
    """Handlers of which one takes its whole worker down; what they saw."""

    def __init__(self) -> None:
        self.ran: list[str] = []
        self.poison: list[tuple[int, int]] = []
        self.beside: list[int] = []
        self.worker: Consumer | None = None
        self.struck = asyncio.Event()

    @property
    def handlers(self) -> Handlers:
        return {"poison": self._poison, "work": self._work}

    async def _poison(self, job: Job[None]) -> None:
        assert self.worker is not None
        self.poison.append((job.delivery, job.attempt))
        self.beside.append(self.worker.running - 1)
        self.struck.set()
        await asyncio.sleep(60)

    async def _work(self, job: Job[None]) -> None:
        self.ran.append(job.id)


async def _live_and_die(server: RedisServer, queue: QueueView, killer: Killer) -> None:
    """Start a worker, let the poison job kill it, and let its leases run out."""
    async with working(server.url, killer.handlers, concurrency=8) as worker:
        killer.worker = worker
        killer.struck.clear()
        await asyncio.wait_for(killer.struck.wait(), 30.0)
        await crash(worker)
    queue.expire()


async def _crash_nine_times(server: RedisServer, queue: QueueView) -> None:
    """Leave a poison job behind that was in nine crashes, none of them while it ran solo."""
    async with emitting(server.url) as emit:
        await emit("poison")
    queue.abandon(crashes=9)
    queue.expire()


async def test_g5_a_poison_job_is_buried_and_its_neighbours_complete(
    server: RedisServer, redis: redis_py.Redis
) -> None:
    queue, killer = QueueView(redis), Killer()
    async with emitting(server.url) as emit:
        neighbours = [emit("work") for _ in range(10)]
        poison = emit("poison")
        neighbours += [emit("work") for _ in range(10)]
        await asyncio.gather(poison, *neighbours)

    for _ in range(5):
        await _live_and_die(server, queue, killer)
    async with working(server.url, killer.handlers, concurrency=8):
        letter = await aeventually(lambda: queue.letter("poison-1"))
        await aeventually(queue.is_empty)

    assert letter is not None
    assert letter["reason"] == b"crash_loop"
    assert b"5 times" in letter["error"]
    # Deliveries count crashes, attempts do not.
    assert killer.poison == [(n, 1) for n in range(1, 6)]
    # From its third delivery on nothing runs beside it.
    assert killer.beside[2:] == [0, 0, 0]
    assert sorted(set(killer.ran)) == sorted(f"work-{n}" for n in range(1, 21))
    assert [letter["job"] for letter in queue.letters()] == [b"poison-1"]
    assert queue.stats("dead") == 1
    assert queue.stats("completed") == 20


async def test_g5_neighbours_of_many_crashes_are_never_buried(
    server: RedisServer, redis: redis_py.Redis
) -> None:
    """Jobs that were beside a crash ten times have met no crash while they ran solo."""
    queue, ran = QueueView(redis), list[tuple[str, int, int]]()

    async def work(job: Job[None]) -> None:
        ran.append((job.id, job.delivery, job.attempt))

    async with emitting(server.url) as emit:
        await asyncio.gather(*(emit("work") for _ in range(4)))
    queue.abandon(count=4, crashes=10)
    queue.expire()
    async with working(server.url, {"work": work}, concurrency=8):
        await aeventually(queue.is_empty)

    assert sorted(ran) == [(f"work-{n}", 11, 1) for n in range(1, 5)]
    assert queue.letters() == []


async def test_g5_one_solo_crash_is_not_enough_to_bury(
    server: RedisServer, redis: redis_py.Redis
) -> None:
    queue, killer = QueueView(redis), Killer()
    await _crash_nine_times(server, queue)

    for delivery in (10, 11):
        await _live_and_die(server, queue, killer)
        assert killer.poison[-1] == (delivery, 1)
        assert queue.letters() == []
    async with working(server.url, killer.handlers):
        letter = await aeventually(lambda: queue.letter("poison-1"))

    assert letter is not None
    assert letter["reason"] == b"crash_loop"


async def test_g5_graceful_stops_never_count(server: RedisServer, redis: redis_py.Redis) -> None:
    queue, seen = QueueView(redis), list[tuple[int, int]]()

    async def work(job: Job[None]) -> None:
        seen.append((job.delivery, job.attempt))
        await asyncio.sleep(60)

    async with emitting(server.url) as emit:
        await emit("work")
    for n in range(1, 13):
        async with working(server.url, {"work": work}) as worker:
            await aeventually(lambda n=n: len(seen) == n)
            assert worker._parts.fetcher.gate.suspect is None  # type: ignore[union-attr]

    assert seen == [(n, 1) for n in range(1, 13)]
    assert queue.letters() == []
    assert queue.live("work-1") is not None


async def test_g5_a_graceful_stop_of_a_solo_run_takes_its_mark_back(
    server: RedisServer, redis: redis_py.Redis
) -> None:
    queue, killer = QueueView(redis), Killer()
    await _crash_nine_times(server, queue)

    for _ in range(4):
        async with working(server.url, killer.handlers) as worker:
            killer.worker = worker
            killer.struck.clear()
            await asyncio.wait_for(killer.struck.wait(), 30.0)

    assert [attempt for _, attempt in killer.poison] == [1, 1, 1, 1]
    assert queue.letters() == []


class Late:
    """Leases as a process sees them that stood still before a job's first deliveries began."""

    def __init__(self, leases: Leases, before: int) -> None:
        self._leases = leases
        self._before = before

    def has_expired(self, delivery: Delivery) -> bool:
        return delivery.envelope.deliveries < self._before

    def drop(self, delivery: Delivery) -> None:
        self._leases.drop(delivery)


@pytest.mark.parametrize("in_thread", [False, True])
async def test_g5_what_a_standstill_kept_from_beginning_was_in_no_crash(
    server: RedisServer, redis: redis_py.Redis, in_thread: bool
) -> None:
    """Nor has it run solo: neither its crashes nor its solo runs bring it nearer to its burial."""
    queue, seen = QueueView(redis), list[tuple[int, int, bytes | None]]()

    def blocking(job: Job[None]) -> None:
        suspect = worker._parts.fetcher.gate.suspect  # type: ignore[union-attr]
        assert suspect is not None
        seen.append((job.delivery, suspect.crashes, queue.live(job.id)))

    async def work(job: Job[None]) -> None:
        blocking(job)

    async with emitting(server.url) as emit:
        await emit("suspect")
        queue.abandon(crashes=2)
        queue.expire()
        handler = blocking if in_thread else work
        async with working(server.url, {"suspect": handler}) as worker:
            executor = worker._parts.executor  # type: ignore[union-attr]
            # Two standstills.
            late = Late(executor.leases, 4)
            executor.leases = executor.caller._leases = late  # type: ignore[assignment]
            await aeventually(queue.is_empty)

    [(delivery, crashes, pointer)] = seen
    assert (delivery, crashes) == (5, 2)
    assert pointer is not None
    # This solo run alone is recorded.
    assert pointer.split()[1] == b"1"
    assert queue.stats("released") == 2


async def test_g5_others_start_again_after_a_solo_run(
    server: RedisServer, redis: redis_py.Redis
) -> None:
    queue = QueueView(redis)
    order: list[str] = []
    may_end = asyncio.Event()

    async def suspect(job: Job[None]) -> None:
        order.append("suspect starts")
        await may_end.wait()
        order.append("suspect ends")

    async def work(job: Job[None]) -> None:
        order.append(job.id)

    async with emitting(server.url) as emit:
        await emit("suspect")
        queue.abandon(crashes=2)
        queue.expire()
        handlers = {"suspect": suspect, "work": work}
        async with working(server.url, handlers, concurrency=4):
            await aeventually(lambda: order == ["suspect starts"])
            await emit("work")
            # Long enough for a free slot to take it, if it were allowed to.
            await asyncio.sleep(0.3)
            may_end.set()
            await aeventually(queue.is_empty)

    assert order == ["suspect starts", "suspect ends", "work-1"]
    assert queue.stats("completed") == 2


async def test_g5_a_suspect_that_was_lost_while_it_waited_holds_nobody_up(
    server: RedisServer, redis: redis_py.Redis
) -> None:
    queue = QueueView(redis)
    ran: list[str] = []

    async def long(job: Job[None]) -> None:
        await asyncio.sleep(60)

    async def work(job: Job[None]) -> None:
        ran.append(job.id)

    async with emitting(server.url) as emit:
        await emit("work", id="suspect")
        [entry] = queue.abandon(crashes=2)
        handlers = {"long": long, "work": work}
        async with working(server.url, handlers, concurrency=4, lease=SHORT_LEASE) as worker:
            await emit("long")
            await aeventually(lambda: worker.running == 1)
            queue.expire(entry)
            gate = worker._parts.fetcher.gate  # type: ignore[union-attr]
            await aeventually(lambda: gate.suspect is not None)
            queue.steal(entry)
            await emit("work")
            await aeventually(lambda: ran == ["work-1"])
