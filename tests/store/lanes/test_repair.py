"""repair_lane.lua on real Redis: lost groups and lanes are made again."""

from __future__ import annotations

import pytest
from redis.exceptions import ResponseError

from consumers.jobs.lanes import Lane
from consumers.store import tending
from tests.store.lanes.steps import audit, groups, open_queue, repair, stream_keys, to_audit
from tests.support.queue import GROUP, ME, OTHER, Queue, foreign_value, new_job

HEALTHY: tuple[list[str], list[str]] = ([], [])


def epoch(queue: Queue) -> int:
    return int(queue.redis.hget(queue.keys.meta, "epoch") or 0)


def test_g1_a_lost_group_is_made_again_from_the_first_entry(queue: Queue) -> None:
    queue.emit(new_job("runs"), new_job("waits"))
    queue.deliver(count=1)
    queue.redis.xgroup_destroy(queue.stream().key, GROUP)
    before = epoch(queue)

    assert repair(queue) == ([queue.stream().key], [])

    assert [it.envelope.id for it in queue.deliver(consumer=OTHER)] == ["runs", "waits"]
    assert epoch(queue) == before + 1
    assert to_audit(queue) == f"0 {queue.lane.name}"


def test_a_deleted_lane_and_front_are_made_again(queue: Queue) -> None:
    queue.emit(new_job("a"))
    queue.redis.delete(*stream_keys(queue))

    assert repair(queue) == ([], stream_keys(queue))

    assert queue.emit(new_job("a")) == ["+2"]
    assert len(queue.deliver()) == 1
    assert to_audit(queue) == f"0 {queue.lane.name}"


def test_a_lane_that_was_deleted_and_emitted_to_seems_to_have_lost_its_group(queue: Queue) -> None:
    queue.emit(new_job("a"), new_job("b"))
    queue.redis.delete(queue.stream().key)
    queue.emit(new_job("b"))

    assert repair(queue) == ([queue.stream().key], [])

    assert audit(queue) == ["a"]


def test_a_lane_is_audited_once_with_others_and_from_the_start_again(queue: Queue) -> None:
    other = Lane("default", priority=3)
    queue.emit(new_job("a"), new_job("b", priority=3))
    for lane in (queue.lane, other, queue.lane):
        queue.redis.xgroup_destroy(queue.stream(lane).key, GROUP)
        queue.redis.hset(queue.keys.meta, "audit", (to_audit(queue) or "0").replace("0 ", "7 ", 1))
        repair(queue, lane)

    assert to_audit(queue) == f"0 {queue.lane.name} {other.name}"


def test_repairing_twice_or_a_healthy_lane_changes_nothing(queue: Queue) -> None:
    delivery = queue.one()
    queue.redis.xgroup_destroy(queue.stream(front=True).key, GROUP)
    repair(queue)
    before = queue.snapshot()

    assert repair(queue) == HEALTHY

    assert queue.snapshot() == before
    assert queue.pending(delivery) == (ME, 1)


def test_a_lane_that_is_not_listed_is_not_made(queue: Queue) -> None:
    open_queue(queue)
    before = queue.snapshot()

    assert repair(queue, Lane("default", priority=3)) == HEALTHY

    assert queue.snapshot() == before


def test_a_spoiled_epoch_keeps_no_lane_from_being_repaired_and_its_jobs_from_being_found(
    queue: Queue,
) -> None:
    queue.emit(new_job())
    queue.redis.hset(queue.keys.meta, "epoch", "spoiled")
    queue.redis.delete(queue.stream().key)

    queue.run(tending.repair(queue.keys, queue.lane, GROUP))

    assert audit(queue) == ["a"]


def test_the_epoch_still_grows_when_the_queues_properties_were_lost(queue: Queue) -> None:
    queue.emit(new_job("a"))
    before = epoch(queue)
    queue.redis.delete(queue.keys.meta)
    queue.redis.xgroup_destroy(queue.stream().key, GROUP)

    assert repair(queue) == ([queue.stream().key], [])

    assert epoch(queue) > before
    assert queue.redis.hget(queue.keys.meta, "layout") == b"1"


@pytest.mark.parametrize(("broken", "lost"), [(0, 1), (1, 0)], ids=["lane", "front"])
def test_a_foreign_value_in_one_stream_is_told_and_the_other_is_repaired_with_a_new_epoch(
    queue: Queue, broken: int, lost: int
) -> None:
    queue.emit(new_job("a"))
    keys = stream_keys(queue)
    queue.redis.xgroup_destroy(keys[lost], GROUP)
    before = epoch(queue)

    with (
        foreign_value(queue.redis, keys[broken]),
        pytest.raises(ResponseError, match="WRONGTYPE"),
    ):
        repair(queue)

    assert groups(queue, keys[lost]) == {GROUP: "0-0"}
    assert epoch(queue) == before + 1
    assert to_audit(queue) == f"0 {queue.lane.name}"
    assert repair(queue) == HEALTHY
