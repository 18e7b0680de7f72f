"""Short ways to look at a queue in tests of the public API."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import redis as redis_py

from consumers.store.keys import Keys
from taskmanager import TaskManager
from tests.support.queue import without_facts
from tests.support.servers import RedisServer
from tests.support.waiting import PATIENCE

KEYS = Keys("default")
ROOT = Path(__file__).parents[2]


def letters(redis: redis_py.Redis) -> list[str]:
    """Return the errors of the dead letters, oldest first."""
    entries: Any = redis.xrange(KEYS.dead)
    return [fields.get(b"error", b"").decode() for _, fields in entries]


def result(redis: redis_py.Redis, job_id: str) -> bytes:
    """Return how a job ended as it is stored, without the facts of its run; empty without one."""
    stored: Any = redis.get(KEYS.result(job_id))
    return without_facts(stored) if stored else b""


def waiting(redis: redis_py.Redis, queue: str = "default") -> int:
    """Return how many jobs lie in the lanes of a queue."""
    keys = Keys(queue)
    lanes: Any = redis.zrange(keys.lanes, 0, -1)
    return sum(int(redis.xlen(f"{keys.base}lane:{name.decode()}")) for name in lanes)


async def run_all(tm: TaskManager) -> None:
    """Run what is there, to its end."""
    await tm.start()
    await tm.until_idle()


def python(script: str, server: RedisServer) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-W", "ignore::DeprecationWarning", "-c", script, server.url],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=2 * PATIENCE,
        check=False,
    )
