"""What a job requires holds for each of its runs: after a delay, a failure, a burial, a storm."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
import redis as redis_py

from consumers.admin.operator import Operator
from consumers.connections.connector import Connector
from consumers.connections.wire import Wire
from consumers.jobs import guards
from consumers.jobs.job import Job
from consumers.store.keys import Keys
from processors.retries.retry import RetryPolicy
from processors.retries.signals import Snooze
from tests.support.engine import QueueView, emitting
from tests.support.queue import Queue
from tests.support.routing import ABLE, OTHER, PLAIN, Starts, fleet, look, routed_job
from tests.support.servers import RedisServer
from tests.support.waiting import aeventually

WINDOW_MS = 300
HOUR_MS = 3_600_000
LANE = routed_job().lane


class Failing(Starts):
    """Fails at the first runs of each job."""

    def __init__(self, failures: int, error: Exception) -> None:
        super().__init__()
        self._failures = failures
        self._error = error

    async def __call__(self, job: Job[Any]) -> None:
        await super().__call__(job)
        if self.ids.count(job.id) <= self._failures:
            raise self._error


@pytest.mark.parametrize("delay_ms", [0, 50], ids=["at once", "later"])
async def test_after_a_failure(server: RedisServer, redis: redis_py.Redis, delay_ms: int) -> None:
    queue, starts = QueueView(redis), Failing(3, OSError("not yet"))
    retry = RetryPolicy(max_retries=3, retry_delay_ms=delay_ms, backoff="fixed")

    async with (
        emitting(server.url) as emit,
        fleet(server.url, {"work": starts}, concurrency=2, retry=retry),
    ):
        await asyncio.gather(*(emit.producer.emit(routed_job(id=f"j{n}")) for n in range(5)))
        await aeventually(lambda: queue.stats("completed") == 5)

    assert len(starts.of("able")) == len(starts.all) == 20
    assert queue.stats("retried") == 15


async def test_after_a_snooze(server: RedisServer, redis: redis_py.Redis) -> None:
    queue, starts = QueueView(redis), Failing(2, Snooze(0.05))

    async with emitting(server.url) as emit, fleet(server.url, {"work": starts}):
        await emit.producer.emit(routed_job())
        await aeventually(lambda: queue.stats("completed") == 1)

    assert starts.all == [("able", "a")] * 3


async def test_after_a_delay(server: RedisServer, redis: redis_py.Redis) -> None:
    queue, starts = QueueView(redis), Starts()
    jobs = [routed_job(id=f"j{n}", due=f"+{100 + 10 * n}") for n in range(10)]

    async with emitting(server.url) as emit, fleet(server.url, {"work": starts}, concurrency=4):
        await asyncio.gather(*map(emit.producer.emit, jobs))
        await aeventually(lambda: queue.stats("completed") == 10)

    assert sorted(starts.of("able")) == sorted(starts.ids) == sorted(job.id for job in jobs)


@pytest.mark.parametrize("mode", ["trailing", "leading"])
async def test_of_a_storm_one_runs_as_its_emit_requires(
    server: RedisServer, redis: redis_py.Redis, mode: guards.Mode
) -> None:
    queue, starts = QueueView(redis), Starts()
    guard = guards.debounced("storm", window_ms=WINDOW_MS, longest_ms=HOUR_MS, mode=mode)
    jobs = [routed_job(id=f"j{n}", guard=guard) for n in range(5)]

    async with emitting(server.url) as emit, fleet(server.url, {"work": starts}):
        await asyncio.gather(*map(emit.producer.emit, jobs))
        await aeventually(lambda: queue.stats("completed") == 1)

    assert starts.all == [("able", "j0")]


async def test_the_last_emit_of_a_storm_says_what_is_required(
    server: RedisServer, redis: redis_py.Redis
) -> None:
    queue, starts = QueueView(redis), Starts()
    guard = guards.debounced("storm", window_ms=WINDOW_MS, longest_ms=HOUR_MS, mode="trailing")
    words = Queue(redis).emit(
        routed_job(id="j0", guard=guard, requires=["cpu"]),
        routed_job(id="j1", guard=guard),
    )
    assert words == ["+1", "~1:j0"]

    async with fleet(server.url, {"work": starts}):
        await aeventually(lambda: queue.stats("completed") == 1)

    assert starts.all == [("able", "j0")]
    # The lane that it was put off for first is held for nobody any more.
    assert redis.exists("tm:{default}:delayed:lanes") == 0


async def test_a_repetition_of_a_key_is_the_first_one_with_what_that_requires(
    server: RedisServer, redis: redis_py.Redis
) -> None:
    queue, starts = QueueView(redis), Starts()
    guard = guards.idempotent("key")

    async with emitting(server.url) as emit, fleet(server.url, {"work": starts}):
        first = await emit.producer.emit(routed_job(id="first", guard=guard))
        again = await emit.producer.emit(routed_job(id="again", guard=guard, requires=["cpu"]))
        await aeventually(lambda: queue.stats("completed") == 1)

    assert (first.id, again.id) == ("first", "first")
    assert starts.all == [("able", "first")]


async def test_a_dead_letter_that_is_replayed_goes_back_to_its_route(
    server: RedisServer, redis: redis_py.Redis
) -> None:
    queue, starts = QueueView(redis), Failing(1, OSError("once"))

    async with emitting(server.url) as emit:
        async with fleet(server.url, {"work": starts}):
            await emit.producer.emit(routed_job())
            await aeventually(lambda: queue.letter("a"))
        # Its lane and what that requires are gone meanwhile.
        keys = queue.keys
        redis.zrem(keys.lanes, LANE.name)
        redis.delete(keys.lane(LANE), keys.front(LANE), keys.routes)
        assert Queue(redis).replay("a")[0].startswith("+")
        async with fleet(server.url, {"work": starts}, PLAIN, OTHER) as others:
            await look(*others)
            assert len(starts.all) == 1
        async with fleet(server.url, {"work": starts}):
            await aeventually(lambda: queue.stats("completed") == 1)

    assert starts.all == [("able", "a")] * 2


async def test_a_job_that_is_cancelled_while_it_waits_begins_nowhere(
    server: RedisServer, redis: redis_py.Redis
) -> None:
    queue, starts = Queue(redis), Starts()
    queue.emit(routed_job(id="a"), routed_job(id="b"), routed_job(id="c", due=f"+{HOUR_MS}"))

    wire = Wire(Connector.of(server.url), name="operator")
    operator = Operator(wire, Keys("default"))
    async with fleet(server.url, {"work": starts}, PLAIN, OTHER) as others:
        for job_id in ("a", "c"):
            cancel = await operator.cancel(job_id, None, result_ttl_ms=HOUR_MS)
            assert cancel.word == "cancelled"
        await look(*others)
        # Who does not read the lane cannot take the cancelled entry out of it.
        assert queue.ids(LANE) == ["a", "b"]
        async with fleet(server.url, {"work": starts}, ABLE):
            await aeventually(lambda: queue.ids(LANE) == [])
    await wire.close()

    assert starts.all == [("able", "b")]
    assert queue.marks() == (set(), set())
