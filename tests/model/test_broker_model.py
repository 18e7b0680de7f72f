"""The broker's transitions in any order: after each, Redis holds what the model holds.

The run is the same each time. ``SEED=random EXAMPLES=2000 pytest tests/model -k holds`` explores
further; SEED takes the number that it prints.
"""

from __future__ import annotations

import functools
import os
import random
from collections.abc import Iterator

import pytest
import redis as redis_py
from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis.stateful import run_state_machine_as_test
from redis.backoff import NoBackoff
from redis.exceptions import ResponseError
from redis.retry import Retry

from consumers.jobs.outcome import Completed
from consumers.store import emitting, leasing, relaying, replaying, scheduling, settling
from tests.model import state
from tests.model.machine import BrokerMachine
from tests.model.mutants import MUTANTS, Mutant
from tests.support.queue import GROUP, ME, Queue, new_job
from tests.support.servers import RedisServer, chosen

_SEED = os.environ.get("SEED", "")
_PROFILE = settings(
    max_examples=int(os.environ.get("EXAMPLES", "120")),
    stateful_step_count=50,
    deadline=None,
    derandomize=not _SEED,
    database=None,
    report_multiple_bugs=False,
    suppress_health_check=list(HealthCheck),
)
_BRIEF = settings(_PROFILE, max_examples=(_PROFILE.max_examples + 2) // 3)
# A mutant is to be noticed, not explained: to find the smallest example takes a minute.
_NOTICE = settings(_PROFILE, max_examples=1000, phases=[Phase.generate])


@pytest.fixture
def near(server: RedisServer, monkeypatch: pytest.MonkeyPatch) -> Iterator[redis_py.Redis]:
    """A client over the server's socket; its queues have room for few lanes."""
    for module in (emitting, relaying, replaying, scheduling, settling):
        monkeypatch.setattr(module, "MAX_LANES", state.MAX_LANES)
    for module in (replaying, settling):
        monkeypatch.setattr(module, "MAX_EVENT_LANES", state.MAX_EVENT_LANES)
    with redis_py.Redis.from_url(
        server.unix_url, retry=Retry(NoBackoff(), 0), driver_info=None
    ) as client:
        yield client


def explore(redis: redis_py.Redis, profile: settings) -> None:
    """Run the machine; raises at the first step after which a law is broken."""

    machine = functools.partial(BrokerMachine, redis)
    if _SEED:
        number = random.getrandbits(32) if _SEED == "random" else int(_SEED)
        print(f"SEED={number}")
        machine = seed(number)(machine)
    run_state_machine_as_test(machine, settings=profile)


# Seconds. A failure takes some minutes to become small.
@pytest.mark.timeout(900)
def test_redis_holds_what_the_model_holds_after_every_step(
    near: redis_py.Redis, server: RedisServer
) -> None:
    # What the others do differently shows early; the transitions are the same.
    explore(near, _PROFILE if server.binary == chosen()[0] else _BRIEF)


@pytest.mark.parametrize("server", chosen()[:1], ids=lambda it: it.id, indirect=True)
@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda it: it.name)
def test_the_machine_notices_when(
    mutant: Mutant, near: redis_py.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    mutant.enter(monkeypatch)

    with pytest.raises((AssertionError, ResponseError)):
        explore(near, _NOTICE)


def test_a_solo_run_leaves_the_index_to_the_run_that_took_its_id_over(
    redis: redis_py.Redis,
) -> None:
    queue = Queue(redis)
    cancelled = queue.one(new_job("a"))
    queue.cancel("a")
    assert queue.emit(new_job("a")) == ["+2"]

    queue.run(leasing.solo(cancelled, ME, 2))

    assert queue.emit(new_job("a")) == ["=2"]
    assert queue.settle((cancelled, Completed())) == ["C"]
    assert queue.emit(new_job("a")) == ["=2"]


def test_a_run_that_is_cancelled_twice_is_counted_once(redis: redis_py.Redis) -> None:
    queue = Queue(redis)
    delivery = queue.one(new_job("a"))
    assert queue.cancel("a") == ("requested", 1)
    redis.xgroup_destroy(delivery.stream.key, GROUP)

    assert queue.cancel("a") == ("cancelled", 1)

    assert queue.stat("cancelled") == 1
    assert queue.marks() == ({f"{delivery.stream.name} {delivery.entry}"}, set())
