"""A dead letter is not replayed where its lane has no room: which error says so."""

from __future__ import annotations

import pytest
import redis as redis_py

from consumers.jobs.envelope import NewJob
from consumers.jobs.lanes import MAX_LANES
from consumers.jobs.outcome import Buried
from consumers.jobs.routes import MAX_ROUTES
from taskmanager import NotReplayable, TaskManager, TooManyLanes, TooManyRoutes
from tests.support.queue import Queue, new_job
from tests.support.routing import routed_job


def bury(queue: Queue, job: NewJob) -> None:
    """Let a job die, and its lane and what that requires go."""
    queue.settle((queue.one(job), Buried("failed", "Traceback", errors=b"[]")))
    queue.redis.zrem(queue.keys.lanes, job.lane.name)
    lane = queue.keys.lane(job.lane), queue.keys.front(job.lane)
    queue.redis.delete(*lane, queue.keys.routes)


async def test_a_letter_of_a_route_needs_room_among_the_routes(
    tm: TaskManager, redis: redis_py.Redis
) -> None:
    queue, dead = Queue(redis), routed_job(id="dead", priority=3)
    bury(queue, dead)
    for at in range(0, MAX_ROUTES, 128):
        some = range(at, at + 128)
        queue.emit(*(routed_job(id=f"j{n}", requires=[f"c{n}"]) for n in some))

    with pytest.raises(TooManyRoutes, match="already has 512 routes") as caught:
        await tm.dlq.replay("dead")

    assert (caught.value.queue, caught.value.lane) == ("default", dead.lane.name)
    assert await tm.dlq.get("dead") is not None
    with pytest.raises(NotReplayable, match="it has no dead letter"):
        await tm.dlq.replay("other")


async def test_any_other_letter_needs_room_among_the_lanes(
    tm: TaskManager, redis: redis_py.Redis
) -> None:
    queue, dead = Queue(redis), new_job("dead", priority=77)
    bury(queue, dead)
    queue.emit(*(new_job(f"j{n}", priority=n) for n in range(MAX_LANES)))

    with pytest.raises(TooManyLanes, match="already has 32 lanes") as caught:
        await tm.dlq.replay("dead")

    assert type(caught.value) is TooManyLanes
    assert caught.value.lane == dead.lane.name
