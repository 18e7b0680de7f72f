"""audit_live.lua on real Redis: jobs whose lane was deleted are dropped and counted."""

from __future__ import annotations

import pytest

from consumers.jobs.lanes import Lane
from consumers.jobs.outcome import Completed, Released
from consumers.store import asking
from tests.store.lanes.steps import audit, audit_step, repair, stream_keys, to_audit
from tests.support.queue import GROUP, Queue, foreign_value, listening, new_job


def lose_lane(queue: Queue, lane: Lane | None = None) -> None:
    queue.redis.delete(*stream_keys(queue, lane))
    repair(queue, lane)


def test_jobs_of_a_deleted_lane_are_dropped_counted_and_can_be_emitted_again(
    queue: Queue,
) -> None:
    other = Lane("default", priority=3)
    queue.emit(
        new_job("waits"), new_job("runs"), new_job("fronted"), new_job("put-off", due="+9999")
    )
    queue.emit(new_job("elsewhere", priority=3))
    fronted = queue.deliver(count=3)[-1]
    queue.settle((fronted, Released("stop")))
    lose_lane(queue)

    assert audit(queue) == ["fronted", "runs", "waits"]

    assert queue.stat("vanished") == 3
    assert [queue.pointer(it) for it in ("waits", "runs", "fronted")] == [None] * 3
    assert queue.ids(other) == ["elsewhere"]
    assert queue.pointer("elsewhere") is not None
    assert set(queue.put_off()) == {"put-off"}
    assert queue.pointer("put-off") is not None
    assert to_audit(queue) is None
    assert queue.emit(new_job("waits"))[0].startswith("+")


def test_nothing_is_audited_before_a_repair_has_asked_for_it(queue: Queue) -> None:
    queue.emit(new_job("a"))
    queue.redis.delete(*stream_keys(queue))
    before = queue.snapshot()

    assert audit_step(queue) == (False, [])

    assert queue.snapshot() == before


def test_a_job_whose_entry_is_there_or_in_somebodys_hands_stays(queue: Queue) -> None:
    queue.emit(new_job("deleted"), new_job("runs"), new_job("waits"))
    deleted, runs = queue.deliver(count=2)
    queue.redis.xdel(deleted.stream.key, deleted.entry)
    queue.redis.xgroup_destroy(queue.stream(front=True).key, GROUP)
    repair(queue)
    before = [queue.pointer(it) for it in ("deleted", "runs", "waits")]

    assert audit(queue) == []

    assert [queue.pointer(it) for it in ("deleted", "runs", "waits")] == before
    assert queue.settle((deleted, Completed()), (runs, Completed())) == ["1", "1"]


def test_a_group_that_only_reads_along_keeps_no_job_from_being_dropped(queue: Queue) -> None:
    queue.emit(new_job("a"))
    queue.read_along("monitor")
    queue.redis.xtrim(queue.stream().key, 0, approximate=False)
    queue.redis.xgroup_destroy(queue.stream(front=True).key, GROUP)
    repair(queue)

    assert audit(queue) == ["a"]


def test_a_job_that_runs_under_a_lost_entry_is_dropped_and_its_settle_is_refused(
    queue: Queue,
) -> None:
    delivery = queue.one()
    lose_lane(queue)

    assert audit(queue) == ["a"]

    assert queue.settle((delivery, Completed())) == ["0"]


def test_an_entry_of_another_job_in_its_place_does_not_keep_a_job(queue: Queue) -> None:
    delivery = queue.one()
    queue.redis.delete(queue.stream().key)
    fields = {"head": "1:2:0:0:0:0", "id": "b", "event": "e", "data": "a", "options": ""}
    queue.redis.xadd(queue.stream().key, fields, id=delivery.entry)  # type: ignore[arg-type]
    repair(queue)

    assert audit(queue) == ["a"]

    assert queue.ids() == ["b"]


def test_an_audit_goes_on_where_the_last_step_ended_whoever_did_it(queue: Queue) -> None:
    ids = [f"job-{n}" for n in range(300)]
    queue.emit(*map(new_job, ids))
    lose_lane(queue)

    found, steps = list[str](), 0
    more = True
    while more:
        more, some = audit_step(queue, most_buckets=4096)
        assert len(some) < 200
        found += some
        steps += 1

    assert steps == 4
    assert sorted(found) == sorted(ids)
    assert queue.stat("vanished") == 300


@pytest.mark.parametrize("bound", ["most_jobs", "most_bytes"])
def test_a_step_ends_with_the_bucket_in_which_it_reaches_a_bound(queue: Queue, bound: str) -> None:
    ids = [f"job-{n}" for n in range(20)]
    queue.emit(*map(new_job, ids))
    queue.redis.xgroup_destroy(queue.stream().key, GROUP)
    repair(queue)
    buckets = sorted({int(queue.keys.live(it).rpartition(":")[2]) for it in ids})

    looked_at = []
    while audit_step(queue, most_buckets=1 << 20, **{bound: 1})[0]:
        looked_at.append(int((to_audit(queue) or "").split()[0]) - 1)

    assert looked_at == buckets
    assert queue.stat("vanished") == 0


def test_who_waits_for_a_job_that_is_dropped_is_told(queue: Queue) -> None:
    queue.emit(new_job("a"))
    pointer = queue.pointer() or ""
    queue.run(asking.inspect(queue.keys, "a", channel="me", waiter_ttl_ms=3_600_000))
    lose_lane(queue)

    with listening(queue.redis, "me") as heard:
        audit(queue)

    assert heard == [f"{queue.keys.base} a {pointer.split()[0]} vanished "]
    assert not queue.redis.exists(queue.keys.waiters)


@pytest.mark.foreign_keys
def test_a_bucket_or_a_lane_that_cannot_be_looked_at_does_not_keep_the_others(
    queue: Queue,
) -> None:
    other = Lane("default", priority=3)
    queue.emit(new_job("bucket"), new_job("lane", priority=3), new_job("gone"))
    assert queue.keys.live("bucket") != queue.keys.live("gone")
    lose_lane(queue, other)
    lose_lane(queue)

    with (
        foreign_value(queue.redis, queue.keys.live("bucket")),
        foreign_value(queue.redis, queue.stream(other).key),
    ):
        assert audit(queue) == ["gone"]

    assert queue.pointer("bucket") is not None
    assert queue.pointer("lane") is not None


@pytest.mark.parametrize(
    "pointer", ["", "x", "1 0 workers:default:0", "1 0 workers:default:0 no-entry"]
)
def test_what_is_no_pointer_does_not_keep_the_others(queue: Queue, pointer: str) -> None:
    queue.emit(new_job("a"))
    lose_lane(queue)
    queue.redis.hset(queue.keys.live("a"), "b", pointer)

    assert audit(queue) == ["a"]

    assert queue.redis.hgetall(queue.keys.live("a")) == {b"b": pointer.encode()}


@pytest.mark.parametrize("asked", ["", "x", "7", "99999999999999999999 workers:default:0"])
def test_what_asks_for_no_audit_is_dropped(queue: Queue, asked: str) -> None:
    queue.emit(new_job("a"))
    queue.redis.hset(queue.keys.meta, "audit", asked)

    assert audit_step(queue) == (False, [])

    assert to_audit(queue) is None
