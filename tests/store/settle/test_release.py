"""settle.lua on real Redis: jobs are handed back to the front of their lane."""

from __future__ import annotations

import pytest

from consumers.jobs.lanes import MAX_LANES, Lane
from consumers.jobs.outcome import Released
from consumers.store import leasing, settling
from tests.store.settle.outcomes import open_lanes
from tests.support.queue import GROUP, ME, Queue, new_job


def test_released_jobs_lie_in_their_lanes_front_in_order(queue: Queue) -> None:
    queue.emit(*(new_job(it) for it in "abcd"))
    a, b, _c, _d = queue.deliver()

    assert queue.settle((a, Released("stop")), (b, Released("stop"))) == ["1", "1"]

    assert (queue.ids(), queue.ids(front=True)) == (["c", "d"], ["a", "b"])
    (again, _) = queue.deliver(front=True)
    assert queue.pointer() == f"1 0 workers:default:0:front {again.entry}"
    assert queue.stat("released") == 2


def test_a_job_released_from_a_front_goes_to_the_front_itself(queue: Queue) -> None:
    queue.settle((queue.one(), Released("stop")))
    (again,) = queue.deliver(front=True)

    assert queue.settle((again, Released("stop"))) == ["1"]

    assert queue.ids(front=True) == ["a"]


def test_g5_a_release_counts_as_a_delivery_and_not_as_a_crash(queue: Queue) -> None:
    delivery = queue.one()
    queue.hand_over(delivery, ME)
    delivery.count = 2

    queue.settle((delivery, Released("stop")))
    (second,) = queue.deliver(front=True)
    queue.settle((second, Released("stop")))
    (third,) = queue.deliver(front=True)

    assert (second.envelope.deliveries, second.envelope.crashes) == (2, 1)
    assert (third.envelope.deliveries, third.envelope.crashes) == (3, 1)
    assert third.crashes == 1
    assert third.envelope.created_at == delivery.envelope.created_at


def test_g14_a_job_is_released_to_its_events_own_front_which_its_type_reads(queue: Queue) -> None:
    delivery = queue.one(new_job("a", data=b"[1]", priority=2))
    lane = Lane("default", "event.e", priority=2)

    assert queue.settle((delivery, Released("no handler", event="e"))) == ["1"]

    (again,) = queue.deliver(lane, front=True)
    assert again.envelope.data == b"[1]"
    assert queue.pointer() == f"1 0 event.e:default:2:front {again.entry}"
    assert queue.redis.zscore(queue.keys.lanes, lane.name) == 1002
    for key in (queue.keys.lane(lane), queue.keys.front(lane)):
        assert [group["name"] for group in queue.redis.xinfo_groups(key)] == [GROUP.encode()]


def test_g14_fields_of_a_newer_envelope_survive_a_release(queue: Queue) -> None:
    queue.emit(new_job("first"))
    fields = {"head": "2:7:1:0:0:0:new", "id": "a", "event": "e", "data": "{}", "options": "",
              "later": "x"}  # fmt: skip
    queue.redis.xadd(queue.stream().key, fields)
    _, delivery = queue.deliver()

    assert queue.settle((delivery, Released("newer", event="e"))) == ["1"]

    ((_, kept),) = queue.redis.xrange(queue.keys.front(Lane("default", "event.e@2")))
    assert {k.decode(): v.decode() for k, v in kept.items()} == {
        **fields,
        "head": "2:7:1:0:1:0:new",
    }


@pytest.mark.parametrize(("ran_solo", "left"), [(True, 0), (False, 1)])
def test_g5_releasing_a_solo_run_undoes_its_mark_and_no_earlier_one(
    queue: Queue, ran_solo: bool, left: int
) -> None:
    delivery = queue.one()
    assert queue.run(leasing.solo(delivery, ME, 1)) == 0
    delivery.solo = ran_solo

    queue.settle((delivery, Released("stop")))

    pointer = queue.pointer()
    assert pointer is not None
    assert pointer.split(" ")[1] == str(left)


def test_a_deleted_entry_is_not_released_and_stays_pending(queue: Queue) -> None:
    delivery = queue.one()
    queue.redis.xdel(delivery.stream.key, delivery.entry)
    before = queue.writes()

    assert queue.settle((delivery, Released("stop"))) == ["M"]

    assert queue.writes() == before
    assert queue.pending(delivery) == (ME, 1)


def test_releasing_an_overtaken_generation_leaves_the_newer_one_in_the_index(
    queue: Queue,
) -> None:
    old = queue.one()
    queue.redis.hset(queue.keys.live("a"), "a", "garbage")
    queue.emit(new_job("a"))
    newer = queue.pointer()

    assert queue.settle((old, Released("stop"))) == ["1"]

    assert queue.pointer() == newer


def test_a_lane_of_an_event_beyond_their_most_is_refused(
    queue: Queue, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(settling, "MAX_EVENT_LANES", 2)
    queue.emit(*(new_job(it, it) for it in "abcd"), new_job("a2", "a"))
    a, b, c, _d, a2 = queue.deliver()

    words = queue.settle(*((it, Released("", event=it.envelope.event)) for it in (a, b, c, a2)))

    assert words == ["1", "1", "L", "1"]
    assert queue.pending(c) == (ME, 1)


def test_lanes_do_not_take_the_room_of_lanes_of_events(queue: Queue) -> None:
    delivery = queue.one()
    open_lanes(queue, MAX_LANES)

    assert queue.settle((delivery, Released("", event="e"))) == ["1"]
