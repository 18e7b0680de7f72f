"""Rows B7 to B10 of the fault catalogue: Redis takes nothing, or has something else."""

from __future__ import annotations

import asyncio
from collections import Counter

import pytest
import redis as redis_py

from consumers.errors import BrokenKey, QueueFull
from consumers.jobs.job import Job
from tests.support.engine import SHORT_LEASE, QueueView, consumer_of, emitting, working
from tests.support.queue import Queue, foreign_value, full_memory
from tests.support.servers import RedisServer
from tests.support.waiting import aeventually

pytestmark = pytest.mark.timeout(300)


@pytest.mark.parametrize("when", ["at_the_first_emit_ever", "later"])
async def test_row_b7_g12_full_memory_is_an_error_to_who_emits_and_nothing_is_half_written(
    server: RedisServer, redis: redis_py.Redis, when: str
) -> None:
    queue = Queue(redis)
    async with emitting(server.url) as emit:
        if when == "later":
            await emit("work", id="before")
        before = queue.writes()
        with full_memory(redis):
            for due in ("", "+10000"):
                with pytest.raises(QueueFull, match="out of memory"):
                    await emit("work", id="a", due=due)

        assert queue.writes() == before
        assert (await emit("work", id="a")).created


@pytest.mark.parametrize("fills_up", ["before_the_worker_starts", "while_it_works"])
async def test_row_b8_g12_when_memory_is_full_jobs_are_worked_off_and_leases_renewed(
    server: RedisServer, redis: redis_py.Redis, fills_up: str
) -> None:
    queue, jobs = QueueView(redis), 200
    ran: list[tuple[int, int]] = []
    may_start = asyncio.Event()

    async def work(job: Job[int]) -> None:
        await may_start.wait()
        # Long enough for renewals under full memory.
        await asyncio.sleep(2 * SHORT_LEASE if job.data == 0 else 0)
        ran.append((job.data, job.delivery))
        if job.data % 50 == 1:
            raise ValueError("a dead letter under full memory")

    async with emitting(server.url) as emit:
        await asyncio.gather(*(emit("work", n) for n in range(jobs)))
        worker = consumer_of(server.url, {"work": work}, concurrency=8, lease=SHORT_LEASE)
        if fills_up == "while_it_works":
            await worker.start()
        with full_memory(redis):
            await worker.start()
            await aeventually(lambda: worker.running == 8)
            may_start.set()
            with pytest.raises(QueueFull, match="memory"):
                await emit("work", 1000)
            await aeventually(lambda: worker.settled >= jobs)
            assert queue.is_empty()
            assert queue.stats("fenced") == 0
            await worker.stop()
        assert (await emit("work", 1001)).created

    assert sorted(ran) == [(number, 1) for number in range(jobs)]
    assert len(queue.letters()) == 4
    assert queue.stats("completed") == jobs - 4


@pytest.mark.parametrize("policy", ["noeviction", "allkeys-lru", "volatile-ttl"])
async def test_row_b9_a_policy_that_may_evict_jobs_is_warned_of_at_the_start(
    server: RedisServer, redis: redis_py.Redis, caplog: pytest.LogCaptureFixture, policy: str
) -> None:
    redis.config_set("maxmemory-policy", policy)

    async with working(server.url, {"work": print}):
        pass

    warnings = [it for it in caplog.messages if "maxmemory-policy" in it]
    assert len(warnings) == (policy != "noeviction")
    assert all(policy in it and "noeviction" in it for it in warnings)


FOREIGN = ["lanes", "meta", "stats", "live", "lane", "front", "delayed", "dead", "outbox"]


@pytest.mark.parametrize("name", FOREIGN)
async def test_row_b10_g13_a_foreign_value_in_one_queue_is_named_and_the_other_goes_on(
    server: RedisServer, redis: redis_py.Redis, caplog: pytest.LogCaptureFixture, name: str
) -> None:
    broken, fine = QueueView(redis, "broken"), QueueView(redis, "fine")
    ran: Counter[str] = Counter()

    async def work(job: Job[None]) -> None:
        ran[job.id] += 1
        if job.id == "dies":
            raise ValueError("a dead letter")

    handlers = {("broken", "work"): work, ("fine", "work"): work}
    async with emitting(server.url) as emit, working(server.url, handlers, concurrency=4) as worker:
        await emit("work", id="before", queue="broken")
        await aeventually(lambda: ran["before"] == 1)
        await aeventually(broken.is_empty)
        key = {
            "lane": broken.lane(),
            "front": broken.lane(front=True),
            "live": broken.keys.live("a"),
        }.get(name) or getattr(broken.keys, name)
        with foreign_value(redis, key):
            emits = [emit("work", id=it, queue="broken") for it in ("a", "dies")]
            emits.append(emit("work", id="late", queue="broken", due="+50"))
            answers = await asyncio.gather(*emits, return_exceptions=True)
            refused = [it for it in answers if isinstance(it, Exception)]
            await asyncio.gather(*(emit("work", id=f"fine-{n}", queue="fine") for n in range(20)))
            await aeventually(lambda: fine.stats("completed") == 20)
            assert all(isinstance(it, BrokenKey) and it.key == key for it in refused)
            # Of what is needed later only the log can tell.
            names = (key, "the outbox of queue broken")
            await aeventually(
                lambda: refused or any(it in line for it in names for line in caplog.messages)
            )
        async with asyncio.timeout(60.0):
            await asyncio.gather(
                *(emit("work", id=it, queue="broken") for it in ("a", "dies", "late"))
            )
        await aeventually(lambda: ran["a"] and ran["dies"] and ran["late"])
        await aeventually(broken.is_empty)
        await aeventually(lambda: len(broken.letters()) == ran["dies"])
        assert worker.fenced == 0

    assert "Traceback" not in caplog.text
