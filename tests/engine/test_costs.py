"""What a job costs Redis and the network, counted by Redis itself: guards of the hot path.

Bounds are arithmetic, not times: they hold on a slow machine as well. Batches are smaller there,
so that their number has a wide bound, and what each of them may cost has a narrow one. The plain
loop is in benchmarks/steps.py; tests/store/test_step_costs.py has the same for single requests.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from math import ceil
from typing import Any

import pytest
import redis as redis_py

from benchmarks.steps import EMIT, READ, SETTLE, Steps, both_sides
from consumers.store.keys import Keys
from consumers.store.steps import BATCH_ITEMS
from taskmanager import TaskManager
from tests.support.counting import Counter, cost_of
from tests.support.servers import RedisServer
from tests.support.waiting import aeventually

JOBS = 10_000
SLOTS = 256
IDLE_READS = 3
KEYS = Keys("default")
# EVALSHA, GET and SET of the writer's door, HMGET and HSET of the generation, TIME, ZSCORE of the
# lane, HGET and HINCRBY of the counters.
PER_EMIT = 9
# As in tests/store/test_step_costs.py, with XACK and XDEL.
PER_SETTLE = 15
# What a worker asks beside jobs: a hundred commands at its start, and in the seconds that a drain
# takes on a slow machine its heartbeat, schedules, delayed jobs, lanes, lease renewals.
BESIDE = 400
# The texts of its scripts, once.
BESIDE_BYTES = 300_000


@pytest.fixture
def counter(redis: redis_py.Redis) -> Counter:
    return Counter(redis)


@pytest.fixture
def plain(server: RedisServer) -> Iterator[Steps]:
    """The loop to compare with; ours has one lane and all scripts, so that neither is counted."""
    with both_sides(server.port) as sides:
        yield sides["plain_"]


def items(number: int = JOBS) -> list[dict[str, Any]]:
    # The data of the plain loop.
    return [{"event": "work", "data": {"i": n}} for n in range(number)]


def plain_emits(plain: Steps) -> None:
    for _ in range(JOBS // EMIT):
        plain.emit(EMIT)


def plain_drain(plain: Steps) -> None:
    for first in range(0, JOBS, READ):
        plain.read(min(READ, JOBS - first))
        plain.settle(min(SETTLE, JOBS - first))


async def test_emitting_10000_jobs_takes_20_round_trips_and_two_commands_more_than_a_plain_loop(
    server: RedisServer, redis: redis_py.Redis, plain: Steps
) -> None:
    loop = cost_of(redis, lambda: plain_emits(plain))
    counter = Counter(redis)
    async with TaskManager(server.url) as tm:
        await tm.emit_many(items())
        ours = counter.cost()

    batches = ceil(JOBS / BATCH_ITEMS)
    assert counter.calls("evalsha", "eval") <= batches + 5
    # HGET and HSET of the index. To open the queue takes some twenty.
    assert ours.commands <= loop.commands + 2 * JOBS + PER_EMIT * batches + 40
    # The id of 22 and the bucket instead of the words of XADD; "+<run> " comes back for the entry.
    assert ours.read <= loop.read
    assert ours.written <= loop.written - 14 * JOBS


async def test_an_emit_alone_takes_eleven_commands_more_than_a_plain_one(
    server: RedisServer, redis: redis_py.Redis, plain: Steps
) -> None:
    async with TaskManager(server.url) as tm:
        await tm.emit("work", data={"i": 0})
        loop = cost_of(redis, lambda: plain.emit(1))
        counter = Counter(redis)
        await tm.emit("work", data={"i": 1})
        ours = counter.cost()

    assert ours.commands <= loop.commands + PER_EMIT + 2
    # The digest of the script, six keys, of which one has the writer's name of 60, the batch's
    # number and digest, the id.
    assert ours.read <= loop.read + 480
    assert ours.written <= loop.written + 20


async def test_draining_10000_jobs_takes_two_commands_a_job_more_than_a_plain_loop(
    server: RedisServer, redis: redis_py.Redis, plain: Steps
) -> None:
    plain_emits(plain)
    loop = cost_of(redis, lambda: plain_drain(plain))
    done = 0

    async def work(job: Any) -> None:
        nonlocal done
        done += 1

    tm = TaskManager(server.url, concurrency=SLOTS)
    tm.registerHandler(work, event="work")
    async with TaskManager(server.url, emit_timeout=120) as emitter:
        await emitter.emit_many(items())
    counter, before = Counter(redis), completed(redis)
    async with tm:
        await tm.start()
        await aeventually(lambda: done == JOBS, within=60)
        await aeventually(lambda: completed(redis) == before + JOBS)
        ours = counter.cost()

    assert done == JOBS
    reads, settles = counter.calls("xreadgroup"), counter.calls("xack")
    # A read brings at least an eighth of the slots, and half of them on average.
    assert reads <= JOBS / (SLOTS / 8)
    # What ends while a settle is under way leaves with the next.
    assert settles <= JOBS / 20
    assert counter.calls("evalsha", "eval") <= settles + 100
    # HGET and HDEL of the index, as the SET of the result is in both.
    assert ours.commands <= loop.commands + 2 * JOBS + PER_SETTLE * settles + reads + BESIDE
    # Where nothing is cancelled a read or settle asks for that once, and for no entry.
    assert counter.calls("exists") <= counter.calls("xreadgroup", "evalsha", "eval")
    # Once, where the worker tries its rights at the start.
    assert counter.calls("smismember") <= 1
    # An entry is sent once to be settled, and three times in the loop, with the words of a SET.
    assert ours.read <= loop.read - 50 * JOBS + BESIDE_BYTES
    # The head, the id and the event of an entry, with their names and lengths.
    assert ours.written <= loop.written + 125 * JOBS + BESIDE_BYTES / 3


async def test_an_idle_worker_asks_twenty_commands_per_read(
    server: RedisServer, redis: redis_py.Redis
) -> None:
    tm = TaskManager(server.url, concurrency=SLOTS)

    @tm.registerHandler(event="work")
    async def work(job: Any) -> None: ...

    async with tm:
        await tm.start()
        await tm.emit("work", data={"i": 0})
        await aeventually(lambda: completed(redis) == 1)
        counter = Counter(redis)
        await aeventually(lambda: counter.calls("xreadgroup") >= IDLE_READS)
        ours = counter.cost()

    # A read that waits for two seconds, and beside it in each of them a look for delayed jobs and
    # schedules, every five a heartbeat and a look at the lanes.
    assert ours.commands <= 22 * (IDLE_READS + 1)


def completed(redis: redis_py.Redis) -> int:
    value: Any = redis.hget(KEYS.stats, "completed")
    return int(value or 0)


@pytest.mark.parametrize("priorities", [1, 10])
async def test_priorities_cost_no_command_a_job(
    server: RedisServer, redis: redis_py.Redis, priorities: int
) -> None:
    tm = TaskManager(server.url, concurrency=SLOTS)

    done = 0

    @tm.registerHandler(event="work")
    async def work(job: Any) -> None:
        nonlocal done
        done += 1

    given = [{**it, "priority": n % priorities} for n, it in enumerate(items())]
    async with TaskManager(server.url) as emitter:
        await emitter.emit_many(given)
    counter = Counter(redis)
    async with tm:
        await tm.start()
        await aeventually(lambda: done == JOBS, within=60)
        await aeventually(lambda: completed(redis) == JOBS)
        ours = counter.cost()

    reads, settles = counter.calls("xreadgroup"), counter.calls("evalsha", "eval")
    # The outcomes of several lanes leave together, but each lane is asked and trimmed by itself.
    assert ours.commands <= 3 * JOBS + (PER_SETTLE + 6 * (priorities - 1)) * settles + BESIDE
    assert reads <= JOBS / (SLOTS / 8)


async def test_concurrent_emits_share_round_trips(server: RedisServer, counter: Counter) -> None:
    async with TaskManager(server.url) as tm:

        async def emit_many(first: int) -> None:
            for number in range(first, 2000, 100):
                await tm.emit("work", data={"number": number})

        await asyncio.gather(*[emit_many(first) for first in range(100)])

    # A hundred at a time: whoever emits in one turn of the loop shares the batch.
    assert counter.calls("evalsha", "eval") <= 2000 / 10


async def test_small_bulks_of_many_callers_share_round_trips(
    server: RedisServer, counter: Counter
) -> None:
    async with TaskManager(server.url) as tm:
        bulks = [
            tm.emit_many([{"event": "work", "data": {"bulk": bulk, "n": n}} for n in range(2)])
            for bulk in range(1000)
        ]
        handles = await asyncio.gather(*bulks)

    assert all(handle.created for bulk in handles for handle in bulk)
    assert counter.calls("evalsha", "eval") <= 2 * ceil(2000 / BATCH_ITEMS) + 5
