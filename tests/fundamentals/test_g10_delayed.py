"""G10: a delayed job is never early by Redis' clock, and promoted once, as soon as it is due."""

from __future__ import annotations

import asyncio
from collections import Counter
from pathlib import Path
from typing import Any, cast

import pytest
import redis as redis_py

from consumers.connections.connector import Connector
from consumers.connections.wire import Wire
from consumers.jobs.job import Job
from consumers.store.keys import Keys
from consumers.upkeep.promoter import BATCH, Promoter
from consumers.upkeep.service import LOOK
from tests.support.engine import Emitter, QueueView, emitting, new_job, working
from tests.support.processes import Spawner
from tests.support.queue import Queue
from tests.support.servers import RedisServer
from tests.support.waiting import aeventually, eventually

PROMOTERS = Path(__file__).parent / "promoters.py"


async def test_g10_a_delayed_job_starts_once_and_not_before_its_time(
    server: RedisServer, redis: redis_py.Redis
) -> None:
    jobs, queue = 1000, Queue(redis)
    due: dict[str, int] = {}
    late: dict[str, int] = {}
    runs = Counter[str]()

    async def run(job: Job[float]) -> None:
        runs[job.id] += 1
        late[job.id] = queue.now_ms() - due[job.id]

    async with emitting(server.url) as emit, working(server.url, {"run": run}, concurrency=50):
        start = queue.now_ms()
        for n in range(jobs):
            due[f"job-{n}"] = start + 300 + n
        emits = [
            emit.producer.emit(new_job("run", id=job_id, due=str(at))) for job_id, at in due.items()
        ]
        await asyncio.gather(*emits)
        await aeventually(lambda: len(late) == jobs)

    assert min(late.values()) >= 0, "a job was early"
    assert set(runs.values()) == {1}


async def test_g10_the_promoter_sleeps_until_the_nearest_job_is_due_and_no_longer(
    server: RedisServer, redis: redis_py.Redis
) -> None:
    queue, wire = Queue(redis), Wire(Connector.of(server.url), name="promoter")
    promoter = Promoter(wire, queue.keys)
    due = queue.now_ms() + 60_000
    queue.emit(new_job("run", id="far", due=str(due)))
    assert await promoter.step() == LOOK

    queue.redis.zadd(queue.keys.delayed, {"far": (due := queue.now_ms() + 1_500)})
    before = queue.now_ms()
    wait_ms = await promoter.step() * 1000
    after = queue.now_ms()
    await wire.close()

    # It asks at some time between the two looks at Redis' clock; a millisecond more is not early.
    assert max(0, due - after) <= wait_ms <= due - before + 1.001


async def test_g10_a_relative_delay_counts_by_redis_clock_and_is_never_early(
    server: RedisServer, redis: redis_py.Redis
) -> None:
    queue = Queue(redis)
    asked: dict[str, int] = {}
    waited: list[int] = []

    async def run(job: Job[float]) -> None:
        waited.append(queue.now_ms() - asked[job.id])

    async with emitting(server.url) as emit, working(server.url, {"run": run}, concurrency=20):
        for n in range(50):
            asked[f"job-{n}"] = queue.now_ms()
            await emit.producer.emit(new_job("run", id=f"job-{n}", due="+100"))
        await aeventually(lambda: len(waited) == 50)

    assert min(waited) >= 100


async def test_g10_a_nearer_job_wakes_the_sleeping_promoter(
    server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[str] = []
    waits = note_waits(monkeypatch)
    # Only the hint can wake it in the time of this test.
    monkeypatch.setattr(Promoter, "interval", 3600.0)

    async def run(job: Job[float]) -> None:
        started.append(job.id)

    async with emitting(server.url) as emit:
        await emit.producer.emit(new_job("run", id="far", due="+7200000"))
        async with working(server.url, {"run": run}) as worker:
            await worker._parts.hints.subscribed.wait()  # type: ignore[union-attr]
            await aeventually(lambda: waits[-1:] == [3600.0])
            await emit.producer.emit(new_job("run", id="near", due="+100"))
            await aeventually(lambda: started)

    assert started == ["near"]


def note_waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Note for how many seconds promoters mean to sleep after each of their steps."""
    waits: list[float] = []
    step = Promoter.step

    async def noted(self: Promoter) -> float:
        waits.append(await step(self))
        return waits[-1]

    monkeypatch.setattr(Promoter, "step", noted)
    return waits


async def test_g10_a_retry_waits_for_its_delay(server: RedisServer, redis: redis_py.Redis) -> None:
    queue, runs = Queue(redis), list[int]()

    async def fail_once(job: Job[None]) -> None:
        runs.append(queue.now_ms())
        if job.attempt == 1:
            raise ValueError("not yet")

    options = {"max_retries": 1, "retry_delay_ms": 200}
    async with emitting(server.url) as emit, working(server.url, {"fail": fail_once}) as worker:
        await emit.producer.emit(new_job("fail", id="a", options=options))
        await aeventually(lambda: worker.settled == 2)

    first, second = runs
    assert second - first >= 200


async def test_g10_of_many_promoters_a_few_look_for_each_job(
    server: RedisServer, redis: redis_py.Redis
) -> None:
    queue, jobs, fleet = Queue(redis), 50, 10
    wires = [Wire(Connector.of(server.url), name=f"promoter-{n}") for n in range(fleet)]
    await put_off(server, queue, jobs=jobs)
    now = queue.now_ms()
    ids = sorted(queue.put_off())
    redis.zadd(queue.keys.delayed, {job: now + 500 + 30 * n for n, job in enumerate(ids)})
    redis.config_resetstat()
    promoters = [asyncio.create_task(Promoter(wire, queue.keys).run()) for wire in wires]
    await aeventually(lambda: queue.stat("promoted") == jobs, within=30.0)
    stats = cast("dict[str, Any]", redis.info("commandstats"))
    for promoter in promoters:
        promoter.cancel()
    await asyncio.gather(*promoters, return_exceptions=True)
    await asyncio.gather(*(wire.close() for wire in wires))

    looks = sum(stats.get(f"cmdstat_{name}", {"calls": 0})["calls"] for name in ("evalsha", "eval"))
    # Each looked for each job: as many again as there are promoters.
    assert looks < jobs * fleet / 2


async def test_g10_promoters_side_by_side_never_promote_a_job_twice(
    server: RedisServer, redis: redis_py.Redis
) -> None:
    queue = Queue(redis)
    await put_off(server, queue, jobs=3000)
    make_all_due(queue, in_ms=300)
    wires = [Wire(Connector.of(server.url), name=f"promoter-{n}") for n in range(8)]
    promoters = [asyncio.create_task(Promoter(wire, queue.keys).run()) for wire in wires]

    await aeventually(lambda: queue.stat("promoted") >= 3000)

    for promoter in promoters:
        promoter.cancel()
    await asyncio.gather(*promoters, return_exceptions=True)
    for wire in wires:
        await wire.close()
    ids = queue.ids()
    assert len(ids) == len(set(ids)) == 3000
    assert queue.stat("promoted") == 3000


@pytest.mark.timeout(300)
async def test_g10_100000_jobs_due_at_once_are_promoted_by_4_processes_once_and_in_few_scripts(
    server: RedisServer, redis: redis_py.Redis, spawn: Spawner
) -> None:
    jobs, queue = 100_000, Queue(redis)
    await put_off(server, queue, jobs=jobs)
    processes = [spawn.python(str(PROMOTERS), server.url) for _ in range(4)]
    for process in processes:
        process.wait_for_line("ready")
    redis.config_resetstat()
    due = make_all_due(queue, in_ms=2000)

    redis.publish(queue.keys.control, f"due {due}")
    eventually(lambda: queue.stat("promoted") >= jobs, within=120.0)

    scripts = script_calls(redis)
    first_entry = redis.xrange(queue.stream().key, count=1)[0][0]
    assert int(first_entry.split(b"-")[0]) >= due
    # Full batches, whoever comes first, and no more than a batch in a script: those that found
    # nothing are the looks before and after.
    assert jobs / BATCH <= scripts < 1.5 * jobs / BATCH
    for process in processes:
        process.wait_for_line("promotes")
    promoted = [fields[b"id"] for _, fields in redis.xrange(queue.stream().key)]
    assert len(promoted) == len(set(promoted)) == jobs
    assert QueueView(redis).redis.zcard(queue.keys.delayed) == 0
    assert redis.hlen(f"{queue.keys.delayed}:envelopes") == 0


def script_calls(redis: redis_py.Redis) -> int:
    """Return how many scripts were run since the statistics were reset."""
    stats = cast("dict[str, dict[str, int]]", redis.info("commandstats"))
    return sum(stats.get(f"cmdstat_{it}", {"calls": 0})["calls"] for it in ("eval", "evalsha"))


async def put_off(server: RedisServer, queue: Queue, *, jobs: int) -> None:
    """Emit jobs that are due in an hour: however long that takes, none of them is due before."""
    due = str(queue.now_ms() + 3_600_000)
    async with emitting(server.url, emit_timeout=120.0) as emit:
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
