"""What a job costs Redis and the network, counted by Redis itself: guards of the hot path.

Bounds are arithmetic, not times: they hold on a slow machine as well. Where a bound is a
multiple of what is seen, it is because batches are smaller while a worker starts.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from math import ceil
from typing import Any

import pytest
import redis as redis_py

from consumers.store.keys import Keys
from consumers.store.steps import BATCH_ITEMS
from taskmanager import TaskManager
from tests.support.servers import RedisServer
from tests.support.waiting import aeventually

JOBS = 10_000
SLOTS = 256
KEYS = Keys("default")
# What a worker asks beside jobs in the seconds that a drain takes on a slow machine: its
# heartbeat, schedules, delayed jobs, lanes, lease renewals.
BESIDE = 1000
BESIDE_BYTES = 500_000


@dataclass
class Counter:
    """Counts what Redis was asked since it was made."""

    redis: redis_py.Redis

    def __post_init__(self) -> None:
        self._calls, self._traffic = self._now()

    def calls(self, *names: str) -> int:
        """Return how often commands were called, by clients and within scripts."""
        calls, _ = self._now()
        return sum(calls.get(name, 0) - self._calls.get(name, 0) for name in names)

    def commands(self) -> int:
        """Return how many commands were called, by clients and within scripts."""
        return self.calls(*self._now()[0])

    def bytes(self) -> tuple[int, int]:
        """Return how many bytes Redis has read and written."""
        _, (read, written) = self._now()
        return read - self._traffic[0], written - self._traffic[1]

    def _now(self) -> tuple[dict[str, int], tuple[int, int]]:
        commands: Any = self.redis.info("commandstats")
        stats: Any = self.redis.info("stats")
        calls = {name.removeprefix("cmdstat_"): it["calls"] for name, it in commands.items()}
        return calls, (stats["total_net_input_bytes"], stats["total_net_output_bytes"])


@pytest.fixture
def counter(redis: redis_py.Redis) -> Counter:
    return Counter(redis)


def items(number: int = JOBS) -> list[dict[str, Any]]:
    return [{"event": "work", "data": {"number": n}} for n in range(number)]


async def test_emitting_10000_jobs_takes_20_round_trips_and_three_commands_a_job(
    server: RedisServer, counter: Counter
) -> None:
    async with TaskManager(server.url) as tm:
        await tm.emit_many(items())

    batches = ceil(JOBS / BATCH_ITEMS)
    assert counter.calls("evalsha", "eval") <= batches + 5
    # HGET of the index, XADD, HSET; and some twenty a batch.
    assert counter.commands() <= 3 * JOBS + 20 * batches + BESIDE
    read, written = counter.bytes()
    # Id 22, event 4, data 17, bucket 5, and the lengths of eight arguments; "+<run> " comes back.
    assert read <= 120 * JOBS + BESIDE_BYTES
    assert written <= 7 * JOBS + BESIDE_BYTES


async def test_draining_10000_jobs_takes_three_commands_a_job_and_a_round_trip_for_many(
    server: RedisServer, redis: redis_py.Redis
) -> None:
    done = 0

    async def work(job: Any) -> None:
        nonlocal done
        done += 1

    tm = TaskManager(server.url, concurrency=SLOTS)
    tm.registerHandler(work, event="work")
    async with TaskManager(server.url, emit_timeout=120) as emitter:
        await emitter.emit_many(items())
    counter = Counter(redis)
    async with tm:
        await tm.start()
        await aeventually(lambda: redis.hget(KEYS.stats, "completed") == b"%d" % JOBS, within=30)

    assert done == JOBS
    # A read brings at least an eighth of the slots, and half of them on average.
    assert counter.calls("xreadgroup") <= JOBS / (SLOTS / 8)
    # What ends while a settle is under way leaves with the next.
    assert counter.calls("evalsha", "eval") <= JOBS / 20
    # HGET and HDEL of the index, SET of the result; the fence, XACK and XDEL are shared.
    assert counter.commands() <= 3.5 * JOBS + BESIDE
    assert counter.calls("xpending") <= JOBS / 20
    assert counter.calls("xack") <= JOBS / 20
    # Where nothing is cancelled a read or settle asks for that once, and for no entry.
    assert counter.calls("exists") <= counter.calls("xreadgroup", "evalsha", "eval")
    assert counter.calls("smismember") == 0
    read, written = counter.bytes()
    assert read <= 180 * JOBS + BESIDE_BYTES
    assert written <= 240 * JOBS + BESIDE_BYTES


@pytest.mark.parametrize("priorities", [1, 10])
async def test_priorities_cost_no_command_a_job(
    server: RedisServer, redis: redis_py.Redis, priorities: int
) -> None:
    tm = TaskManager(server.url, concurrency=SLOTS)

    @tm.registerHandler(event="work")
    async def work(job: Any) -> None: ...

    given = [{**it, "priority": n % priorities} for n, it in enumerate(items())]
    async with TaskManager(server.url) as emitter:
        await emitter.emit_many(given)
    counter = Counter(redis)
    async with tm:
        await tm.start()
        await aeventually(lambda: redis.hget(KEYS.stats, "completed") == b"%d" % JOBS, within=30)

    assert counter.commands() <= 3.7 * JOBS + BESIDE
    assert counter.calls("xreadgroup") <= JOBS / (SLOTS / 8)


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
