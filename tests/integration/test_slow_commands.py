"""The watch for slow commands: it finds what is slow and forgives what was only preempted."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator

import pytest
import redis as redis_py

from tests.support.processes import Spawner
from tests.support.servers import RedisServer
from tests.support.slow_commands import SlowCommand, watching_slow_commands

SPIN = "local n = 0 for i = 1, tonumber(ARGV[1]) do n = n + i end return n"
NEIGHBOURS = 3


def rounds_for(redis: redis_py.Redis, ms: float) -> int:
    """Return how many rounds keep the server at work for at least so long, and at most twice."""
    rounds = 10_000
    while worked_by(redis, rounds) < ms:
        rounds *= 2
    return rounds


def worked_by(redis: redis_py.Redis, rounds: int) -> float:
    """Return how long (ms) the server had a processor while it computed."""
    before = cpu_ms(redis)
    redis.eval(SPIN, 0, rounds)
    return cpu_ms(redis) - before


def cpu_ms(redis: redis_py.Redis) -> float:
    used = redis.info("cpu")
    return (float(used["used_cpu_user"]) + float(used["used_cpu_sys"])) * 1000


def test_a_command_that_is_slow_by_itself_is_found_and_not_explained(
    server: RedisServer, redis: redis_py.Redis
) -> None:
    rounds = rounds_for(redis, ms=200)

    with watching_slow_commands(server, above_ms=20) as slow:
        redis.eval(SPIN, 0, rounds)

    (found,) = slow.unexplained
    assert found.name.startswith("EVAL")
    assert found.took > 150


@pytest.fixture
def crowded(server: RedisServer, spawn: Spawner) -> Iterator[None]:
    """Let the server share one processor with others that never rest."""
    if sys.platform != "linux":
        pytest.skip("only Linux says which processor a process runs on")
    mine = os.sched_getaffinity(server.pid)
    one = {min(mine)}
    for _ in range(NEIGHBOURS):
        os.sched_setaffinity(spawn.python("-c", "while True: pass").pid, one)
    os.sched_setaffinity(server.pid, one)
    yield
    os.sched_setaffinity(server.pid, mine)


@pytest.mark.usefixtures("crowded")
def test_a_command_that_was_only_preempted_is_found_and_explained(
    server: RedisServer, redis: redis_py.Redis
) -> None:
    rounds = rounds_for(redis, ms=40)

    with watching_slow_commands(server, above_ms=100) as slow:
        for _ in range(5):
            redis.eval(SPIN, 0, rounds)

    # With a quarter of a processor they took four times as long.
    assert slow.found
    assert slow.unexplained == []


@pytest.mark.parametrize(
    ("took", "worked", "waited", "explained"),
    [
        (25.0, 24.0, 0.5, False),
        (25.0, 24.0, 6.0, True),
        (25.0, 12.0, 0.0, True),
        (90.0, 60.0, 60.0, False),
    ],
)
def test_a_slow_command_is_explained_by_the_little_that_was_done_or_by_the_wait(
    took: float, worked: float, waited: float, explained: bool
) -> None:
    assert SlowCommand("eval", took, worked, waited).is_explained(20) is explained
