"""What scripts write is whole where their user may not publish: messages are hints."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
import redis as redis_py

from consumers.jobs.lanes import Lane
from consumers.jobs.outcome import Buried, Cancelled, Completed, Outcome, RetryAt
from consumers.store import asking, scheduling, tending
from consumers.store.settling import Settlement
from tests.support.queue import Queue, new_job
from tests.support.servers import RedisServer

HOUR_MS = 3_600_000
WAITER = "tm:{default}:results:me"
OTHER_LANE = Lane("default", priority=5)


@pytest.fixture
def mute(server: RedisServer, redis: redis_py.Redis) -> Iterator[Queue]:
    """The queue for a user who may do everything but publish."""
    rules = ("reset", "on", ">pw", "~*", "+@all", "resetchannels", "&nothing")
    redis.execute_command("ACL", "SETUSER", "mute", *rules)
    with server.client(username="mute", password="pw") as client:
        yield Queue(client)
    redis.execute_command("ACL", "DELUSER", "mute")


def wait_for(queue: Queue, job_id: str = "a") -> None:
    queue.run(asking.inspect(queue.keys, job_id, channel=WAITER, waiter_ttl_ms=HOUR_MS))


ENDS = [Completed(b"1"), Buried("failed"), Cancelled("not wanted")]


@pytest.mark.parametrize("outcome", ENDS, ids=lambda it: type(it).__name__)
def test_a_job_that_is_waited_for_ends_whole_and_so_do_its_neighbours(
    mute: Queue, outcome: Outcome
) -> None:
    jobs = [mute.one(new_job(name)) for name in "abc"]
    wait_for(mute)
    children = [new_job("near"), new_job("late", due=f"+{HOUR_MS}"), new_job("far", queue="other")]
    first = Settlement(jobs[0], outcome, children if isinstance(outcome, Completed) else ())

    words = mute.settle(first, (jobs[1], outcome), (jobs[2], outcome))

    assert words == ["1"] * 3
    assert mute.redis.get(mute.keys.result("a")).startswith(b"1 ")
    assert mute.pointer("a") is None
    if isinstance(outcome, Completed):
        assert mute.ids() == ["near"]
        assert list(mute.put_off()) == ["late"]
        assert mute.redis.xlen(mute.keys.outbox) == 1


def test_a_retry_is_put_off(mute: Queue) -> None:
    delivery = mute.one()

    assert mute.settle((delivery, RetryAt(HOUR_MS))) == ["1"]

    assert list(mute.put_off()) == ["a"]


def test_a_waiting_job_that_is_waited_for_is_cancelled_and_marked(mute: Queue) -> None:
    mute.emit(new_job("a"))
    wait_for(mute)

    assert mute.cancel() == ("cancelled", 1)

    assert len(mute.marks()[0]) == 1
    assert mute.end() == b"1 cancelled cancelled"


def test_a_running_job_is_marked_as_cancelled(mute: Queue) -> None:
    mute.one()

    assert mute.cancel() == ("requested", 1)

    assert len(mute.marks()[1]) == 1


def test_lanes_come_and_go(mute: Queue) -> None:
    assert mute.emit(new_job("a", priority=5)) == ["+1"]
    assert mute.settle((mute.deliver(OTHER_LANE)[0], Completed())) == ["1"]

    assert mute.run(tending.retire(mute.keys, OTHER_LANE, -HOUR_MS)) == 1


@pytest.mark.parametrize("change", [Queue.pause, Queue.resume])
def test_pauses_change(mute: Queue, change: Callable[[Queue], int]) -> None:
    assert change(mute) == 1


def test_a_schedule_is_registered_paused_and_resumed(mute: Queue) -> None:
    slot = mute.now_ms() + HOUR_MS
    assert mute.register(slot=slot) == ("created", slot)

    mute.run(scheduling.pause(mute.keys, "s", why="by hand"))
    mute.run(scheduling.resume(mute.keys, "s", slot, digest="d1"))

    schedule = mute.schedule()
    assert schedule is not None
    assert (schedule.paused, schedule.slot) == (None, slot)
