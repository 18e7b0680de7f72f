"""open, repair, retire, forget and preflight on real Redis: queues and lanes come and go."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import pytest
import redis as redis_py
from redis.exceptions import ResponseError

from consumers.connections.connector import Connector
from consumers.connections.wire import Wire
from consumers.errors import TaskManagerError
from consumers.jobs.lanes import Lane
from consumers.jobs.outcome import Completed, Released
from consumers.open import rights
from consumers.store import asking, tending
from tests.support.queue import (
    GROUP,
    ME,
    OTHER,
    Queue,
    foreign_value,
    full_memory,
    listening,
    new_job,
)
from tests.support.servers import RedisServer
from tests.support.waiting import eventually

LEASE_MS = 30_000
UNUSED_MS = 60_000


@pytest.fixture
def queue(redis: redis_py.Redis) -> Queue:
    return Queue(redis)


def stream_keys(queue: Queue, lane: Lane | None = None) -> list[str]:
    return [queue.stream(lane).key, queue.stream(lane, front=True).key]


def groups(queue: Queue, key: str) -> dict[str, str]:
    """Return the last delivered id of each group."""
    return {
        it["name"].decode(): it["last-delivered-id"].decode()
        for it in queue.redis.xinfo_groups(key)
    }


# Open


def open_queue(queue: Queue, lease_ms: int = LEASE_MS, lane: Lane | None = None) -> list[int]:
    found: list[int] = queue.run(tending.open_queue(queue.keys, lane or queue.lane, lease_ms))
    return found


def test_a_workers_lane_is_opened_with_its_groups_at_the_start(queue: Queue) -> None:
    queue.redis.xadd(queue.stream().key, {"somebody": "else's"})

    epoch, lease = open_queue(queue)

    assert lease == LEASE_MS
    assert epoch == int(queue.redis.hget(queue.keys.meta, "epoch"))
    assert queue.redis.hget(queue.keys.meta, "layout") == b"1"
    assert queue.redis.zrange(queue.keys.lanes, 0, -1) == [b"workers:default:0"]
    assert [groups(queue, key) for key in stream_keys(queue)] == [{GROUP: "0-0"}] * 2


def test_the_first_worker_decides_the_lease_and_others_change_nothing(queue: Queue) -> None:
    first = open_queue(queue, 5_000)
    before = queue.snapshot()

    assert open_queue(queue, 60_000) == first

    assert queue.snapshot() == before


def test_a_queue_that_was_emitted_to_keeps_its_epoch_when_it_is_opened(queue: Queue) -> None:
    delivery = queue.one()
    queue.redis.hset(queue.keys.meta, "epoch", 7)

    assert open_queue(queue) == [7, LEASE_MS]
    assert queue.pending(delivery) == (ME, 1)


def test_an_opened_queue_opens_in_full_memory_and_a_new_one_does_not(queue: Queue) -> None:
    with full_memory(queue.redis), pytest.raises(ResponseError, match=r"OOM|command not allowed"):
        open_queue(queue)
    assert queue.snapshot() == {}

    found = open_queue(queue)

    with full_memory(queue.redis):
        assert open_queue(queue) == found


OPENED = ["meta", "lanes", "lane", "front"]


def key_named(queue: Queue, name: str) -> str:
    lane, front = stream_keys(queue)
    return {"meta": queue.keys.meta, "lanes": queue.keys.lanes, "lane": lane, "front": front}[name]


@pytest.mark.parametrize("name", OPENED)
@pytest.mark.parametrize("used", [False, True], ids=["new queue", "used queue"])
def test_a_foreign_value_keeps_a_queue_from_opening_and_nothing_is_written(
    queue: Queue, name: str, used: bool
) -> None:
    delivery = queue.one() if used else None
    before = queue.snapshot()

    with (
        foreign_value(queue.redis, key_named(queue, name)),
        pytest.raises(ResponseError, match="WRONGTYPE"),
    ):
        open_queue(queue)

    assert queue.snapshot() == before
    assert delivery is None or queue.pending(delivery) == (ME, 1)
    assert open_queue(queue)[1] == LEASE_MS


def test_a_queue_of_another_layout_is_not_opened(queue: Queue) -> None:
    queue.redis.hset(queue.keys.meta, "layout", "2")
    before = queue.snapshot()

    with pytest.raises(ResponseError, match="LAYOUT 2 1"):
        open_queue(queue)

    assert queue.snapshot() == before


# Repair


def repair(queue: Queue, lane: Lane | None = None) -> tuple[list[str], list[str]]:
    """Return the streams that had lost their group, and those that did not exist."""
    regrouped, remade = queue.run(tending.repair(queue.keys, lane or queue.lane, GROUP))
    return [key.decode() for key in regrouped], [key.decode() for key in remade]


def to_audit(queue: Queue) -> str | None:
    """Return which bucket is audited next, and the lanes that are."""
    found = queue.redis.hget(queue.keys.meta, "audit")
    return found.decode() if found is not None else None


HEALTHY: tuple[list[str], list[str]] = ([], [])


def epoch(queue: Queue) -> int:
    return int(queue.redis.hget(queue.keys.meta, "epoch") or 0)


def test_g1_a_lost_group_is_made_again_from_the_first_entry(queue: Queue) -> None:
    queue.emit(new_job("runs"), new_job("waits"))
    queue.deliver(count=1)
    queue.redis.xgroup_destroy(queue.stream().key, GROUP)
    before = epoch(queue)

    assert repair(queue) == ([queue.stream().key], [])

    assert [it.envelope.id for it in queue.deliver(consumer=OTHER)] == ["runs", "waits"]
    assert epoch(queue) == before + 1
    assert to_audit(queue) == f"0 {queue.lane.name}"


def test_a_deleted_lane_and_front_are_made_again(queue: Queue) -> None:
    queue.emit(new_job("a"))
    queue.redis.delete(*stream_keys(queue))

    assert repair(queue) == ([], stream_keys(queue))

    assert queue.emit(new_job("a")) == ["+2"]
    assert len(queue.deliver()) == 1
    assert to_audit(queue) == f"0 {queue.lane.name}"


def test_a_lane_that_was_deleted_and_emitted_to_seems_to_have_lost_its_group(queue: Queue) -> None:
    queue.emit(new_job("a"), new_job("b"))
    queue.redis.delete(queue.stream().key)
    queue.emit(new_job("b"))

    assert repair(queue) == ([queue.stream().key], [])

    assert audit(queue) == ["a"]


def test_a_lane_is_audited_once_with_others_and_from_the_start_again(queue: Queue) -> None:
    other = Lane("default", priority=3)
    queue.emit(new_job("a"), new_job("b", priority=3))
    for lane in (queue.lane, other, queue.lane):
        queue.redis.xgroup_destroy(queue.stream(lane).key, GROUP)
        queue.redis.hset(queue.keys.meta, "audit", (to_audit(queue) or "0").replace("0 ", "7 ", 1))
        repair(queue, lane)

    assert to_audit(queue) == f"0 {queue.lane.name} {other.name}"


def test_repairing_twice_or_a_healthy_lane_changes_nothing(queue: Queue) -> None:
    delivery = queue.one()
    queue.redis.xgroup_destroy(queue.stream(front=True).key, GROUP)
    repair(queue)
    before = queue.snapshot()

    assert repair(queue) == HEALTHY

    assert queue.snapshot() == before
    assert queue.pending(delivery) == (ME, 1)


def test_a_lane_that_is_not_listed_is_not_made(queue: Queue) -> None:
    open_queue(queue)
    before = queue.snapshot()

    assert repair(queue, Lane("default", priority=3)) == HEALTHY

    assert queue.snapshot() == before


def test_a_spoiled_epoch_keeps_no_lane_from_being_repaired_and_its_jobs_from_being_found(
    queue: Queue,
) -> None:
    queue.emit(new_job())
    queue.redis.hset(queue.keys.meta, "epoch", "spoiled")
    queue.redis.delete(queue.stream().key)

    queue.run(tending.repair(queue.keys, queue.lane, GROUP))

    assert audit(queue) == ["a"]


def test_the_epoch_still_grows_when_the_queues_properties_were_lost(queue: Queue) -> None:
    queue.emit(new_job("a"))
    before = epoch(queue)
    queue.redis.delete(queue.keys.meta)
    queue.redis.xgroup_destroy(queue.stream().key, GROUP)

    assert repair(queue) == ([queue.stream().key], [])

    assert epoch(queue) > before
    assert queue.redis.hget(queue.keys.meta, "layout") == b"1"


@pytest.mark.parametrize("name", ["meta", "lanes"])
def test_a_foreign_value_in_a_key_of_the_queue_leaves_a_lost_group_for_later(
    queue: Queue, name: str
) -> None:
    queue.emit(new_job("a"))
    queue.redis.xgroup_destroy(queue.stream().key, GROUP)
    before = queue.snapshot()

    with (
        foreign_value(queue.redis, key_named(queue, name)),
        pytest.raises(ResponseError, match="WRONGTYPE"),
    ):
        repair(queue)

    assert queue.snapshot() == before
    assert repair(queue) == ([queue.stream().key], [])


@pytest.mark.parametrize(("broken", "lost"), [(0, 1), (1, 0)], ids=["lane", "front"])
def test_a_foreign_value_in_one_stream_is_told_and_the_other_is_repaired_with_a_new_epoch(
    queue: Queue, broken: int, lost: int
) -> None:
    queue.emit(new_job("a"))
    keys = stream_keys(queue)
    queue.redis.xgroup_destroy(keys[lost], GROUP)
    before = epoch(queue)

    with (
        foreign_value(queue.redis, keys[broken]),
        pytest.raises(ResponseError, match="WRONGTYPE"),
    ):
        repair(queue)

    assert groups(queue, keys[lost]) == {GROUP: "0-0"}
    assert epoch(queue) == before + 1
    assert to_audit(queue) == f"0 {queue.lane.name}"
    assert repair(queue) == HEALTHY


def test_full_memory_leaves_a_lost_group_for_later(queue: Queue) -> None:
    queue.emit(new_job("a"))
    queue.redis.xgroup_destroy(queue.stream().key, GROUP)
    before = queue.snapshot()

    with full_memory(queue.redis), pytest.raises(ResponseError, match=r"OOM|command not allowed"):
        repair(queue)

    assert queue.snapshot() == before
    assert repair(queue) == ([queue.stream().key], [])


# Audit


def audit_step(queue: Queue, **bounds: int) -> tuple[bool, list[str]]:
    """Audit some buckets; return whether there are more, and the jobs that were dropped."""
    step = tending.audit(queue.keys)
    for at, name in enumerate(("buckets", "most_buckets", "most_jobs", "most_bytes"), start=1):
        step.args[at] = bounds.pop(name, step.args[at])
    assert not bounds
    more, *ids = queue.run(step)
    return bool(more), [job_id.decode() for job_id in ids]


def audit(queue: Queue) -> list[str]:
    """Audit until there is nothing left to look at; return the jobs that were dropped."""
    found: list[str] = []
    for _ in range(1000):
        more, ids = audit_step(queue)
        found += ids
        if not more:
            return sorted(found)
    raise AssertionError("there is always more to audit")


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


def test_an_audit_works_in_full_memory(queue: Queue) -> None:
    queue.emit(new_job("a"), new_job("b"))
    lose_lane(queue)

    with full_memory(queue.redis):
        assert audit(queue) == ["a", "b"]


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


@pytest.mark.foreign_keys
@pytest.mark.parametrize("name", ["meta", "waiters"])
def test_a_foreign_value_in_a_key_of_the_queue_leaves_an_audit_for_later(
    queue: Queue, name: str
) -> None:
    queue.emit(new_job("a"))
    lose_lane(queue)
    before = queue.snapshot()

    with (
        foreign_value(queue.redis, getattr(queue.keys, name)),
        pytest.raises(ResponseError, match="WRONGTYPE"),
    ):
        audit(queue)

    assert queue.snapshot() == before
    assert audit(queue) == ["a"]


@pytest.mark.foreign_keys
def test_counters_that_somebody_spoiled_do_not_keep_an_audit(queue: Queue) -> None:
    queue.emit(new_job("a"))
    lose_lane(queue)

    with foreign_value(queue.redis, queue.keys.stats):
        assert audit(queue) == ["a"]


@pytest.mark.parametrize("asked", ["", "x", "7", "99999999999999999999 workers:default:0"])
def test_what_asks_for_no_audit_is_dropped(queue: Queue, asked: str) -> None:
    queue.emit(new_job("a"))
    queue.redis.hset(queue.keys.meta, "audit", asked)

    assert audit_step(queue) == (False, [])

    assert to_audit(queue) is None


# Retire


def retire(queue: Queue, unused_ms: int = UNUSED_MS) -> int:
    retired: int = queue.run(tending.retire(queue.keys, queue.lane, unused_ms))
    return retired


def make_old(queue: Queue) -> None:
    """Leave an empty lane whose last entry is from 2001."""
    open_queue(queue)
    for key in stream_keys(queue):
        queue.redis.xadd(key, {"a": "b"}, id="1000000000000-0")
        queue.redis.xreadgroup(GROUP, ME, {key: ">"})
        queue.redis.xack(key, GROUP, "1000000000000-0")
        queue.redis.xdel(key, "1000000000000-0")


def test_an_empty_unused_lane_is_retired_with_its_front_and_can_come_back(queue: Queue) -> None:
    make_old(queue)

    assert retire(queue) == 1

    assert queue.redis.exists(*stream_keys(queue), queue.keys.lanes) == 0
    assert to_audit(queue) is None
    assert queue.emit(new_job("a")) == ["+1"]
    assert len(queue.deliver()) == 1


def test_retiring_a_lane_that_is_gone_leaves_nothing_behind(queue: Queue) -> None:
    make_old(queue)
    retire(queue)
    before = queue.snapshot()

    retire(queue)

    assert queue.snapshot() == before


@pytest.mark.parametrize("deleted", [(0,), (1,), (0, 1)], ids=["lane", "front", "both"])
def test_a_lane_whose_stream_somebody_deleted_is_retired_and_its_jobs_are_looked_for(
    queue: Queue, deleted: tuple[int, ...]
) -> None:
    lose_jobs(queue, deleted)

    assert retire(queue, unused_ms=0) == 1

    assert not queue.redis.exists(queue.keys.lanes)
    assert to_audit(queue) == f"0 {queue.lane.name}"
    assert audit(queue) == ["a"]
    assert queue.emit(new_job("a"))[0].startswith("+")


def lose_jobs(queue: Queue, deleted: Sequence[int] = (0,)) -> None:
    """Delete streams of the lane with a job in one of them; the others are empty."""
    queue.emit(new_job("a"))
    if 1 in deleted:
        queue.settle((queue.deliver()[0], Released("stop")))
    queue.redis.delete(*(stream_keys(queue)[at] for at in deleted))
    # An entry of this very millisecond counts as one that came after the last look.
    now = queue.now_ms()
    eventually(lambda: queue.now_ms() > now)


def test_the_jobs_of_a_deleted_stream_are_looked_for_in_full_memory(queue: Queue) -> None:
    lose_jobs(queue)

    with full_memory(queue.redis):
        assert retire(queue, unused_ms=0) == 1
        assert audit(queue) == ["a"]


def test_an_audit_under_way_looks_for_the_jobs_of_a_retired_lane_as_well(queue: Queue) -> None:
    queue.redis.hset(queue.keys.meta, "audit", "7 workers:default:9")
    lose_jobs(queue)

    retire(queue, unused_ms=0)

    assert to_audit(queue) == f"0 workers:default:9 {queue.lane.name}"


def test_where_no_audit_can_be_asked_for_a_lane_stays(queue: Queue) -> None:
    lose_jobs(queue)
    before = queue.snapshot()

    with (
        foreign_value(queue.redis, queue.keys.meta),
        pytest.raises(ResponseError, match="WRONGTYPE"),
    ):
        retire(queue, unused_ms=0)

    assert queue.snapshot() == before
    assert retire(queue, unused_ms=0) == 1


def waiting_in_the_lane(queue: Queue) -> None:
    queue.redis.xadd(queue.stream().key, {"a": "b"}, id="1000000000001-0")


def waiting_in_the_front(queue: Queue) -> None:
    queue.redis.xadd(queue.stream(front=True).key, {"a": "b"}, id="1000000000001-0")


def running(queue: Queue) -> None:
    waiting_in_the_lane(queue)
    queue.redis.xreadgroup(GROUP, ME, {queue.stream().key: ">"})


def running_but_deleted(queue: Queue) -> None:
    running(queue)
    queue.redis.xdel(queue.stream().key, "1000000000001-0")


def running_from_the_front_but_deleted(queue: Queue) -> None:
    waiting_in_the_front(queue)
    key = queue.stream(front=True).key
    queue.redis.xreadgroup(GROUP, ME, {key: ">"})
    queue.redis.xdel(key, "1000000000001-0")


def pending_in_another_group(queue: Queue) -> None:
    queue.redis.xgroup_create(queue.stream().key, "strangers", "0")
    waiting_in_the_lane(queue)
    queue.redis.xreadgroup("strangers", "one", {queue.stream().key: ">"})
    queue.redis.xdel(queue.stream().key, "1000000000001-0")


def used_a_moment_ago(queue: Queue) -> None:
    queue.settle((queue.one(), Completed()))


def released_a_moment_ago(queue: Queue) -> None:
    queue.settle((queue.one(), Released("stop")))
    queue.settle((queue.deliver(front=True)[0], Completed()))


@pytest.mark.parametrize(
    "use",
    [
        waiting_in_the_lane,
        waiting_in_the_front,
        running,
        running_but_deleted,
        running_from_the_front_but_deleted,
        pending_in_another_group,
        used_a_moment_ago,
        released_a_moment_ago,
    ],
)
def test_a_lane_in_use_is_not_retired(queue: Queue, use: Callable[[Queue], None]) -> None:
    make_old(queue)
    use(queue)
    before = queue.snapshot()

    assert retire(queue) == 0

    assert queue.snapshot() == before


def test_a_lane_is_retired_in_full_memory(queue: Queue) -> None:
    make_old(queue)

    with full_memory(queue.redis):
        assert retire(queue) == 1


@pytest.mark.parametrize("name", ["lane", "front"])
def test_a_foreign_value_in_a_lane_keeps_it_from_being_retired(queue: Queue, name: str) -> None:
    make_old(queue)
    before = queue.snapshot()

    with foreign_value(queue.redis, key_named(queue, name)):
        assert retire(queue) == 0

    assert queue.snapshot() == before


def test_a_foreign_value_in_the_list_of_lanes_keeps_a_lane_from_being_retired(
    queue: Queue,
) -> None:
    make_old(queue)
    before = queue.snapshot()

    with (
        foreign_value(queue.redis, queue.keys.lanes),
        pytest.raises(ResponseError, match="WRONGTYPE"),
    ):
        retire(queue)

    assert queue.snapshot() == before


# Forget


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


# Preflight


class User:
    """A Redis user with some rights only, and a wire of its own."""

    def __init__(self, server: RedisServer, admin: redis_py.Redis) -> None:
        self._server = server
        self._admin = admin

    def may(self, *rules: str) -> None:
        """Give the user these rights and no others."""
        self._admin.execute_command("ACL", "SETUSER", "worker", "reset", "on", ">pw", *rules)

    def wire(self) -> Wire:
        url = self._server.url.replace("redis://", "redis://worker:pw@")
        return Wire(Connector.of(url), name="preflight")


@pytest.fixture
def user(server: RedisServer, redis: redis_py.Redis) -> Iterator[User]:
    yield User(server, redis)
    redis.execute_command("ACL", "DELUSER", "worker")


async def check(user: User, queue: Queue) -> None:
    wire = user.wire()
    try:
        await rights.check_rights(wire, queue.keys)
    finally:
        await wire.close()


ALL_RIGHTS = ("~tm:*", "resetchannels", "&tm:*", "+@all")


async def test_a_user_with_all_rights_passes_and_nothing_is_written(
    queue: Queue, user: User
) -> None:
    user.may(*ALL_RIGHTS)

    await check(user, queue)

    assert queue.snapshot() == {}


async def test_a_user_passes_in_full_memory(queue: Queue, user: User) -> None:
    user.may(*ALL_RIGHTS)

    with full_memory(queue.redis):
        await check(user, queue)

    assert queue.snapshot() == {}


def _rule(command: str) -> str:
    return "-" + command.lower().replace(" ", "|")


@pytest.mark.parametrize("command", rights.commands())
async def test_a_command_the_user_may_not_run_is_named_and_nothing_is_written(
    queue: Queue, user: User, server: RedisServer, command: str
) -> None:
    if " " in command and server.version < (7, 0):
        # 6.2 can take away a whole command only.
        user.may(*ALL_RIGHTS, _rule(command.split(" ")[0]))
    else:
        user.may(*ALL_RIGHTS, _rule(command))

    with pytest.raises(TaskManagerError, match=rf"may not run .*\b{command}\b"):
        await check(user, queue)

    assert queue.snapshot() == {}


async def test_a_user_who_may_not_touch_the_queues_keys_is_told_so(
    queue: Queue, user: User
) -> None:
    user.may("~other:*", "+@all")

    with pytest.raises(TaskManagerError):
        await check(user, queue)

    assert queue.snapshot() == {}


async def test_a_user_who_may_not_publish_hints_is_told_so(queue: Queue, user: User) -> None:
    user.may("~tm:*", "resetchannels", "&other:*", "+@all")

    with pytest.raises(TaskManagerError, match="may not run PUBLISH"):
        await check(user, queue)


async def test_a_user_who_may_not_tell_of_ends_is_told_so(queue: Queue, user: User) -> None:
    user.may("~tm:*", "resetchannels", "&tm:{default}:control", "&tm:{default}:preflight", "+@all")

    with pytest.raises(TaskManagerError, match=r"may not run PUBLISH .* channels tm:\{default\}"):
        await check(user, queue)


async def test_a_user_with_the_rights_of_one_queue_passes(queue: Queue, user: User) -> None:
    user.may("~tm:{default}:*", "resetchannels", "&tm:{default}:*", "+@all")

    await check(user, queue)


async def test_a_user_who_may_not_run_scripts_is_told_so(queue: Queue, user: User) -> None:
    user.may("~*", "+@all", "-evalsha", "-eval")

    with pytest.raises(TaskManagerError, match="this Redis user may not run scripts on keys tm:"):
        await check(user, queue)


async def test_only_writing_is_refused_names_no_command_that_reads(
    queue: Queue, user: User
) -> None:
    user.may("~tm:*", "+@all", "-@write", "+evalsha", "+eval")

    with pytest.raises(TaskManagerError) as refused:
        await check(user, queue)

    assert "XADD" in str(refused.value)
    assert "HGET," not in str(refused.value)
    assert queue.snapshot() == {}
