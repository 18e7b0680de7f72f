"""G10: a delayed job is never early by Redis' clock, promoted once, and hardly late."""

from __future__ import annotations

import asyncio
import statistics
import time
from pathlib import Path

import redis as redis_py

from consumers.connection import Connector
from consumers.job import Job
from consumers.keys import Keys
from consumers.promoter import BATCH, Promoter
from consumers.wire import Wire
from tests.support.engine import Emitter, QueueView, emitting, new_job, working
from tests.support.processes import Spawner
from tests.support.queue import Queue
from tests.support.servers import RedisServer
from tests.support.slow_commands import watching_slow_commands
from tests.support.waiting import aeventually, eventually

PROMOTERS = Path(__file__).parent / "promoters.py"


def cpu_seconds(redis: redis_py.Redis) -> float:
    """How much processor time the server has used."""
    used = redis.info("cpu")
    return float(used["used_cpu_user"]) + float(used["used_cpu_sys"])


def wall_ms() -> int:
    return time.time_ns() // 1_000_000


async def test_g10_a_delayed_job_starts_after_its_time_and_hardly_late(
    server: RedisServer, redis: redis_py.Redis
) -> None:
    jobs = 1000
    due: dict[str, int] = {}
    late: list[int] = []

    async def run(job: Job[float]) -> None:
        # Redis and this process read the clock of one machine, both in whole milliseconds.
        late.append(wall_ms() - due[job.id])

    async with emitting(server.url) as emit, working(server.url, {"run": run}, concurrency=50):
        start = Queue(redis).now_ms()
        for n in range(jobs):
            due[f"job-{n}"] = start + 300 + n
        emits = [
            emit.producer.emit(new_job("run", id=job_id, due=str(at))) for job_id, at in due.items()
        ]
        await asyncio.gather(*emits)
        await aeventually(lambda: len(late) == jobs, within=20.0)

    assert min(late) >= 0, "a job was early"
    assert statistics.median(late) < 250


async def test_g10_a_relative_delay_counts_by_redis_clock_and_is_never_early(
    server: RedisServer, redis: redis_py.Redis
) -> None:
    asked: dict[str, float] = {}
    waited: list[float] = []

    async def run(job: Job[float]) -> None:
        waited.append(time.time() * 1000 - asked[job.id])

    async with emitting(server.url) as emit, working(server.url, {"run": run}, concurrency=20):
        for n in range(50):
            asked[f"job-{n}"] = time.time() * 1000
            await emit.producer.emit(new_job("run", id=f"job-{n}", due="+100"))
        await aeventually(lambda: len(waited) == 50)

    assert min(waited) >= 100


async def test_g10_a_nearer_job_wakes_the_sleeping_promoter(server: RedisServer) -> None:
    started: list[tuple[str, float]] = []

    async def run(job: Job[float]) -> None:
        started.append((job.id, time.monotonic()))

    async with emitting(server.url) as emit, working(server.url, {"run": run}):
        await emit.producer.emit(new_job("run", id="far", due="+3600000"))
        # The promoter has looked and sleeps for as long as it ever does.
        await asyncio.sleep(0.3)
        before = time.monotonic()
        await emit.producer.emit(new_job("run", id="near", due="+100"))
        await aeventually(lambda: started)

    ((job_id, at),) = started
    assert job_id == "near"
    # Without the hint it would be the two seconds of the next look, less what passed.
    assert 0.1 <= at - before < 0.8


async def test_g10_a_retry_waits_for_its_delay(server: RedisServer) -> None:
    runs: list[float] = []

    async def fail_once(job: Job[None]) -> None:
        runs.append(time.monotonic())
        if job.attempt == 1:
            raise ValueError("not yet")

    options = {"max_retries": 1, "retry_delay_ms": 200}
    async with emitting(server.url) as emit, working(server.url, {"fail": fail_once}) as worker:
        await emit.producer.emit(new_job("fail", id="a", options=options))
        await aeventually(lambda: worker.settled == 2)

    first, second = runs
    assert 0.2 <= second - first < 0.7


async def test_g10_promoters_side_by_side_never_promote_a_job_twice(
    server: RedisServer, redis: redis_py.Redis
) -> None:
    queue = Queue(redis)
    await put_off(server, queue, jobs=3000)
    make_all_due(queue, in_ms=300)
    wires = [Wire(Connector.of(server.url), name=f"promoter-{n}") for n in range(8)]
    promoters = [asyncio.create_task(Promoter(wire, queue.keys).run()) for wire in wires]

    await aeventually(lambda: queue.stat("promoted") >= 3000, within=20.0)

    for promoter in promoters:
        promoter.cancel()
    await asyncio.gather(*promoters, return_exceptions=True)
    for wire in wires:
        await wire.close()
    ids = queue.ids()
    assert len(ids) == len(set(ids)) == 3000
    assert queue.stat("promoted") == 3000


async def test_g10_100000_jobs_due_at_once_are_promoted_by_4_processes_once_and_quickly(
    server: RedisServer, redis: redis_py.Redis, spawn: Spawner
) -> None:
    jobs, queue = 100_000, Queue(redis)
    await put_off(server, queue, jobs=jobs)
    processes = [spawn.python(str(PROMOTERS), server.url) for _ in range(4)]
    for process in processes:
        process.wait_for_line("ready")
    due = make_all_due(queue, in_ms=2000)
    used = cpu_seconds(redis)

    assert queue.redis.xlen(queue.stream().key) == 0
    with watching_slow_commands(server, above_ms=20) as slow:
        redis.publish(queue.keys.control, f"due {due}")
        eventually(lambda: queue.stat("promoted") >= jobs, within=45.0)

    used = cpu_seconds(redis) - used
    first_entry = redis.xrange(queue.stream().key, count=1)[0][0]
    assert int(first_entry.split(b"-")[0]) >= due
    assert slow.unexplained == []
    # A step takes Redis about 3 ms, and what else it did meanwhile is in this as well.
    assert used / (jobs / BATCH) < 0.010
    for process in processes:
        process.wait_for_line("promotes")
    promoted = [fields[b"id"] for _, fields in redis.xrange(queue.stream().key)]
    assert len(promoted) == len(set(promoted)) == jobs
    assert QueueView(redis).redis.zcard(queue.keys.delayed) == 0
    assert redis.hlen(f"{queue.keys.delayed}:envelopes") == 0


async def put_off(server: RedisServer, queue: Queue, *, jobs: int) -> None:
    """Emit jobs that are due in an hour: however long that takes, none of them is due before."""
    due = str(queue.now_ms() + 3_600_000)
    async with emitting(server.url, emit_timeout=60.0) as emit:
        await asyncio.gather(*_emits(emit, jobs, due))


def make_all_due(queue: Queue, *, in_ms: int) -> int:
    """Let all that is put off be due at one moment, and return that."""
    ids = queue.redis.zrange(queue.keys.delayed, 0, -1)
    due = queue.now_ms() + in_ms
    for first in range(0, len(ids), 10_000):
        queue.redis.zadd(queue.keys.delayed, dict.fromkeys(ids[first : first + 10_000], due))
    return due


def _emits(emit: Emitter, jobs: int, due: str) -> list[asyncio.Future[object]]:
    return [emit.producer.emit(new_job("run", id=f"job-{n}", due=due)) for n in range(jobs)]  # type: ignore[misc]


def test_g10_promotion_does_not_begin_before_the_time_although_promoters_are_awake(
    server: RedisServer, redis: redis_py.Redis
) -> None:
    keys = Keys("default")
    queue = Queue(redis)
    due = queue.now_ms() + 150
    queue.emit(*(new_job("run", id=f"job-{n}", due=str(due)) for n in range(10)))

    while not redis.xlen(queue.stream().key):
        queue.promote()

    entries = redis.xrange(queue.stream().key)
    assert min(int(entry.split(b"-")[0]) for entry, _ in entries) >= due
    assert redis.zcard(keys.delayed) == 0
