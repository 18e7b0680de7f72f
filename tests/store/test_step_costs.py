"""What each step of a job costs Redis beside a plain loop on a stream, in the same run.

What a later feature adds to a step is seen here: the bounds are what is used, without slack in
commands. Processor time is measured, not tested: see "What a job costs Redis" in
docs/performance.md.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import pytest
import redis as redis_py

from benchmarks.steps import EMIT, READ, SETTLE, Steps, both_sides
from tests.support.counting import Cost, cost_of
from tests.support.servers import RedisServer

WAITING = 100_000
# Numbers of several digits: of jobs, of batches, of lengths, and those that Redis tells us.
DIGITS = 60

Sides = tuple[Steps, Steps]


@pytest.fixture
def sides(server: RedisServer) -> Iterator[Sides]:
    """Ours and the plain loop, which have the same data and results of the same size."""
    with both_sides(server.port) as found:
        yield found[""], found["plain_"]


def both(redis: redis_py.Redis, sides: Sides, step: str, number: int) -> tuple[Cost, Cost]:
    """Take a step on both sides; return what ours has cost, and the plain one."""
    ours, plain = (cost_of(redis, partial(getattr(it, step), number)) for it in sides)
    return ours, plain


@pytest.mark.parametrize("number", [1, EMIT])
def test_an_emit_takes_two_commands_more_per_job_and_nine_per_batch(
    redis: redis_py.Redis, sides: Sides, number: int
) -> None:
    ours, plain = both(redis, sides, "emit", number)

    # Per job HGET and HSET of the index. Per batch EVALSHA, GET and SET of the writer's door,
    # HMGET and HSET of the generation, TIME, ZSCORE of the lane, HGET and HINCRBY of the counters.
    assert ours.commands <= plain.commands + 2 * number + 9
    # The digest of the script, six keys and the batch's number and digest take some 400 bytes.
    # A job has an id of 22 and a bucket; a plain one has the words of its XADD.
    assert ours.read <= plain.read + 400 + DIGITS - 2 * number
    # One word per job instead of the entry.
    assert ours.written <= plain.written + DIGITS


def test_a_read_takes_no_command_more_and_twice_the_bytes(
    redis: redis_py.Redis, sides: Sides
) -> None:
    both(redis, sides, "emit", READ)

    ours, plain = both(redis, sides, "read", READ)

    assert ours.commands == plain.commands == 1
    # The longer name of the lane.
    assert ours.read <= plain.read + 40
    # Head 30, id 22, event 4, no options, the names of these, and the lengths of eight texts.
    assert ours.written <= plain.written + 125 * READ


@pytest.mark.parametrize(("number", "per_batch"), [(1, 11), (SETTLE, 14)])
def test_a_settle_takes_two_commands_more_per_job_and_some_per_batch(
    redis: redis_py.Redis, sides: Sides, number: int, per_batch: int
) -> None:
    # One more runs: their lane is not empty afterwards, and none of them is the last that it gave.
    both(redis, sides, "emit", number + 1)
    both(redis, sides, "read", number + 1)

    ours, plain = both(redis, sides, "settle", number)

    # Per job HGET and HDEL of the index. Per batch EVALSHA, GET and SET of the writer's door, HMGET
    # of the generation, TIME, EXISTS of what is waited for and cancelled, XPENDING of the entries,
    # XLEN and XINFO of the lane, HGET and HINCRBY of the counters; for many jobs two XPENDING and
    # an XINFO more, to see that XTRIM takes only them.
    assert ours.commands <= plain.commands + 2 * number + per_batch
    # As in an emit, with eight keys. A plain job sends its entry three times, of 15 to 18 bytes,
    # and a SET with all its words.
    assert ours.read <= plain.read + 500 + DIGITS - 66 * number
    # A digit per job instead of "+OK".
    assert ours.written <= plain.written + DIGITS


def test_a_waiting_job_takes_150_bytes_more_of_memory(redis: redis_py.Redis, sides: Sides) -> None:
    used: list[float] = []
    for steps in sides:
        before = memory(redis)
        for _ in range(WAITING // EMIT):
            steps.emit(EMIT)
        used.append((memory(redis) - before) / WAITING)

    ours, plain = used
    # 68 in its entry, the rest in the index of live ids. Seen: 147 to 153.
    assert ours <= plain + 160


def memory(redis: redis_py.Redis) -> int:
    return int(redis.info("memory")["used_memory"])
