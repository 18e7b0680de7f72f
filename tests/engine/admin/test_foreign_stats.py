"""What somebody else writes among a queue's lanes and counters does not hide the rest."""

from __future__ import annotations

import pytest
import redis as redis_py

from consumers.jobs.outcome import Released
from taskmanager import TaskManager
from tests.support.queue import Queue, new_job
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


async def test_stats_list_the_lanes_of_types_and_events_from_the_highest_priority_down(
    server: RedisServer, redis: redis_py.Redis
) -> None:
    queue = Queue(redis)
    for n, priority in enumerate((3, 1)):
        delivery = queue.one(new_job(f"job-{n}", priority=priority))
        queue.settle((delivery, Released("no handler", event="e")))
    queue.emit(new_job("low", priority=-2))

    async with TaskManager(server.url) as tm:
        stats = await tm.stats()

    assert [it.name for it in stats.lanes] == [
        "workers:default:3", "event.e:default:3", "workers:default:1", "event.e:default:1",
        "workers:default:-2",
    ]  # fmt: skip
