"""Beside a newer version: what this one does not know it leaves as it is, and loses nothing."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import cast

import pytest
import redis as redis_py

from consumers.admin.facts import End, end_of
from consumers.admin.inspector import Inspector
from consumers.connections.connector import Connector
from consumers.connections.wire import Wire
from consumers.fetch.levels import is_read
from consumers.jobs.lanes import MAX_LANES, listed_lanes
from consumers.jobs.outcome import Buried, Completed, Released, RetryAt
from consumers.jobs.routes import Profile
from consumers.policy import Policy
from consumers.store import asking, relaying, tending
from consumers.store.delivery import Delivery
from consumers.store.keys import bucket
from consumers.store.pause_state import PauseState
from consumers.store.settling import Settlement
from consumers.upkeep.relay import Relay
from taskmanager.handles.known import info_of
from tests.support.queue import Queue, foreign_value, new_job
from tests.support.servers import RedisServer

HOUR_MS = 3_600_000
# Clauses of a head that no version has yet, around those that this one knows.
CLAUSES = ":z=x/y,1:r=1:i=key"
# What a newer version may ask before a job is added.
NEWER_GUARDS = ["z ab", "i key;z ab 1", "z ab;i key", "i key;t key 1 2"]


@pytest.fixture
def queue(redis: redis_py.Redis) -> Queue:
    return Queue(redis)


@pytest.fixture
async def wire(server: RedisServer) -> AsyncIterator[Wire]:
    wire = Wire(Connector.of(server.url), name="relay")
    yield wire
    await wire.close()


def delivered_with_newer_clauses(queue: Queue) -> Delivery:
    """Return the delivery of a job as a newer version adds it."""
    queue.emit(new_job("before"))
    lane = queue.stream().key
    head = f"1:7:{queue.now_ms()}:0:0:0{CLAUSES}"
    fields = {"head": head, "id": "a", "event": "e", "data": "{}", "options": ""}
    entry = queue.redis.xadd(lane, fields).decode()  # type: ignore[arg-type]
    queue.redis.hset(queue.keys.live("a"), "a", f"7 0 {queue.lane.name} {entry}")
    return queue.deliver()[-1]


def clauses_of(queue: Queue, key: str) -> str:
    """Return the clauses of the head of a stream's last entry."""
    ((_, fields),) = queue.redis.xrevrange(key, count=1)
    return ":" + fields[b"head"].decode().split(":", 6)[6]


def test_a_release_carries_clauses_along_that_only_a_newer_version_knows(queue: Queue) -> None:
    assert queue.settle((delivered_with_newer_clauses(queue), Released("stop"))) == ["1"]

    assert clauses_of(queue, queue.stream(front=True).key) == CLAUSES


def test_a_retry_carries_them_along(queue: Queue) -> None:
    assert queue.settle((delivered_with_newer_clauses(queue), RetryAt(0))) == ["1"]

    assert clauses_of(queue, queue.stream().key) == CLAUSES


def test_a_promotion_carries_them_along(queue: Queue) -> None:
    assert queue.settle((delivered_with_newer_clauses(queue), RetryAt(HOUR_MS))) == ["1"]
    queue.make_due("a")
    queue.promote()

    assert clauses_of(queue, queue.stream().key) == CLAUSES


def test_a_replay_carries_them_along(queue: Queue) -> None:
    assert queue.settle((delivered_with_newer_clauses(queue), Buried("failed"))) == ["1"]
    # The newer version has counted further than this one's meta says.
    assert queue.replay("a") == ["+2"]

    assert clauses_of(queue, queue.stream().key) == CLAUSES


def test_a_completion_knows_the_key_of_a_job_with_newer_clauses(queue: Queue) -> None:
    delivery = delivered_with_newer_clauses(queue)
    value = f"{bucket('a')} a 7 {queue.now_ms()}"
    queue.redis.set(queue.keys.idempotency("key"), value)

    assert queue.settle((delivery, Completed())) == ["1"]

    assert queue.redis.pttl(queue.keys.idempotency("key")) > 0


@pytest.mark.parametrize("guard", NEWER_GUARDS)
def test_an_emit_refuses_a_guard_that_only_a_newer_version_knows(queue: Queue, guard: str) -> None:
    words = queue.emit(new_job("a", guard=guard), new_job("b"))

    assert words == [f"U{'t' if 't' in guard else 'z'}", "+1"]
    assert queue.ids() == ["b"]
    assert queue.pointer("a") is None


@pytest.mark.parametrize("guard", NEWER_GUARDS)
def test_a_parent_stays_ours_when_only_a_newer_version_knows_what_a_child_asks(
    queue: Queue, guard: str
) -> None:
    parent = queue.one()

    (word,) = queue.settle(Settlement(parent, Completed(), [new_job("child", guard=guard)]))

    assert word[0] == "U"
    assert queue.pending(parent) is not None
    assert queue.ids() == ["a"]


@pytest.mark.parametrize("guard", NEWER_GUARDS)
async def test_a_committed_job_waits_for_a_relay_that_knows_what_it_asks(
    queue: Queue, wire: Wire, guard: str, caplog: pytest.LogCaptureFixture
) -> None:
    other, third = Queue(queue.redis, "other"), Queue(queue.redis, "third")
    children = [
        new_job("first", queue="other"),
        new_job("newer", queue="other", guard=guard),
        new_job("last", queue="other"),
        new_job("elsewhere", queue="third"),
    ]
    assert queue.settle(Settlement(queue.one(), Completed(), children)) == ["1"]

    await Relay(wire, queue.keys).step()

    assert (other.ids(), third.ids()) == (["first"], ["elsewhere"])
    waiting = [fields[b"id"] for _, fields in queue.redis.xrange(queue.keys.outbox)]
    assert waiting == [b"newer", b"last"]
    assert queue.letters() == []
    assert "they need a newer version" in caplog.text


def wait_in_outbox(queue: Queue, *, guard: str = "z x", at: str = "*", data: str = "{}") -> bytes:
    """Let a child wait that asks what only a newer version knows, and another one behind it."""
    fields = {
        "queue": "other", "lane": "workers:default:0", "bucket": bucket("newer"), "id": "newer",
        "event": "e", "data": data, "options": "", "due": "", "guard": guard, "epoch": "1.1",
    }  # fmt: skip
    entry = queue.redis.xadd(queue.keys.outbox, fields, id=at)
    queue.redis.xadd(queue.keys.outbox, {**fields, "id": "last", "guard": ""})
    assert isinstance(entry, bytes)
    return entry


@pytest.fixture
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """What waits for a newer version has waited for long when it is seen again."""
    monkeypatch.setattr("consumers.upkeep.relay.NEWER_DEADLINE", 0.0)


@pytest.mark.usefixtures("soon")
async def test_a_child_that_no_newer_worker_came_for_does_not_hold_up_others_for_ever(
    queue: Queue, wire: Wire
) -> None:
    """The child may be a foreign value, or come from a version that was rolled back."""
    other, relay, data = Queue(queue.redis, "other"), Relay(wire, queue.keys), "7" * 200_000
    wait_in_outbox(queue, data=data)

    for _ in range(3):
        await relay.step()

    assert other.ids() == ["last"]
    assert queue.redis.xlen(queue.keys.outbox) == 0
    (letter,) = other.letters()
    assert (letter["job"], letter["reason"]) == (b"newer", b"newer_version")
    assert b"z x" in letter["error"]
    # Nothing of it is lost: whoever replays it decides to go without what it asks.
    assert other.replay("newer") == ["+2"]
    assert other.ids() == ["last", "newer"]
    assert other.deliver()[-1].envelope.data == data.encode()


async def test_a_relay_leaves_a_child_for_as_long_as_it_has_seen_it_itself(
    queue: Queue, wire: Wire
) -> None:
    """A fleet that was away for a night knows nothing of what a newer version may come for."""
    relay = Relay(wire, queue.keys)
    wait_in_outbox(queue, at=f"{queue.now_ms() - 24 * HOUR_MS}-1")

    for _ in range(3):
        await relay.step()

    assert queue.redis.xlen(queue.keys.outbox) == 2
    assert Queue(queue.redis, "other").letters() == []


@pytest.mark.usefixtures("soon")
async def test_a_child_that_a_newer_relay_has_handed_on_is_not_dead(
    queue: Queue, wire: Wire
) -> None:
    other, relay = Queue(queue.redis, "other"), Relay(wire, queue.keys)
    other.emit(new_job("newer"))
    entry = wait_in_outbox(queue)
    queue.redis.hset(other.keys.relayed, "default", b"1.1 " + entry)

    for _ in range(3):
        await relay.step()

    assert (other.letters(), other.stat("dead")) == ([], 0)
    assert other.ids() == ["newer", "last"]
    assert queue.redis.xlen(queue.keys.outbox) == 0


@pytest.mark.usefixtures("soon")
async def test_where_a_child_cannot_be_buried_only_those_for_its_queue_wait(
    queue: Queue, wire: Wire
) -> None:
    other, third = Queue(queue.redis, "other"), Queue(queue.redis, "third")
    relay = Relay(wire, queue.keys)
    wait_in_outbox(queue)
    with foreign_value(queue.redis, other.keys.dead):
        await relay.step()
        children = [new_job("elsewhere", queue="third")]
        assert queue.settle(Settlement(queue.one(), Completed(), children)) == ["1"]
        await relay.step()
        assert third.ids() == ["elsewhere"]
        assert queue.redis.xlen(queue.keys.outbox) == 2

    for _ in range(3):
        await relay.step()

    assert other.ids() == ["last"]
    assert [letter["reason"] for letter in other.letters()] == [b"newer_version"]


# Where newer versions put jobs, as the index says it.
PLACES = ["parked @order/ab12", "parked limit/cd", "collecting 1700000000000"]


def has(queue: Queue, place: str) -> None:
    """Let a newer version have job a."""
    queue.redis.hset(queue.keys.live("a"), "a", f"7 0 {place}")


@pytest.mark.parametrize("place", PLACES)
def test_an_emit_does_not_take_over_the_id_of_a_job_that_a_newer_version_has(
    queue: Queue, place: str
) -> None:
    has(queue, place)

    assert queue.emit(new_job("a")) == ["=7"]
    assert queue.emit(new_job("a", due=f"+{HOUR_MS}"), new_job("b")) == ["=7", "+1"]
    assert queue.pointer() == f"7 0 {place}"


@pytest.mark.parametrize("place", PLACES)
def test_its_idempotency_key_stands_for_it(queue: Queue, place: str) -> None:
    has(queue, place)
    queue.redis.set(queue.keys.idempotency("key"), f"{bucket('a')} a 7 {queue.now_ms()}")

    assert queue.emit(new_job("b", guard="i key")) == ["~7:a"]


@pytest.mark.parametrize("place", PLACES)
def test_its_dead_letter_does_not_come_back_beside_it(queue: Queue, place: str) -> None:
    queue.settle((queue.one(), Buried("failed")))
    has(queue, place)

    assert queue.replay("a") == ["=7"]


@pytest.mark.parametrize("place", PLACES)
def test_a_cancel_says_that_a_newer_version_has_it(queue: Queue, place: str) -> None:
    has(queue, place)

    assert queue.cancel() == ("newer_version", 7)
    assert queue.cancel(run=6) == ("too_late", 0)
    assert queue.pointer() == f"7 0 {place}"


@pytest.mark.parametrize("place", PLACES)
def test_it_is_alive_for_those_who_wait_and_for_audits(queue: Queue, place: str) -> None:
    queue.emit(new_job("b"))
    has(queue, place)
    queue.redis.hset(queue.keys.meta, "audit", f"0 {queue.lane.name}")

    assert queue.run(asking.are_live(queue.keys, [("a", 7), ("a", 6)])) == b"10"
    more, *dropped = queue.run(tending.audit(queue.keys))
    while more:
        more, *others = queue.run(tending.audit(queue.keys))
        dropped += others
    assert dropped == []


@pytest.mark.parametrize("place", PLACES)
async def test_its_state_is_that_it_is_parked(queue: Queue, wire: Wire, place: str) -> None:
    has(queue, place)

    facts = await Inspector(wire, queue.keys).job("a")

    assert (facts.state, facts.generation, facts.due_ms) == ("parked", 7, None)
    info = info_of("default", facts)
    assert info is not None
    assert (info.state, info.run) == ("parked", 7)


def test_a_waiter_is_remembered_for_a_job_that_a_newer_version_has(queue: Queue) -> None:
    has(queue, PLACES[0])

    queue.run(asking.inspect(queue.keys, "a", channel="here", waiter_ttl_ms=HOUR_MS))

    assert queue.redis.hget(queue.keys.waiters, "a") == b"here"


@pytest.mark.parametrize("place", ["lane:x 1-1", "workers:default:0:back 1-1"])
def test_a_lane_without_its_priority_is_no_place_of_this_version(queue: Queue, place: str) -> None:
    has(queue, place)

    assert queue.emit(new_job("a")) == ["=7"]


def test_an_end_is_read_without_the_facts_that_a_newer_version_adds() -> None:
    assert end_of(b'7 completed;ms=5,w=x {"a": "b c;d"}') == End(7, "completed", b'{"a": "b c;d"}')
    assert end_of(b"7 cancelled discarded; why") == End(7, "cancelled", b"discarded; why")


# Lanes of routes


def opened(queue: Queue, *whos: str) -> None:
    """Let lanes be listed that a newer version has opened."""
    for who in whos:
        queue.redis.zadd(queue.keys.lanes, {f"{who}:default:0": 0})


def test_lanes_of_routes_leave_the_lanes_of_types_their_room(queue: Queue) -> None:
    opened(queue, *(f"workers+r{n}" for n in range(40)))

    assert queue.emit(new_job("a"), new_job("b", priority=5)) == ["+1", "+2"]

    children = [new_job("child", priority=6)]
    (parent,) = queue.deliver()
    assert queue.settle(Settlement(parent, Completed(), children)) == ["1"]


def test_lanes_of_types_leave_those_of_routes_and_events_their_room(queue: Queue) -> None:
    queue.emit(*(new_job(f"{n}", priority=n) for n in range(MAX_LANES)))

    posted = [
        (f"1-{n}", f"{who}:default:3", bucket(who), who, "e", b"{}", b"", "", "")
        for n, who in enumerate(["workers+gpu", "event.e@1~mail+gpu"], start=1)
    ]
    source = relaying.Outbox("other", "1.1")

    assert queue.emit(new_job("more", priority=90)) == ["L"]
    assert queue.run(relaying.relay(queue.keys, source, posted)) == [2, 0]


@pytest.mark.parametrize(
    ("who", "group", "event"),
    [
        ("workers+gpu", "workers", None),
        ("mail+a.b", "mail", None),
        ("event.send@1~mail", "mail", "send"),
        ("event.send@2~mail+gpu", "mail", "send"),
        ("event.send", "workers", "send"),
    ],
)
def test_both_sides_name_the_same_group(
    queue: Queue, who: str, group: str, event: str | None
) -> None:
    name = f"{who}:default:3"
    (lane,) = listed_lanes("default", [name.encode()])

    # A job that is due goes back to its lane, which is made for it.
    queue.emit(new_job("a", due=f"+{HOUR_MS}"))
    assert queue.run(relaying.relay(
        queue.keys, relaying.Outbox("other", "1.1"),
        [("1-1", name, bucket("b"), "b", "e", b"{}", b"", "", "")],
    )) == [1, 0]  # fmt: skip

    assert (lane.group, lane.event, lane.name) == (group, event, name)
    (found,) = queue.redis.xinfo_groups(queue.keys.lane(lane))
    assert found["name"] == group.encode()


@pytest.mark.parametrize("who", ["workers+gpu", "event.e@1~workers+gpu"])
def test_a_worker_leaves_lanes_alone_of_which_it_does_not_know_what_they_require(who: str) -> None:
    class Handles:
        def events(self, queue: str) -> set[str]:
            return {"e"}

    (route,) = listed_lanes("default", [f"{who}:default:0".encode()])
    (plain,) = listed_lanes("default", [f"{who.partition('+')[0]}:default:0".encode()])
    policy, state = cast(Policy, Handles()), PauseState()

    me = Profile("w")
    assert not is_read(route, me, {}, policy=policy, state=state)
    assert is_read(plain, me, {}, policy=policy, state=state)
