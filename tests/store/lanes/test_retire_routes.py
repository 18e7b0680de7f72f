"""retire_lane.lua and what routes require: that goes with the last lane of its route."""

from __future__ import annotations

import pytest

from consumers.jobs.envelope import NewJob
from consumers.store import tending
from tests.support.queue import GROUP, Queue, foreign_value, new_job
from tests.support.routing import defined, routed_job

UNUSED_MS = 60_000
GPU, CPU = routed_job("e"), routed_job("e", id="b", requires=["cpu"])
DEFINITION = '{"event":"e","requires":["gpu"]}'


def retire_lane_of(queue: Queue, job: NewJob) -> int:
    """Retire the lane of a job as if none was ever in it."""
    for key in (queue.stream(job.lane).key, queue.stream(job.lane, front=True).key):
        queue.redis.delete(key)
        queue.redis.xgroup_create(key, GROUP, "0", mkstream=True)
    retired: int = queue.run(tending.retire(queue.keys, job.lane, UNUSED_MS))
    return retired


def test_what_other_routes_require_stays(queue: Queue) -> None:
    queue.emit(GPU, CPU)

    assert retire_lane_of(queue, CPU) == 1

    assert defined(queue.redis) == {GPU.lane.type: DEFINITION}


@pytest.mark.parametrize(
    "other",
    [
        routed_job("e", id="c", priority=1),
        routed_job("e", id="c", partition="tenant"),
        routed_job("e", id="c")._replace(lane=GPU.lane.for_event("e")),
        routed_job("e", id="c")._replace(lane=GPU.lane.for_event("e", 3)),
    ],
    ids=["priority", "partition", "event", "version"],
)
def test_what_a_route_requires_stays_as_long_as_it_has_another_lane(
    queue: Queue, other: NewJob
) -> None:
    queue.emit(GPU, other)

    assert retire_lane_of(queue, GPU) == 1
    assert defined(queue.redis) == {GPU.lane.type: DEFINITION}

    assert retire_lane_of(queue, other) == 1
    assert defined(queue.redis) == {}


def test_what_was_left_of_lanes_that_somebody_took_off_the_list_goes_along(queue: Queue) -> None:
    queue.emit(GPU, CPU, routed_job("e", id="c", requires=["ssd"]))
    for job in (GPU, CPU):
        queue.redis.zrem(queue.keys.lanes, job.lane.name)
    assert len(defined(queue.redis)) == 3

    assert retire_lane_of(queue, routed_job("e", requires=["ssd"])) == 1

    assert defined(queue.redis) == {}


def test_a_lane_of_a_type_that_goes_takes_nothing_along(queue: Queue) -> None:
    queue.emit(GPU, new_job("plain", priority=1))
    queue.redis.zrem(queue.keys.lanes, GPU.lane.name)

    assert retire_lane_of(queue, new_job(priority=1)) == 1

    assert defined(queue.redis) == {GPU.lane.type: DEFINITION}


def test_a_foreign_value_in_their_place_keeps_no_lane(queue: Queue) -> None:
    queue.emit(GPU)

    with foreign_value(queue.redis, queue.keys.routes):
        assert retire_lane_of(queue, GPU) == 1
        assert queue.redis.get(queue.keys.routes) == b"somebody else's"
