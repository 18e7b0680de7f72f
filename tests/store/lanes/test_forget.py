"""forget_consumers.lua on real Redis: consumers that were not seen for long go."""

from __future__ import annotations

import pytest
from redis.exceptions import ResponseError

from consumers.jobs.outcome import Completed
from consumers.store import tending
from tests.support.queue import GROUP, ME, Queue, foreign_value, full_memory, new_job
from tests.support.servers import RedisServer
from tests.support.waiting import eventually


def forget(queue: Queue, unseen_ms: int = 0) -> int:
    forgotten: int = queue.run(tending.forget(queue.stream(), unseen_ms))
    return forgotten


def consumers(queue: Queue) -> set[str]:
    return {it["name"].decode() for it in queue.redis.xinfo_consumers(queue.stream().key, GROUP)}


@pytest.fixture
def seen(queue: Queue) -> Queue:
    """A queue with a consumer that holds a job and one that holds none."""
    queue.one()
    queue.settle((queue.one(new_job("b"), consumer="idle"), Completed()), consumer="idle")
    # Redis counts in ms since a consumer was last seen.
    eventually(lambda: min(_unseen(queue)) > 2)
    return queue


def _unseen(queue: Queue) -> list[int]:
    return [it["idle"] for it in queue.redis.xinfo_consumers(queue.stream().key, GROUP)]


def test_g1_a_consumer_with_pending_entries_is_never_forgotten(seen: Queue) -> None:
    assert forget(seen) == 1

    assert consumers(seen) == {ME}
    assert forget(seen) == 0
    assert len(seen.redis.xpending_range(seen.stream().key, GROUP, "-", "+", 10)) == 1


def test_a_consumer_seen_lately_is_not_forgotten(seen: Queue) -> None:
    before = seen.snapshot()

    assert forget(seen, unseen_ms=60_000) == 0

    assert seen.snapshot() == before
    assert consumers(seen) == {ME, "idle"}


def test_forgetting_in_full_memory_works_or_changes_nothing(
    seen: Queue, server: RedisServer
) -> None:
    before = seen.snapshot()

    with full_memory(seen.redis):
        if server.version < (7, 0):
            # 6.2 counts every form of XGROUP among the commands that need memory.
            with pytest.raises(ResponseError, match="OOM"):
                forget(seen)
            assert consumers(seen) == {ME, "idle"}
        else:
            assert forget(seen) == 1

    assert seen.snapshot() == before


def test_forgetting_in_a_lane_that_is_foreign_or_has_no_group_is_an_error(seen: Queue) -> None:
    with (
        foreign_value(seen.redis, seen.stream().key),
        pytest.raises(ResponseError, match="WRONGTYPE"),
    ):
        forget(seen)
    assert consumers(seen) == {ME, "idle"}

    seen.redis.xgroup_destroy(seen.stream().key, GROUP)
    with pytest.raises(ResponseError, match="NOGROUP"):
        forget(seen)
