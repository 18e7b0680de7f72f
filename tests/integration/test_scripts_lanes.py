"""open, repair, retire, forget and preflight on real Redis: queues and lanes come and go."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
import redis as redis_py
from redis.exceptions import ResponseError

from consumers import preflight, transitions
from consumers.connection import Connector
from consumers.errors import TaskManagerError
from consumers.lanes import Lane
from consumers.outcome import Completed, Released
from consumers.wire import Wire
from tests.support.queue import (
    GROUP,
    ME,
    OTHER,
    Queue,
    foreign_value,
    full_memory,
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
    found: list[int] = queue.run(transitions.open_queue(queue.keys, lane or queue.lane, lease_ms))
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


def repair(queue: Queue, lane: Lane | None = None) -> int:
    lost: int = queue.run(transitions.repair(queue.keys, lane or queue.lane, GROUP))
    return lost


def epoch(queue: Queue) -> int:
    return int(queue.redis.hget(queue.keys.meta, "epoch") or 0)


def test_g1_a_lost_group_is_made_again_from_the_first_entry(queue: Queue) -> None:
    queue.emit(new_job("runs"), new_job("waits"))
    queue.deliver(count=1)
    queue.redis.xgroup_destroy(queue.stream().key, GROUP)
    before = epoch(queue)

    assert repair(queue) == 1

    assert [it.envelope.id for it in queue.deliver(consumer=OTHER)] == ["runs", "waits"]
    assert epoch(queue) == before + 1


def test_a_deleted_lane_and_front_are_made_again(queue: Queue) -> None:
    queue.emit(new_job("a"))
    queue.redis.delete(*stream_keys(queue))

    assert repair(queue) == 2

    assert queue.emit(new_job("a")) == ["+2"]
    assert len(queue.deliver()) == 1


def test_repairing_twice_or_a_healthy_lane_changes_nothing(queue: Queue) -> None:
    delivery = queue.one()
    queue.redis.xgroup_destroy(queue.stream(front=True).key, GROUP)
    repair(queue)
    before = queue.snapshot()

    assert repair(queue) == 0

    assert queue.snapshot() == before
    assert queue.pending(delivery) == (ME, 1)


def test_a_lane_that_is_not_listed_is_not_made(queue: Queue) -> None:
    open_queue(queue)
    before = queue.snapshot()

    assert repair(queue, Lane("default", priority=3)) == 0

    assert queue.snapshot() == before


def test_the_epoch_still_grows_when_the_queues_properties_were_lost(queue: Queue) -> None:
    queue.emit(new_job("a"))
    before = epoch(queue)
    queue.redis.delete(queue.keys.meta)
    queue.redis.xgroup_destroy(queue.stream().key, GROUP)

    assert repair(queue) == 1

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
    assert repair(queue) == 1


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
    assert repair(queue) == 0


def test_full_memory_leaves_a_lost_group_for_later(queue: Queue) -> None:
    queue.emit(new_job("a"))
    queue.redis.xgroup_destroy(queue.stream().key, GROUP)
    before = queue.snapshot()

    with full_memory(queue.redis), pytest.raises(ResponseError, match=r"OOM|command not allowed"):
        repair(queue)

    assert queue.snapshot() == before
    assert repair(queue) == 1


# Retire


def retire(queue: Queue, unused_ms: int = UNUSED_MS) -> int:
    retired: int = queue.run(transitions.retire(queue.keys, queue.lane, unused_ms))
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
    assert queue.emit(new_job("a")) == ["+1"]
    assert len(queue.deliver()) == 1


def test_retiring_a_lane_that_is_gone_leaves_nothing_behind(queue: Queue) -> None:
    make_old(queue)
    retire(queue)
    before = queue.snapshot()

    retire(queue)

    assert queue.snapshot() == before


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
    forgotten: int = queue.run(transitions.forget(queue.stream(), unseen_ms))
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
        await preflight.check_rights(wire, queue.keys)
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


@pytest.mark.parametrize("command", preflight.commands())
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


async def test_a_user_who_may_not_run_scripts_is_told_so(queue: Queue, user: User) -> None:
    user.may("~*", "+@all", "-evalsha", "-eval")

    with pytest.raises(TaskManagerError, match="scripts cannot be run"):
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
