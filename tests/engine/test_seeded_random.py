"""The generator of the module random is the application's: it may seed it, and count on that."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest
import redis as redis_py

from consumers.connections.backoff import pause_before
from consumers.jobs.job import Job
from consumers.jobs.lanes import Lane
from consumers.upkeep.tour import Tour
from processors.retries.backoff import delay_ms
from processors.retries.retry import RetryPolicy
from tests.support.engine import QueueView, emitting, working
from tests.support.servers import RedisServer
from tests.support.waiting import aeventually

LANES = [Lane("q", f"event.e{n}") for n in range(1000)]


@pytest.mark.parametrize(
    "draw",
    [
        lambda: Tour().next(LANES, 10)[0],
        lambda: pause_before(9),
        lambda: delay_ms(1, base_ms=10**9, max_ms=10**9, jitter=True),
    ],
    ids=["the lanes of a round", "the pause while Redis is away", "the delay of a retry"],
)
def test_workers_whose_application_seeds_random_do_not_go_in_step(
    draw: Callable[[], object],
) -> None:
    drawn = set()
    for _ in range(20):
        random.seed(7)
        drawn.add(draw())

    assert len(drawn) > 1


async def test_a_worker_draws_nothing_from_the_applications_generator(
    server: RedisServer, redis: redis_py.Redis
) -> None:
    queue = QueueView(redis)
    runs: list[int] = []

    async def fail_once(job: Job[None]) -> None:
        runs.append(job.attempt)
        if len(runs) == 1:
            raise OSError("no")

    random.seed(7)
    before = random.getstate()
    retry = RetryPolicy(max_retries=1, retry_delay_ms=1, jitter=True)
    async with emitting(server.url) as emit, working(server.url, {"work": fail_once}, retry=retry):
        await emit("work")
        await aeventually(lambda: runs == [1, 2])
        await aeventually(queue.is_empty)

    assert random.getstate() == before
