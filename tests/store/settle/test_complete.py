"""settle.lua on real Redis: completed jobs, their results and their children."""

from __future__ import annotations

import pytest
from redis.exceptions import ResponseError

from consumers.jobs.envelope import NewJob
from consumers.jobs.lanes import MAX_LANES, Lane
from consumers.jobs.outcome import Buried, Completed
from consumers.store import settling
from consumers.store.settling import Settlement
from tests.store.settle.outcomes import open_lanes
from tests.support.queue import ME, OTHER, RESULT_TTL_MS, Queue, new_job


def test_g3_a_completed_job_leaves_its_lane_and_the_index_and_its_result_appears(
    queue: Queue,
) -> None:
    delivery = queue.one()

    assert queue.settle((delivery, Completed(b'{"n":1}'))) == ["1"]

    assert queue.end() == b'1 completed {"n":1}'
    assert 0 < queue.redis.pttl(queue.keys.result("a")) <= RESULT_TTL_MS
    assert queue.pending(delivery) is None
    assert queue.ids() == []
    assert queue.pointer() is None
    assert queue.stat("completed") == 1


def test_a_result_ttl_of_zero_stores_no_result(queue: Queue) -> None:
    delivery = queue.one()

    assert queue.settle((delivery, Completed(b"1")), result_ttl_ms=0) == ["1"]

    assert not queue.redis.exists(queue.keys.result("a"))


def test_a_foreign_value_in_place_of_a_result_is_replaced(queue: Queue) -> None:
    queue.redis.rpush(queue.keys.result("a"), "somebody else's")
    delivery = queue.one()

    assert queue.settle((delivery, Completed(b"1"))) == ["1"]

    assert queue.end() == b"1 completed 1"


@pytest.mark.parametrize("ttl", [9_300_000_000_000_000, -1, 10**30])
def test_a_time_to_live_that_redis_refuses_settles_nothing(queue: Queue, ttl: int) -> None:
    delivery = queue.one()
    before = queue.snapshot()

    with pytest.raises(ResponseError, match="not a time to live"):
        queue.settle((delivery, Completed(b"1")), result_ttl_ms=ttl)

    assert queue.snapshot() == before


def test_completing_an_overtaken_generation_leaves_the_newer_one_in_the_index(
    queue: Queue,
) -> None:
    old = queue.one()
    queue.redis.hset(queue.keys.live("a"), "a", "garbage")
    queue.emit(new_job("a"))
    newer = queue.pointer()

    assert queue.settle((old, Completed())) == ["1"]

    assert queue.pointer() == newer
    assert newer is not None
    assert newer.startswith("2 ")


def test_g3_children_enter_in_the_step_that_completes_their_parent(queue: Queue) -> None:
    parent = queue.one()
    children = [new_job("x", "child", b"[1]"), new_job("y", "child", b"[2]", priority=3)]

    assert queue.settle(Settlement(parent, Completed(), children)) == ["1"]

    assert (queue.ids(), queue.ids(Lane("default", priority=3))) == (["x"], ["y"])
    (x,) = queue.deliver()
    assert (x.envelope.event, x.envelope.data, x.envelope.generation) == ("child", b"[1]", 2)
    assert queue.pointer("y") is not None
    assert queue.stat("emitted") == 3


def test_g3_children_do_not_enter_when_their_parent_was_taken_over(queue: Queue) -> None:
    parent = queue.one()
    queue.hand_over(parent, OTHER)
    before = queue.writes()

    assert queue.settle(Settlement(parent, Completed(), [new_job("child", priority=1)])) == ["0"]

    assert queue.writes() == before
    assert queue.stat("emitted") == 1


def test_a_child_may_have_its_parents_id(queue: Queue) -> None:
    parent = queue.one(new_job("a", data=b"1"))

    assert queue.settle(Settlement(parent, Completed(), [new_job("a", data=b"2")])) == ["1"]

    (again,) = queue.deliver()
    assert (again.envelope.id, again.envelope.data) == ("a", b"2")
    assert queue.pointer() == f"2 0 workers:default:0 {again.entry}"
    assert queue.end() == b"1 completed null"


def test_a_child_whose_id_lives_is_not_doubled(queue: Queue) -> None:
    parent = queue.one()
    queue.emit(new_job("x"))

    assert queue.settle(Settlement(parent, Completed(), [new_job("x"), new_job("y")])) == ["1"]

    assert queue.ids() == ["x", "y"]


TOO_MANY = {
    "one lane, no room": (MAX_LANES, [new_job("x", priority=50)]),
    "two lanes, room for one": (
        MAX_LANES - 1,
        [new_job("x", priority=50), new_job("y", priority=51)],
    ),
    "the second child's lane": (MAX_LANES, [new_job("x"), new_job("y", priority=51)]),
    "a child with its parent's id": (MAX_LANES, [new_job("a", priority=50)]),
}


@pytest.mark.parametrize(("lanes", "children"), TOO_MANY.values(), ids=TOO_MANY)
def test_children_that_need_a_33rd_lane_keep_their_parent_from_completing(
    queue: Queue, lanes: int, children: list[NewJob]
) -> None:
    parent = queue.one()
    open_lanes(queue, lanes)
    before = queue.writes()

    assert queue.settle(Settlement(parent, Completed(), children)) == ["L"]

    assert queue.writes() == before
    assert queue.pending(parent) == (ME, 1)
    assert queue.settle((parent, Buried("failed"))) == ["1"]


FITTING = {
    "two children, one lane": [new_job("x", priority=50), new_job("y", priority=50)],
    "a known lane": [new_job("x")],
    "a child that lives already": [new_job("x", priority=50), new_job("lane-0", priority=51)],
}


@pytest.mark.parametrize("children", FITTING.values(), ids=FITTING)
def test_children_that_fit_in_32_lanes_enter(queue: Queue, children: list[NewJob]) -> None:
    parent = queue.one()
    open_lanes(queue, MAX_LANES - 1)

    assert queue.settle(Settlement(parent, Completed(), children)) == ["1"]

    assert queue.redis.zcard(queue.keys.lanes) <= MAX_LANES
    assert all(queue.pointer(child.id) for child in children)


@pytest.mark.parametrize("number", [1, 20])
def test_a_run_of_which_nothing_is_told_has_its_result_alone(
    queue: Queue, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    monkeypatch.setattr(settling, "facts_of", lambda *_: "")
    queue.emit(*(new_job(f"job-{n}") for n in range(number)))

    queue.settle(*((it, Completed(b'"a b"')) for it in queue.deliver()))

    assert queue.redis.get(queue.keys.result("job-0")) == b'1 completed "a b"'
