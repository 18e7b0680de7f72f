"""fire_schedule.lua on real Redis: each fire time once, whoever fires it (G9)."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest

from consumers.jobs import guards
from consumers.jobs.lanes import MAX_LANES, Lane
from consumers.jobs.outcome import Completed
from consumers.store.schedule_record import Record
from tests.store.schedules.steps import (
    HOUR_MS,
    due,
    fired_once,
    known,
    listed,
    looked_at,
    pause,
    remove,
    resume,
    waits,
)
from tests.support.queue import Queue, foreign_value, full_memory, listening, new_job
from tests.support.servers import RedisServer
from tests.support.waiting import PATIENCE

# Fire


def test_g9_what_is_due_is_fired_and_its_next_fire_is_set(queue: Queue) -> None:
    record = due(queue)
    assert record.slot is not None
    following = record.slot + HOUR_MS

    fired = queue.fire(record, new_job("f", data=b"[1]", options=b"{}"), following=following)

    assert fired == ("fired", 1)
    found = known(queue)
    assert (found.slot, found.fired, found.last) == (following, record.slot, "f")
    assert (found.fires, found.skipped, looked_at(queue)) == (1, 0, following)
    (delivery,) = queue.deliver()
    envelope = delivery.envelope
    assert (envelope.id, envelope.generation, envelope.data) == ("f", 1, b"[1]")
    assert queue.pointer("f") == f"1 0 workers:default:0 {delivery.entry}"
    assert queue.stat("emitted") == 1


def test_g9_a_fire_that_is_repeated_is_stale_and_writes_nothing(queue: Queue) -> None:
    record = due(queue)
    queue.fire(record, new_job("f"), following=queue.now_ms() + HOUR_MS)
    # Not even its id keeps it from being fired again.
    queue.settle((queue.deliver()[0], Completed()))
    before = queue.snapshot()

    assert queue.fire(record, new_job("f"), following=queue.now_ms() + 9) == ("stale", 0)

    assert queue.snapshot() == before


def test_g9_of_many_who_fire_at_once_one_does(queue: Queue, server: RedisServer) -> None:
    record = due(queue)
    words: list[str] = []
    start = threading.Barrier(8)

    def fire(number: int) -> None:
        with server.client() as client:
            mine = Queue(client)
            start.wait(PATIENCE)
            words.append(mine.fire(record, new_job(f"f{number}"), following=None)[0])

    threads = [threading.Thread(target=fire, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)

    assert sorted(words) == ["fired"] + ["stale"] * 7
    assert (len(queue.ids()), known(queue).fires) == (1, 1)


def fired_meanwhile(queue: Queue, record: Record) -> None:
    queue.fire(record, new_job("f"), following=queue.now_ms() + HOUR_MS)


def replaced_meanwhile(queue: Queue, record: Record) -> None:
    queue.register(slot=record.slot, digest="d2")


def paused_meanwhile(queue: Queue, record: Record) -> None:
    pause(queue)


def removed_meanwhile(queue: Queue, record: Record) -> None:
    remove(queue)


def resumed_meanwhile(queue: Queue, record: Record) -> None:
    pause(queue)
    resume(queue, queue.now_ms() - 1)


def given_back_meanwhile(queue: Queue, record: Record) -> None:
    # Somebody's hand: a fire time that is not later than the last.
    queue.redis.hset(queue.keys.schedule("s"), "fired", record.slot)


@pytest.mark.parametrize(
    "changed",
    [
        fired_meanwhile,
        replaced_meanwhile,
        paused_meanwhile,
        removed_meanwhile,
        resumed_meanwhile,
        given_back_meanwhile,
    ],
)
def test_g9_a_schedule_that_was_changed_meanwhile_is_not_fired(
    queue: Queue, changed: Callable[[Queue, Record], None]
) -> None:
    record = due(queue)
    changed(queue, record)
    before = queue.snapshot()

    assert queue.fire(record, new_job("x")) == ("stale", 0)

    assert queue.snapshot() == before


def test_g9_a_fire_is_not_early_by_redis_clock(queue: Queue) -> None:
    slot = queue.now_ms() + HOUR_MS
    queue.register(slot=slot)
    before = queue.snapshot()

    assert queue.fire(known(queue), new_job("f")) == ("early", 0)
    assert queue.snapshot() == before

    record = due(queue, digest="d2")
    before = queue.snapshot()
    late = queue.now_ms() + HOUR_MS
    assert queue.fire(record, new_job("f"), latest=late) == ("early", 0)
    assert queue.snapshot() == before


def test_the_last_fire_of_a_schedule_leaves_it_without_a_next(queue: Queue) -> None:
    record = due(queue)

    assert queue.fire(record, new_job("f"), following=None) == ("fired", 1)

    assert (known(queue).slot, looked_at(queue), listed(queue)) == (None, None, {"s"})
    assert queue.fire(known(queue), new_job("g"), latest=queue.now_ms()) == ("stale", 0)


def test_several_fire_times_are_dealt_with_at_once(queue: Queue) -> None:
    record = due(queue, ago_ms=HOUR_MS)
    assert record.slot is not None
    latest = record.slot + 30_000
    jobs = [new_job(it) for it in "fgh"]

    fired = queue.fire(record, *jobs, latest=latest, following=latest + HOUR_MS, passed_over=4)

    assert fired == ("fired", 3)
    assert queue.ids() == ["f", "g", "h"]
    found = known(queue)
    assert (found.slot, found.fired, found.last) == (latest + HOUR_MS, latest, "h")
    assert (found.fires, found.skipped) == (3, 4)
    assert [it.envelope.generation for it in queue.deliver()] == [1, 2, 3]
    assert queue.emit(new_job("x")) == ["+4"]


def test_fire_times_without_a_job_are_dealt_with_and_counted(queue: Queue) -> None:
    record = due(queue)

    assert queue.fire(record, following=queue.now_ms() + HOUR_MS, passed_over=7) == ("fired", 0)

    found = known(queue)
    assert (found.fired, found.fires, found.skipped, found.last) == (record.slot, 0, 7, None)
    assert (queue.stat("emitted"), queue.ids()) == (0, [])


def test_a_fire_whose_id_lives_already_adds_no_second_job(queue: Queue) -> None:
    queue.emit(new_job("f"))
    record = due(queue)

    assert queue.fire(record, new_job("f"), following=None) == ("fired", 0)

    assert queue.ids() == ["f"]
    assert known(queue).fired == record.slot


def test_a_fire_opens_its_lane(queue: Queue) -> None:
    lane = Lane("default", "gpu", "tenant", 7)
    record = due(queue)

    with listening(queue.redis, queue.keys.control) as hints:
        fired = queue.fire(record, new_job("f", type="gpu", partition="tenant", priority=7))

    assert fired == ("fired", 1)
    assert queue.redis.zscore(queue.keys.lanes, lane.name) == 7
    assert hints == [f"lane {lane.name}"]
    (group,) = queue.redis.xinfo_groups(queue.keys.front(lane))
    assert (group["name"], queue.ids(lane)) == (b"gpu", ["f"])


def test_a_fire_may_put_its_job_off_and_give_it_a_key(queue: Queue) -> None:
    record = due(queue)

    queue.fire(record, new_job("f", due=f"+{HOUR_MS}", guard=guards.idempotent("key")))

    assert list(queue.put_off()) == ["f"]
    assert queue.emit(new_job("g", guard=guards.idempotent("key"))) == ["~1:f"]


# What stands in the way


def test_a_fire_into_a_lane_too_many_is_put_off_for_5_seconds(queue: Queue) -> None:
    queue.emit(*(new_job(f"lane-{n}", priority=n) for n in range(MAX_LANES)))
    refused_fire(queue, "L", 99)


@pytest.mark.foreign_keys
@pytest.mark.parametrize("broken", ["lane", "front", "live bucket"])
def test_a_fire_into_a_foreign_value_is_put_off_for_5_seconds(queue: Queue, broken: str) -> None:
    lane = Lane("default", priority=5)
    key = {
        "lane": queue.keys.lane(lane),
        "front": queue.keys.front(lane),
        "live bucket": queue.keys.live("f"),
    }[broken]

    with foreign_value(queue.redis, key):
        refused_fire(queue, f"T{key}", 5)


def test_a_fire_into_a_lane_that_takes_no_more_entries_is_put_off(queue: Queue) -> None:
    queue.emit(new_job("x", priority=5))
    key = queue.stream(Lane("default", priority=5)).key
    queue.redis.xadd(key, {"somebody": "else's"}, id="18446744073709551615-18446744073709551615")

    refused_fire(queue, f"T{key}", 5)


def refused_fire(queue: Queue, word: str, priority: int) -> None:
    """Fire into a lane that takes nothing: all stays but when the schedule is looked at."""
    record = due(queue)
    before, now = queue.snapshot(), queue.now_ms()

    assert queue.fire(record, new_job("f", priority=priority)) == (word, 0)

    looks = looked_at(queue)
    assert looks is not None
    assert now + 5000 <= looks <= queue.now_ms() + 5000
    after = queue.snapshot()
    del before[queue.keys.schedules], after[queue.keys.schedules]
    assert after == before


def test_of_several_fire_times_all_are_put_off_when_one_cannot_be_fired(queue: Queue) -> None:
    queue.emit(*(new_job(f"lane-{n}", priority=n) for n in range(MAX_LANES)))
    record = due(queue)

    assert queue.fire(record, new_job("f"), new_job("g", priority=99)) == ("L", 0)

    assert (queue.pointer("f"), known(queue)) == (None, record)


def test_g12_a_fire_that_waits_or_is_refused_in_full_memory_writes_nothing(queue: Queue) -> None:
    record = fired_once(queue, waits)
    queue.emit(*(new_job(f"lane-{n}", priority=n) for n in range(1, MAX_LANES)))
    before = queue.snapshot()

    with full_memory(queue.redis):
        assert queue.fire(record, new_job("f2"), overlap="queue") == ("busy", 0)
        assert queue.fire(record, new_job("f2", priority=99)) == ("L", 0)

    assert queue.snapshot() == before


def test_counters_that_are_no_numbers_do_not_spoil_a_fire(queue: Queue) -> None:
    record = due(queue)
    queue.redis.hset(queue.keys.stats, "emitted", "x")
    queue.redis.hset(queue.keys.schedule("s"), mapping={"fires": "x", "skipped": "x"})

    assert queue.fire(record, new_job("f"), passed_over=1) == ("fired", 1)

    assert queue.ids() == ["f"]
    queue.redis.hdel(queue.keys.schedule("s"), "fires", "skipped")
    assert known(queue).fired == record.slot


def test_a_foreign_value_in_place_of_the_last_jobs_bucket_does_not_stop_a_fire(
    queue: Queue,
) -> None:
    record = fired_once(queue, waits)

    with foreign_value(queue.redis, queue.keys.live("f1")):
        assert queue.fire(record, new_job("f2"), overlap="queue") == ("fired", 1)
