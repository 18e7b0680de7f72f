"""G12: full is an error to the producer, never a loss; what is there is worked off."""

from __future__ import annotations

import asyncio
from typing import cast

import pytest
import redis as redis_py

from consumers.errors import QueueFull
from consumers.jobs.job import Job
from tests.support.engine import QueueView, emitting, new_job, working
from tests.support.servers import RedisServer
from tests.support.waiting import aeventually


async def test_g12_an_emit_beyond_the_depth_limit_is_refused(
    server: RedisServer, redis: redis_py.Redis
) -> None:
    queue = QueueView(redis)

    async def work(job: Job[None]) -> None:
        pass

    async with emitting(server.url, max_queue_depth=10) as emit:
        emits = [emit("work", priority=n % 3) for n in range(15)]
        answers = await asyncio.gather(*emits, return_exceptions=True)
        refused = [answer for answer in answers if isinstance(answer, QueueFull)]

        assert len(refused) == 5
        assert "10" in str(refused[0])
        assert refused[0].queue == "default"
        assert sum(redis.xlen(stream) for stream in queue.streams()) == 10

        async with working(server.url, {"work": work}):
            await aeventually(queue.is_empty)
        assert (await emit("work")).created


async def test_g12_a_repeated_emit_of_a_live_job_is_no_more_depth(server: RedisServer) -> None:
    async with emitting(server.url, max_queue_depth=1) as emit:
        first = await emit("work", id="the-same")
        second = await emit("work", id="the-same")
        with pytest.raises(QueueFull):
            await emit("work")

    assert (first.created, second.created) == (True, False)
    assert first.run == second.run


async def test_g12_what_waits_outside_emits_is_not_held_up_by_the_depth_limit(
    server: RedisServer, redis: redis_py.Redis
) -> None:
    queue = QueueView(redis)

    async def parent(job: Job[None]) -> None:
        job.on_success += [new_job("child", id=f"child-{n}", due="+3600000") for n in range(5)]

    async with emitting(server.url, max_queue_depth=1) as emit:
        await emit("parent")
        async with working(server.url, {"parent": parent}):
            await aeventually(lambda: queue.stats("completed") == 1)
        with pytest.raises(QueueFull):
            await emit("parent")

    assert all(queue.live(f"child-{n}") for n in range(5))


async def test_g12_a_stop_and_a_take_over_work_while_memory_is_full(
    server: RedisServer, redis: redis_py.Redis
) -> None:
    queue = QueueView(redis)
    ran: list[tuple[str, int]] = []

    async def slow(job: Job[None]) -> None:
        await asyncio.sleep(60)

    async def work(job: Job[None]) -> None:
        ran.append((job.id, job.attempt))

    async with emitting(server.url) as emit:
        await asyncio.gather(emit("work", id="orphan"), emit("work", id="suspect"))
        queue.abandon(crashes=1)
        queue.abandon(crashes=3)
        queue.expire()
        await emit("work", id="released")
        _fill(redis)
        queue_is = {"work": slow}
        async with working(server.url, queue_is) as worker:
            await aeventually(lambda: worker.running == 1)
        async with working(server.url, {"work": work}):
            queue.expire()
            await aeventually(queue.is_empty)

    assert sorted(ran) == [("orphan", 1), ("released", 1), ("suspect", 1)]


def _fill(redis: redis_py.Redis) -> None:
    used = cast("int", redis.info("memory")["used_memory"])
    redis.config_set("maxmemory-policy", "noeviction")
    # Below what is used already: every command that may need memory is refused.
    redis.config_set("maxmemory", max(1, used // 2))
