"""open_queue.lua on real Redis: the first worker decides, others change nothing."""

from __future__ import annotations

import pytest
from redis.exceptions import ResponseError

from tests.store.lanes.steps import LEASE_MS, groups, open_queue, stream_keys
from tests.support.queue import GROUP, ME, Queue


def test_a_workers_lane_is_opened_with_its_groups_at_the_start(queue: Queue) -> None:
    queue.redis.xadd(queue.stream().key, {"somebody": "else's"})

    epoch, lease = open_queue(queue)

    assert lease == LEASE_MS
    assert epoch == int(queue.redis.hget(queue.keys.meta, "epoch"))
    assert queue.redis.hget(queue.keys.meta, "layout") == b"1"
    assert queue.redis.zrange(queue.keys.lanes, 0, -1) == [b"workers:default:0"]
    assert [groups(queue, key) for key in stream_keys(queue)] == [{GROUP: "0-0"}] * 2


def test_the_first_worker_decides_the_lease_and_others_change_nothing(queue: Queue) -> None:
    first = open_queue(queue, 5_000)
    before = queue.snapshot()

    assert open_queue(queue, 60_000) == first

    assert queue.snapshot() == before


def test_a_queue_that_was_emitted_to_keeps_its_epoch_when_it_is_opened(queue: Queue) -> None:
    delivery = queue.one()
    queue.redis.hset(queue.keys.meta, "epoch", 7)

    assert open_queue(queue) == [7, LEASE_MS]
    assert queue.pending(delivery) == (ME, 1)


def test_a_queue_of_another_layout_is_not_opened(queue: Queue) -> None:
    queue.redis.hset(queue.keys.meta, "layout", "2")
    before = queue.snapshot()

    with pytest.raises(ResponseError, match="LAYOUT 2 1"):
        open_queue(queue)

    assert queue.snapshot() == before
