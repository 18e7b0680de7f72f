"""retire_lane.lua on real Redis: lanes that nobody uses go, and come back."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest
from redis.exceptions import ResponseError

from consumers.jobs.outcome import Completed, Released
from consumers.store import tending
from tests.store.lanes.steps import audit, open_queue, stream_keys, to_audit
from tests.support.queue import GROUP, ME, Queue, foreign_value, full_memory, new_job
from tests.support.waiting import eventually

UNUSED_MS = 60_000


def retire(queue: Queue, unused_ms: int = UNUSED_MS) -> int:
    retired: int = queue.run(tending.retire(queue.keys, queue.lane, unused_ms))
    return retired


def make_old(queue: Queue) -> None:
    """Leave an empty lane whose last entry is from 2001."""
    open_queue(queue)
    for key in stream_keys(queue):
        queue.redis.xadd(key, {"a": "b"}, id="1000000000000-0")
        queue.redis.xreadgroup(GROUP, ME, {key: ">"})
        queue.redis.xack(key, GROUP, "1000000000000-0")
        queue.redis.xdel(key, "1000000000000-0")


def test_an_empty_unused_lane_is_retired_with_its_front_and_can_come_back(queue: Queue) -> None:
    make_old(queue)

    assert retire(queue) == 1

    assert queue.redis.exists(*stream_keys(queue), queue.keys.lanes) == 0
    assert to_audit(queue) is None
    assert queue.emit(new_job("a")) == ["+1"]
    assert len(queue.deliver()) == 1


def test_retiring_a_lane_that_is_gone_leaves_nothing_behind(queue: Queue) -> None:
    make_old(queue)
    retire(queue)
    before = queue.snapshot()

    retire(queue)

    assert queue.snapshot() == before


@pytest.mark.parametrize("deleted", [(0,), (1,), (0, 1)], ids=["lane", "front", "both"])
def test_a_lane_whose_stream_somebody_deleted_is_retired_and_its_jobs_are_looked_for(
    queue: Queue, deleted: tuple[int, ...]
) -> None:
    lose_jobs(queue, deleted)

    assert retire(queue, unused_ms=0) == 1

    assert not queue.redis.exists(queue.keys.lanes)
    assert to_audit(queue) == f"0 {queue.lane.name}"
    assert audit(queue) == ["a"]
    assert queue.emit(new_job("a"))[0].startswith("+")


def lose_jobs(queue: Queue, deleted: Sequence[int] = (0,)) -> None:
    """Delete streams of the lane with a job in one of them; the others are empty."""
    queue.emit(new_job("a"))
    if 1 in deleted:
        queue.settle((queue.deliver()[0], Released("stop")))
    queue.redis.delete(*(stream_keys(queue)[at] for at in deleted))
    # An entry of this very millisecond counts as one that came after the last look.
    now = queue.now_ms()
    eventually(lambda: queue.now_ms() > now)


def test_the_jobs_of_a_deleted_stream_are_looked_for_in_full_memory(queue: Queue) -> None:
    lose_jobs(queue)

    with full_memory(queue.redis):
        assert retire(queue, unused_ms=0) == 1
        assert audit(queue) == ["a"]


def test_an_audit_under_way_looks_for_the_jobs_of_a_retired_lane_as_well(queue: Queue) -> None:
    queue.redis.hset(queue.keys.meta, "audit", "7 workers:default:9")
    lose_jobs(queue)

    retire(queue, unused_ms=0)

    assert to_audit(queue) == f"0 workers:default:9 {queue.lane.name}"


def test_where_no_audit_can_be_asked_for_a_lane_stays(queue: Queue) -> None:
    lose_jobs(queue)
    before = queue.snapshot()

    with (
        foreign_value(queue.redis, queue.keys.meta),
        pytest.raises(ResponseError, match="WRONGTYPE"),
    ):
        retire(queue, unused_ms=0)

    assert queue.snapshot() == before
    assert retire(queue, unused_ms=0) == 1


def waiting_in_the_lane(queue: Queue) -> None:
    queue.redis.xadd(queue.stream().key, {"a": "b"}, id="1000000000001-0")


def waiting_in_the_front(queue: Queue) -> None:
    queue.redis.xadd(queue.stream(front=True).key, {"a": "b"}, id="1000000000001-0")


def running(queue: Queue) -> None:
    waiting_in_the_lane(queue)
    queue.redis.xreadgroup(GROUP, ME, {queue.stream().key: ">"})


def running_but_deleted(queue: Queue) -> None:
    running(queue)
    queue.redis.xdel(queue.stream().key, "1000000000001-0")


def running_from_the_front_but_deleted(queue: Queue) -> None:
    waiting_in_the_front(queue)
    key = queue.stream(front=True).key
    queue.redis.xreadgroup(GROUP, ME, {key: ">"})
    queue.redis.xdel(key, "1000000000001-0")


def pending_in_another_group(queue: Queue) -> None:
    queue.redis.xgroup_create(queue.stream().key, "strangers", "0")
    waiting_in_the_lane(queue)
    queue.redis.xreadgroup("strangers", "one", {queue.stream().key: ">"})
    queue.redis.xdel(queue.stream().key, "1000000000001-0")


def used_a_moment_ago(queue: Queue) -> None:
    queue.settle((queue.one(), Completed()))


def released_a_moment_ago(queue: Queue) -> None:
    queue.settle((queue.one(), Released("stop")))
    queue.settle((queue.deliver(front=True)[0], Completed()))


@pytest.mark.parametrize(
    "use",
    [
        waiting_in_the_lane,
        waiting_in_the_front,
        running,
        running_but_deleted,
        running_from_the_front_but_deleted,
        pending_in_another_group,
        used_a_moment_ago,
        released_a_moment_ago,
    ],
)
def test_a_lane_in_use_is_not_retired(queue: Queue, use: Callable[[Queue], None]) -> None:
    make_old(queue)
    use(queue)
    before = queue.snapshot()

    assert retire(queue) == 0

    assert queue.snapshot() == before
