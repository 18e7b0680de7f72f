"""Routes as they lie in Redis: a definition, and lanes with jobs."""

from __future__ import annotations

import redis as redis_py

from consumers.jobs.lanes import Lane
from consumers.jobs.routes import Route
from consumers.store.keys import Keys


def define(redis: redis_py.Redis, route: Route, *, queue: str = "default") -> None:
    """Write the definition of a route."""
    redis.hset(Keys(queue).routes, route.name, route.json)


def fill(
    redis: redis_py.Redis, name: str, *, priority: int = 0, jobs: int = 1, taken: int = 0
) -> str:
    """Put some jobs into a lane, of which a worker has taken some; return the lane's name."""
    keys, lane = Keys("default"), Lane("default", name, "default", priority)
    for key in (keys.lane(lane), keys.front(lane)):
        redis.xgroup_create(key, lane.group, "0", mkstream=True)
    redis.zadd(keys.lanes, {lane.name: priority})
    for n in range(jobs):
        redis.xadd(keys.lane(lane), {"id": n})
    if taken:
        redis.xreadgroup(lane.group, "somebody", {keys.lane(lane): ">"}, count=taken)
    return lane.name
