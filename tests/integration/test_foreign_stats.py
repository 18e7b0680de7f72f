"""What somebody else writes among a queue's lanes and counters does not hide the rest."""

from __future__ import annotations

import pytest
import redis as redis_py

from taskmanager import TaskManager
from tests.support.queue import Queue
from tests.support.servers import RedisServer

FOREIGN = ["foreign", "a:b", "workers:default:zero", "workers:default:0:front", b"\xff"]


@pytest.mark.parametrize("name", FOREIGN)
async def test_stats_pass_over_a_lane_that_is_none(
    server: RedisServer, redis: redis_py.Redis, name: str | bytes
) -> None:
    queue = Queue(redis)
    async with TaskManager(server.url) as tm:
        await tm.emit("work")
        redis.zadd(queue.keys.lanes, {name: 0})

        stats = await tm.stats()

    assert [it.name for it in stats.lanes] == ["workers:default:0"]
    assert stats.waiting == 1


@pytest.mark.parametrize("count", [b"abc", b"", b"1.5", b"\xff", b"\xd9\xa1"])
async def test_stats_pass_over_a_counter_that_is_none(
    server: RedisServer, redis: redis_py.Redis, count: bytes
) -> None:
    queue = Queue(redis)
    redis.hset(queue.keys.stats, mapping={"completed": 7, "dead": count, "mine": count})

    async with TaskManager(server.url) as tm:
        stats = await tm.stats()

    assert (stats.completed_total, stats.failed_total) == (7, 0)


async def test_a_queue_with_foreign_lanes_and_counters_is_drained_and_replayed(
    server: RedisServer, redis: redis_py.Redis
) -> None:
    queue = Queue(redis)
    redis.zadd(queue.keys.lanes, {"foreign": 0})
    redis.hset(queue.keys.stats, "dead", "many")

    async with TaskManager(server.url) as tm:
        await tm.drain()
        done = await tm.dlq.replay_all()

    assert done == (0, 0)
