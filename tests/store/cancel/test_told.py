"""cancel.lua on real Redis: who waits is told, keys expire, and the backlog stays known."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from redis.exceptions import ResponseError

from consumers.jobs import guards
from consumers.jobs.outcome import Cancelled, Completed, Released
from tests.store.cancel.jobs import (
    CHANNEL,
    HOUR_MS,
    LATER,
    LONG_AGO_MS,
    debounced,
    delayed,
    result,
    retrying,
    sweep,
    wait_for_its_end,
)
from tests.support.queue import OTHER, Queue, listening, new_job
from tests.support.servers import RedisServer

DAY_MS = 24 * HOUR_MS
KEY = guards.idempotent("key")

# Who waits, and the idempotency key


def running(queue: Queue, **job: Any) -> None:
    queue.one(new_job(**job))


def waiting(queue: Queue, **job: Any) -> None:
    queue.emit(new_job(**job))


@pytest.mark.parametrize("place", [waiting, delayed, retrying, debounced])
def test_who_waits_for_a_cancelled_jobs_end_is_told(
    queue: Queue, place: Callable[..., None]
) -> None:
    place(queue)
    wait_for_its_end(queue)

    with listening(queue.redis, CHANNEL) as told:
        queue.cancel()

    assert told == [f"{queue.keys.base} a 1 cancelled cancelled"]
    assert not queue.redis.exists(queue.keys.waiters)


def test_who_waits_for_a_running_jobs_end_is_told_when_it_has_ended(queue: Queue) -> None:
    delivery = queue.one()
    wait_for_its_end(queue)

    with listening(queue.redis, CHANNEL) as told:
        queue.cancel()
    assert told == []
    with listening(queue.redis, CHANNEL) as told:
        queue.settle((delivery, Completed(b"1")))
    assert told == [f"{queue.keys.base} a 1 cancelled cancelled"]


@pytest.mark.parametrize("place", [waiting, delayed, retrying, debounced])
def test_no_result_is_kept_where_results_are_kept_elsewhere(
    queue: Queue, place: Callable[..., None]
) -> None:
    place(queue)

    assert queue.cancel(result_ttl_ms=0) == ("cancelled", 1)

    assert (result(queue), queue.pointer()) == (None, None)


@pytest.mark.parametrize("place", [waiting, running, delayed])
@pytest.mark.parametrize("ttl", [9_300_000_000_000_000, -1, 10**30])
def test_a_time_to_live_that_redis_refuses_cancels_nothing(
    queue: Queue, place: Callable[..., None], ttl: int
) -> None:
    place(queue)
    before = queue.snapshot()

    with pytest.raises(ResponseError, match="not a time to live"):
        queue.cancel(result_ttl_ms=ttl)

    assert queue.snapshot() == before


def key_ttl(queue: Queue) -> int:
    ttl: int = queue.redis.pttl(queue.keys.idempotency("key"))
    return ttl


@pytest.mark.parametrize("place", [waiting, delayed, retrying])
def test_the_idempotency_key_of_a_cancelled_job_expires_a_day_later(
    queue: Queue, place: Callable[..., None]
) -> None:
    place(queue, guard=KEY)
    assert key_ttl(queue) == -1

    queue.cancel()

    assert DAY_MS - 60_000 < key_ttl(queue) <= DAY_MS


def test_the_idempotency_key_of_a_running_job_expires_a_day_after_it_has_ended(
    queue: Queue,
) -> None:
    delivery = queue.one(new_job(guard=KEY))

    queue.cancel()
    assert key_ttl(queue) == -1
    queue.settle((delivery, Completed()))

    assert DAY_MS - 60_000 < key_ttl(queue) <= DAY_MS


def test_the_key_of_a_run_that_is_being_cancelled_stands_as_it_does_when_that_has_ended(
    queue: Queue,
) -> None:
    old = queue.one(new_job("a", guard=KEY))
    queue.cancel()
    assert queue.emit(new_job("b", guard=KEY)) == ["~1:a"]

    queue.settle((old, Completed()))

    assert queue.emit(new_job("b", guard=KEY)) == ["~1:a"]
    assert DAY_MS - 60_000 < key_ttl(queue) <= DAY_MS


def test_the_key_of_a_cancelled_run_expires_although_its_id_was_emitted_anew_without_it(
    queue: Queue,
) -> None:
    old = queue.one(new_job("a", guard=KEY))
    queue.cancel()
    assert queue.emit(new_job("a")) == ["+2"]

    queue.settle((old, Completed()))

    assert DAY_MS - 60_000 < key_ttl(queue) <= DAY_MS


def test_a_run_that_was_emitted_without_a_key_does_not_stand_for_one_with_it(
    queue: Queue,
) -> None:
    queue.one(new_job("a", guard=KEY))
    queue.cancel()
    queue.emit(new_job("a"))

    assert queue.emit(new_job("b", guard=KEY)) == ["+3"]


# The backlog that autoscalers read


def test_the_lag_of_a_group_stays_known_through_every_cancellation(
    queue: Queue, server: RedisServer
) -> None:
    if server.version < (7, 0):
        pytest.skip("Redis 6.2 has no lag")

    def is_known() -> bool:
        return None not in queue.lags()

    queue.emit(*(new_job(it) for it in "abcdefgh"), new_job("later", due=LATER))
    # 7.0 does not know the lag while the entry that was delivered last is deleted before
    # an earlier one: that one goes first.
    back, runs = queue.deliver(count=2)
    queue.settle((back, Released("stop")))
    for job_id in ("a", "b", "c", "e", "h", "later"):
        assert queue.cancel(job_id)[0] != "too_late"
        assert is_known()
    assert queue.settle((runs, Completed())) == ["C"]
    assert is_known()

    for delivery in (*queue.deliver(front=True), *queue.deliver(count=3)):
        queue.settle((delivery, Completed()))
        assert is_known()
    expired, *rest = queue.deliver(consumer=OTHER)
    queue.age(expired, LONG_AGO_MS)
    sweep(queue)
    expired.count = 2
    queue.settle((expired, Cancelled("expired")))
    assert is_known()
    assert queue.settle(*((it, Completed()) for it in rest), consumer=OTHER) == ["1", "C"]

    assert set(queue.lags()) == {0}
    assert (queue.ids(), queue.marks()) == ([], (set(), set()))
