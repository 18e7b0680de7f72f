"""The consumer group that somebody asks for before a worker or a producer has made it."""

from __future__ import annotations

import pytest
import redis as redis_py
import redis.asyncio as redis_async

from consumers import ensure_consumer_group
from consumers.errors import InvalidInput, RedisUnavailable, TaskManagerError
from consumers.jobs.job import Job
from tests.support.engine import QueueView, emitting, working
from tests.support.servers import RedisServer
from tests.support.waiting import aeventually

UNREACHABLE = "redis://127.0.0.1:1/0"


async def test_a_group_that_is_there_before_the_first_worker_gets_the_jobs(
    server: RedisServer, redis: redis_py.Redis, aredis: redis_async.Redis
) -> None:
    stream = await ensure_consumer_group(server.url, "mail")
    assert await ensure_consumer_group(aredis, "mail") == stream
    (group,) = redis.xinfo_groups(stream)
    assert (group["name"], group["last-delivered-id"]) == (b"workers", b"0-0")
    ran: list[object] = []

    async def work(job: Job[int]) -> None:
        ran.append(job.data)

    async with emitting(server.url) as emit:
        await emit("work", 7, queue="mail")
        async with working(server.url, {("mail", "work"): work}, lease=5.0):
            await aeventually(lambda: ran == [7])

    # The first worker still decided the lease.
    assert redis.hget(QueueView(redis, "mail").keys.meta, "lease") == b"5000"


@pytest.mark.foreign_keys
async def test_what_keeps_a_group_from_being_made_is_told(
    server: RedisServer, redis: redis_py.Redis
) -> None:
    redis.set(QueueView(redis).lane(), "somebody else's")
    redis.hset(QueueView(redis, "newer").keys.meta, "layout", "2")

    with pytest.raises(TaskManagerError, match="queue 'default' cannot be opened: WRONGTYPE"):
        await ensure_consumer_group(server.url)
    with pytest.raises(TaskManagerError, match=r"queue 'newer' .* 2"):
        await ensure_consumer_group(server.url, "newer")
    with pytest.raises(RedisUnavailable, match=r"127\.0\.0\.1:1"):
        await ensure_consumer_group(UNREACHABLE)
    with pytest.raises(InvalidInput, match=r"type 'event\.x' is not allowed"):
        await ensure_consumer_group(server.url, type="event.x")
