"""Scripts in another dialect on real Redis: their clock, and how results are told."""

from __future__ import annotations

import dataclasses

import pytest
import redis as redis_py

from consumers.jobs.outcome import Completed
from consumers.store import asking, settling, tending
from consumers.store.scripts import Call, Dialect, Script, load
from consumers.store.settling import Settlement
from tests.support.queue import BOUNDS, ME, RESULT_TTL_MS, Queue, new_job
from tests.support.servers import RedisServer
from tests.support.waiting import PATIENCE

HOUR_MS = 3_600_000


@pytest.fixture
def queue(redis: redis_py.Redis) -> Queue:
    return Queue(redis)


def in_other_words(call: Call, script: Script) -> Call:
    return dataclasses.replace(call, script=script)


def test_a_result_is_told_to_the_channel_of_a_shard(queue: Queue, server: RedisServer) -> None:
    if server.version < (7, 0):
        pytest.skip("channels of shards came with Redis 7.0")
    settle = load("settle", dialect=Dialect(publish="SPUBLISH"))
    delivery, channel = queue.one(), queue.keys.results("w")
    waits = asking.inspect(queue.keys, "a", channel=channel, waiter_ttl_ms=HOUR_MS)
    queue.run(waits)
    ends = [Settlement(delivery, Completed(b"5"))]
    items = settling.settle_items(queue.keys, ME, RESULT_TTL_MS, ends, BOUNDS)

    with queue.redis.pubsub() as listener:
        listener.ssubscribe(channel)
        confirmed = listener.get_message(timeout=PATIENCE)
        assert queue.run(in_other_words(queue.numbered(items), settle)) == b"1"
        told = listener.get_message(timeout=PATIENCE)

    assert (confirmed["type"], told["type"]) == ("ssubscribe", "smessage")
    assert told["data"] == f"{queue.keys.base} a 1 completed 5".encode()


def test_with_a_clock_an_hour_ahead_a_lane_used_now_is_no_old_one(queue: Queue) -> None:
    ahead = Dialect(now=f"server_ms() + {HOUR_MS}")
    queue.settle((queue.one(), Completed()))

    retire = in_other_words(
        tending.retire(queue.keys, queue.lane, 60_000), load("retire_lane", dialect=ahead)
    )

    # Entry ids are the server's: nobody's clock may make them older.
    assert queue.run(retire) == 0


def test_with_a_clock_an_hour_ahead_a_job_is_due_an_hour_earlier(queue: Queue) -> None:
    queue.emit(new_job(due=f"+{HOUR_MS // 2}"))
    ahead = load("promote", dialect=Dialect(now=f"server_ms() + {HOUR_MS}"))

    moved, _ = queue.run(in_other_words(tending.promote(queue.keys, 10), ahead))

    assert moved == 1
    assert queue.ids() == ["a"]
