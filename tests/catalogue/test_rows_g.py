"""Rows G of the fault catalogue: de-duplication, debounce, cancel and pause under faults."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from contextlib import AsyncExitStack
from typing import Any

import pytest
import redis as redis_py

from consumers.admin.operator import Operator
from consumers.connections.connector import Connector
from consumers.connections.wire import Wire
from consumers.errors import RedisUnavailable
from consumers.jobs.guards import debounced, digest_of, idempotent
from consumers.jobs.job import Job
from consumers.store.keys import Keys
from tests.support.engine import QueueView, emitting, working
from tests.support.proxy import FaultProxy
from tests.support.queue import Queue, without_facts
from tests.support.servers import RedisServer
from tests.support.waiting import aeventually

pytestmark = pytest.mark.timeout(180)
KEY = idempotent(digest_of("work", "default", "payment 42"))


def storm(window_ms: int, longest_ms: int, *, group: str = "page 7", mode: str = "trailing") -> str:
    """Return the guard of a storm."""
    digest = digest_of("work", "default", group)
    return debounced(digest, window_ms=window_ms, longest_ms=longest_ms, mode=mode)  # type: ignore[arg-type]


def remaining(redis: redis_py.Redis) -> int:
    """Return how many entries are marked as cancelled."""
    keys = Keys("default")
    return int(redis.scard(keys.cancelled)) + int(redis.scard(keys.cancelling))  # type: ignore[arg-type]


@pytest.mark.parametrize("executed", [False, True], ids=["before", "after"])
async def test_row_g1_a_crash_around_the_emit_leaves_a_key_with_its_job_or_neither(
    server: RedisServer, redis: redis_py.Redis, executed: bool
) -> None:
    with FaultProxy(server.port) as proxy:
        async with emitting(proxy.url, emit_timeout=2.0) as emit:
            await emit("other", id="connects")
            if executed:
                proxy.drop_reply("EVALSHA", times=100)
            else:
                proxy.swallow()
            with pytest.raises(RedisUnavailable):
                await emit("work", id="first", guard=KEY)
            proxy.pass_all()

    held = redis.get(Keys("default").idempotency(KEY.split(" ")[1]))
    assert (held is not None) == executed == (QueueView(redis).live("first") is not None)
    async with emitting(server.url) as emit:
        emitted = await emit("work", id="second", guard=KEY)

    assert emitted.created is not executed
    assert emitted.id == ("first" if executed else "second")


async def test_row_g2_a_key_whose_job_vanished_is_taken_over(
    server: RedisServer, redis: redis_py.Redis
) -> None:
    queue = QueueView(redis)
    async with emitting(server.url) as emit:
        await emit("work", id="vanished", guard=KEY)
        redis.delete(queue.lane())
        redis.xgroup_create(queue.lane(), "workers", "0", mkstream=True)
        emitted = await emit("work", id="second", guard=KEY)

    assert emitted == ("second", True, emitted.run)


async def test_row_g3_two_debounced_emits_at_once_are_one_run_with_the_last_data(
    server: RedisServer, redis: redis_py.Redis
) -> None:
    ran: list[Any] = []

    async def work(job: Job[Any]) -> None:
        ran.append(job.data)

    async with emitting(server.url) as one, emitting(server.url) as other:
        for n in range(50):
            await asyncio.gather(
                *(
                    emit("work", [host, n], id=f"{host}-{n}", guard=storm(300, 60_000))
                    for host, emit in (("one", one), ("other", other))
                )
            )
        last = QueueView(redis).redis.hvals("tm:{default}:delayed:envelopes")
        async with working(server.url, {"work": work}):
            await aeventually(lambda: ran)
            await aeventually(QueueView(redis).is_empty)

    assert len(ran) == len(last) == 1
    assert str(ran[0]).replace("'", '"').encode() in last[0]


async def test_row_g4_an_emit_during_the_run_leads_to_a_second_run(
    server: RedisServer, redis: redis_py.Redis
) -> None:
    ran: list[Any] = []
    running, go_on = asyncio.Event(), asyncio.Event()

    async def work(job: Job[Any]) -> None:
        ran.append(job.data)
        running.set()
        await go_on.wait()

    async with emitting(server.url) as emit, working(server.url, {"work": work}, concurrency=4):
        await emit("work", "before", guard=storm(50, 500))
        await asyncio.wait_for(running.wait(), 30)
        during = await emit("work", "during", guard=storm(50, 500))
        assert during.created
        go_on.set()
        await aeventually(lambda: ran == ["before", "during"])
        await aeventually(QueueView(redis).is_empty)


async def test_row_g5_a_storm_without_end_runs_once_for_each_longest_wait(
    server: RedisServer, redis: redis_py.Redis
) -> None:
    queue, ran = Queue(redis), list[int]()
    emitted = 0

    async def work(job: Job[int]) -> None:
        ran.append(emitted)

    async with emitting(server.url) as emit, working(server.url, {"work": work}):
        started = queue.now_ms()
        while len(ran) < 4:
            emitted += 1
            # The window never passes: only the longest wait lets a run start.
            await emit("work", emitted, guard=storm(60_000, 400))
            await asyncio.sleep(0.005)
        took = queue.now_ms() - started

    # Never early by Redis' clock: four longest waits had passed.
    assert took >= 4 * 400
    assert QueueView(redis).stats("debounced") == emitted - len(ran) - len(
        redis.zrange("tm:{default}:delayed", 0, -1)  # type: ignore[arg-type]
    )


async def test_row_g8_a_cancel_that_races_with_the_start_is_cancelled_or_ran_never_both(
    server: RedisServer, redis: redis_py.Redis
) -> None:
    # Each job is cancelled at some moment around its start, and emitted again at once.
    ended: Counter[tuple[str, int]] = Counter()
    again: dict[str, Any] = {}
    told: dict[str, str] = {}
    dice = random.Random(8)
    queue = QueueView(redis)

    async def work(job: Job[Any]) -> str:
        await asyncio.sleep(dice.uniform(0, 0.004))
        ended[job.id, job.generation] += 1
        return "ran"

    async def race(emit: Any, operator: Operator, n: int) -> None:
        first = await emit("work", id=f"job-{n}")
        await asyncio.sleep(dice.uniform(0, 0.006))
        done = await operator.cancel(first.id, first.run, result_ttl_ms=60_000)
        told[first.id] = done.word
        again[first.id] = (first.run, await emit("work", id=first.id))

    async with AsyncExitStack() as stack:
        emit = await stack.enter_async_context(emitting(server.url))
        wire = Wire(Connector.of(server.url), name="operator")
        stack.push_async_callback(wire.close)
        workers = [
            await stack.enter_async_context(
                working(server.url, {"work": work}, concurrency=8, name=f"w{n}")
            )
            for n in range(2)
        ]
        operator = Operator(wire, Keys("default"))
        for start in range(0, 1000, 20):
            await asyncio.gather(*(race(emit, operator, n) for n in range(start, start + 20)))
        await aeventually(queue.is_empty, within=60.0)
        await aeventually(lambda: sum(worker.running for worker in workers) == 0)

    assert set(told.values()) == {"cancelled", "requested", "too_late"}
    for job_id, (run, second) in again.items():
        if told[job_id] != "too_late":
            # The cancelled run committed nothing, and the emit after it was not swallowed.
            assert second.created, job_id
            assert second.run > run, job_id
        if told[job_id] == "cancelled":
            assert ended[job_id, run] == 0, job_id
        # What was emitted last ran, whatever became of the first.
        assert ended[job_id, second.run] == 1, job_id
        stored = without_facts(redis.get(queue.keys.result(job_id)))
        assert stored == f'{second.run} completed "ran"'.encode(), job_id
    cancelled = sum(word != "too_late" for word in told.values())
    assert queue.stats("cancelled") == cancelled
    assert queue.stats("completed") + cancelled == sum(
        1 + second.created for _, second in again.values()
    )
    assert remaining(redis) == 0


async def test_row_g9_what_runs_when_a_queue_is_paused_finishes_and_nothing_starts(
    server: RedisServer, redis: redis_py.Redis
) -> None:
    started, finished = 0, 0
    go_on = asyncio.Event()

    async def work(job: Job[Any]) -> None:
        nonlocal started, finished
        started += 1
        await go_on.wait()
        finished += 1

    async with AsyncExitStack() as stack:
        emit = await stack.enter_async_context(emitting(server.url))
        wire = Wire(Connector.of(server.url), name="operator")
        stack.push_async_callback(wire.close)
        operator = Operator(wire, Keys("default"))
        for n in range(3):
            await stack.enter_async_context(
                working(server.url, {"work": work}, concurrency=8, name=f"w{n}")
            )
        await asyncio.gather(*(emit("work", n) for n in range(200)))
        await aeventually(lambda: started == 24)
        await operator.until_obeyed(await operator.pause())
        seen = started
        go_on.set()
        await aeventually(lambda: finished == seen)
        await asyncio.gather(*(emit("work", n, priority=9) for n in range(20)))
        # What is promoted, handed back and emitted meanwhile waits: give it every chance.
        await aeventually(lambda: len(QueueView(redis).pending()) == 0)
        assert started == seen
        await operator.resume()
        await aeventually(lambda: finished == 220)
        await aeventually(QueueView(redis).is_empty)
