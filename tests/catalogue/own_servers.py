"""Servers of a test alone, and what Redis says of itself."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import redis as redis_py

from tests.support.servers import RedisServer

Start = Callable[..., RedisServer]


def facts(redis: redis_py.Redis, section: str) -> dict[str, Any]:
    """Return a section of what the server says of itself."""
    return cast("dict[str, Any]", redis.info(section))


def refusals(redis: redis_py.Redis, kind: str) -> int:
    """Return how often the server has refused a command with this error."""
    stats = facts(redis, "errorstats").get(f"errorstat_{kind}", {"count": 0})
    return int(stats["count"])


def calls(redis: redis_py.Redis, *commands: str) -> int:
    """Return how often commands were called since the statistics were reset."""
    stats = facts(redis, "commandstats")
    return sum(stats.get(f"cmdstat_{it}", {"calls": 0})["calls"] for it in commands)
