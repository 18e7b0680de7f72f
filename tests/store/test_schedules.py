"""The scripts of schedules on real Redis: each fire time once, whoever fires it (G9)."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest
import redis as redis_py
from redis.exceptions import ResponseError

from consumers.jobs import guards
from consumers.jobs.lanes import MAX_LANES, Lane
from consumers.jobs.outcome import Completed, RetryAt
from consumers.store import scheduling
from consumers.store.schedule_record import MAX_TIME, Record
from consumers.store.scripts import Call
from tests.support.queue import Queue, foreign_value, full_memory, listening, new_job
from tests.support.servers import RedisServer
from tests.support.waiting import PATIENCE

HOUR_MS = 3_600_000


@pytest.fixture
def queue(redis: redis_py.Redis) -> Queue:
    return Queue(redis)


def looked_at(queue: Queue, name: str = "s") -> int | None:
    """Return when a schedule is looked at next (ms)."""
    found = queue.redis.zscore(queue.keys.schedules, name)
    return None if found is None else int(found)


def known(queue: Queue, name: str = "s") -> Record:
    found = queue.schedule(name)
    assert found is not None
    return found


def listed(queue: Queue) -> set[str]:
    return {name.decode() for name in queue.redis.smembers(queue.keys.schedule_names)}


def word(queue: Queue, call: Call) -> str:
    answer: bytes = queue.run(call)
    return answer.decode()


def pause(
    queue: Queue,
    why: str = "paused",
    *,
    name: str = "s",
    digest: str = "",
    registered: int | None = None,
) -> str:
    call = scheduling.pause(queue.keys, name, why, digest=digest, registered=registered)
    return word(queue, call)


def resume(queue: Queue, slot: int | None, *, name: str = "s", digest: str = "d1") -> str:
    return word(queue, scheduling.resume(queue.keys, name, slot, digest=digest))


def remove(queue: Queue, name: str = "s") -> str:
    return word(queue, scheduling.remove(queue.keys, name))


def due(queue: Queue, ago_ms: int = 1000, **registered: Any) -> Record:
    """Register a schedule that was due some time ago and return what is known of it."""
    done, _ = queue.register(slot=queue.now_ms() - ago_ms, **registered)
    assert done in ("created", "replaced")
    return known(queue, registered.get("name", "s"))


# Register


def test_a_new_schedule_is_kept_with_its_definition_and_its_next_fire(queue: Queue) -> None:
    before = queue.now_ms()
    slot = before + HOUR_MS

    with listening(queue.redis, queue.keys.control) as hints:
        assert queue.register(slot=slot, definition=b'{"x":1}', version=3) == ("created", slot)

    found = known(queue)
    assert before <= found.registered <= queue.now_ms()
    assert found == Record(
        name="s", digest="d1", version=3, definition=b'{"x":1}', source="handler", slot=slot,
        fired=None, paused=None, registered=found.registered, last=None, fires=0, skipped=0,
    )  # fmt: skip
    assert (looked_at(queue), listed(queue), hints) == (slot, {"s"}, ["cron"])
    assert queue.redis.hget(queue.keys.meta, "epoch") is not None


@pytest.mark.parametrize("confirm_only", [False, True])
def test_a_definition_that_is_in_force_keeps_its_next_fire(
    queue: Queue, confirm_only: bool
) -> None:
    before = queue.now_ms()
    slot = before + HOUR_MS
    queue.register(slot=slot)
    queue.redis.hset(queue.keys.schedule("s"), "registered", 5)

    with listening(queue.redis, queue.keys.control) as hints:
        kept = queue.register(slot=slot + 17, confirm_only=confirm_only)

    assert kept == ("kept", slot)
    found = known(queue)
    assert (found.slot, looked_at(queue), hints) == (slot, slot, [])
    # That it is in use is what keeps it from being forgotten.
    assert before <= found.registered <= queue.now_ms()


@pytest.mark.parametrize("version", [1, 2])
def test_another_definition_of_no_lower_version_replaces_the_one_before(
    queue: Queue, version: int
) -> None:
    slot = queue.now_ms() + HOUR_MS
    queue.register(slot=slot)

    replaced = queue.register(
        slot=slot + 5, digest="d2", version=version, definition=b"2", source="emit"
    )

    assert replaced == ("replaced", slot + 5)
    found = known(queue)
    assert (found.digest, found.version, found.definition) == ("d2", version, b"2")
    assert (found.source, found.slot, looked_at(queue)) == ("emit", slot + 5, slot + 5)


def test_a_definition_of_a_lower_version_is_not_put_in_force(queue: Queue) -> None:
    slot = queue.now_ms() + HOUR_MS
    queue.register(slot=slot, version=10)
    before = queue.snapshot()

    assert queue.register(slot=slot + 5, digest="d2", version=9) == ("older", slot)

    assert queue.snapshot() == before


def test_a_definition_that_a_higher_version_still_uses_is_not_replaced_by_one_between(
    queue: Queue,
) -> None:
    slot = queue.now_ms() + HOUR_MS
    queue.register(slot=slot, version=1)
    assert queue.register(slot=slot, version=3) == ("kept", slot)

    assert queue.register(slot=slot, digest="d2", version=2) == ("older", slot)

    assert queue.register(slot=slot, version=1) == ("kept", slot)
    assert known(queue).version == 3


def test_confirming_what_is_not_in_force_writes_nothing(queue: Queue) -> None:
    slot = queue.now_ms() + HOUR_MS
    assert queue.register(slot=slot, confirm_only=True) == ("unknown", None)
    assert queue.snapshot() == {}
    queue.register(slot=slot)
    before = queue.snapshot()

    assert queue.register(slot=slot, digest="d2", version=9, confirm_only=True) == ("other", None)

    assert queue.snapshot() == before


def test_no_more_schedules_are_kept_than_may_be(
    queue: Queue, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scheduling, "MAX_SCHEDULES", 2)
    slot = queue.now_ms() + HOUR_MS
    for name in ("a", "b"):
        assert queue.register(name, slot=slot)[0] == "created"
    before = queue.snapshot()

    assert queue.register("c", slot=slot) == ("full", None)

    assert queue.snapshot() == before
    assert queue.register("a", slot=slot, digest="d2")[0] == "replaced"
    assert remove(queue, "a") == "done"
    assert queue.register("c", slot=slot)[0] == "created"


def test_a_schedule_without_a_next_fire_is_kept_and_not_looked_at(queue: Queue) -> None:
    assert queue.register(slot=None) == ("created", None)
    assert (known(queue).slot, looked_at(queue), listed(queue)) == (None, None, {"s"})
    assert queue.register(slot=None) == ("kept", None)

    slot = queue.now_ms() + HOUR_MS
    assert queue.register(slot=slot, digest="d2") == ("replaced", slot)
    assert looked_at(queue) == slot
    assert queue.register(slot=None, digest="d3") == ("replaced", None)
    assert looked_at(queue) is None


def test_g9_a_new_definition_never_gets_a_fire_time_that_was_dealt_with(queue: Queue) -> None:
    record = due(queue)
    assert record.slot is not None
    queue.fire(record, new_job("f"), following=record.slot + HOUR_MS)
    before = queue.snapshot()

    # Its next fire was computed before the other fired.
    assert queue.register(slot=record.slot, digest="d2") == ("past", record.slot)
    assert queue.register(slot=record.slot - 1, digest="d2") == ("past", record.slot)

    assert queue.snapshot() == before
    assert queue.register(slot=record.slot + 1, digest="d2") == ("replaced", record.slot + 1)
    found = known(queue)
    assert (found.fired, found.last, found.fires) == (record.slot, "f", 1)


def test_a_schedule_that_nobody_registered_comes_back_with_its_registration(
    queue: Queue,
) -> None:
    slot = queue.now_ms() + HOUR_MS
    queue.register(slot=slot)
    pause(queue, "unregistered")
    assert looked_at(queue) is None

    assert queue.register(slot=slot + 5) == ("kept", slot + 5)

    found = known(queue)
    assert (found.paused, found.slot, looked_at(queue)) == (None, slot + 5, slot + 5)


def test_g9_a_schedule_that_nobody_registered_does_not_come_back_with_a_past_fire_time(
    queue: Queue,
) -> None:
    record = due(queue)
    assert record.slot is not None
    following = record.slot + HOUR_MS
    queue.fire(record, new_job("f"), following=following)
    pause(queue, "unregistered")

    assert queue.register(slot=record.slot) == ("past", record.slot)
    assert (known(queue).paused, looked_at(queue)) == ("unregistered", None)

    assert queue.register(slot=following) == ("kept", following)
    assert (known(queue).paused, looked_at(queue)) == (None, following)


def test_a_schedule_that_nobody_registered_comes_back_with_another_definition(
    queue: Queue,
) -> None:
    slot = queue.now_ms() + HOUR_MS
    queue.register(slot=slot)
    pause(queue, "unregistered")

    assert queue.register(slot=slot + 5, digest="d2") == ("replaced", slot + 5)

    assert (known(queue).paused, looked_at(queue)) == (None, slot + 5)


def test_a_schedule_that_a_user_paused_stays_paused_whatever_is_registered(queue: Queue) -> None:
    slot = queue.now_ms() + HOUR_MS
    queue.register(slot=slot)
    pause(queue, "for the migration")

    assert queue.register(slot=slot + 5) == ("kept", slot)
    assert queue.register(slot=slot + 7, digest="d2") == ("replaced", slot + 7)

    found = known(queue)
    assert (found.digest, found.paused) == ("d2", "for the migration")
    assert looked_at(queue) is None


def test_a_schedule_that_a_user_paused_is_not_brought_back_by_being_forgotten(
    queue: Queue,
) -> None:
    slot = queue.now_ms() + HOUR_MS
    queue.register(slot=slot)
    pause(queue, "for the migration")

    # By a worker that read the record before that.
    assert pause(queue, "unregistered", digest="d1") == "kept"

    queue.register(slot=slot)
    assert (known(queue).paused, looked_at(queue)) == ("for the migration", None)


@pytest.mark.parametrize("confirm_only", [False, True])
@pytest.mark.parametrize("version", [2**53 - 1, 10**15 + 1, 100_000_000_000_000])
def test_a_version_is_kept_as_it_was_given(queue: Queue, version: int, confirm_only: bool) -> None:
    slot = queue.now_ms() + HOUR_MS
    queue.register(slot=slot, version=version - 1)
    queue.register(slot=slot, version=version, confirm_only=confirm_only)
    queue.register(slot=slot, version=1)

    kept = queue.redis.hget(queue.keys.schedule("s"), "version")
    assert kept == str(version).encode()
    assert queue.register(slot=slot, version=version - 1, digest="d2")[0] == "older"


@pytest.mark.parametrize("value", ["", "x", "1.7e+18", "1" * 30])
def test_a_version_that_is_none_is_put_right_by_the_next_registration(
    queue: Queue, value: str
) -> None:
    slot = queue.now_ms() + HOUR_MS
    for digest in ("d1", "d2"):
        queue.register(slot=slot)
        queue.redis.hset(queue.keys.schedule("s"), "version", value)
        with listening(queue.redis, queue.keys.control) as hints:
            done = queue.register(slot=slot, digest=digest, version=3)
        assert done[0] in ("kept", "replaced")
        assert (known(queue).version, hints) == (3, ["cron"])


@pytest.mark.parametrize("confirm_only", [False, True])
@pytest.mark.parametrize("spoiled", ["slot", "fired"])
def test_times_that_are_none_are_put_right_by_the_next_registration(
    queue: Queue, spoiled: str, confirm_only: bool
) -> None:
    slot = queue.now_ms() + HOUR_MS
    queue.register(slot=slot)
    queue.redis.hset(queue.keys.schedule("s"), spoiled, "1e9")
    assert known(queue).unreadable

    assert queue.register(slot=slot + 5, confirm_only=confirm_only) == ("kept", slot + 5)

    found = known(queue)
    assert (found.unreadable, found.slot, found.fired) == (None, slot + 5, None)
    assert looked_at(queue) == slot + 5


SPOILED: list[tuple[str, bytes]] = [
    ("digest", b"\xff"),
    ("version", b"1.7e+18"),
    ("source", b"\xff"),
    ("slot", b"soon"),
    ("slot", b"-1"),
    ("slot", str(MAX_TIME + 1).encode()),
    ("fired", b"9" * 5000),
    ("paused", b"\xff"),
    ("registered", b"0x10"),
    ("registered", b""),
    ("last", b"\xff"),
]


@pytest.mark.parametrize(("field", "value"), SPOILED)
def test_a_record_that_somebody_spoiled_is_read_as_one_that_cannot_be_read(
    queue: Queue, field: str, value: bytes
) -> None:
    queue.register(slot=queue.now_ms() + HOUR_MS)
    queue.redis.hset(queue.keys.schedule("s"), field, value)

    found = known(queue)

    assert found.unreadable is not None
    assert found.unreadable.startswith(f"its {field} ")
    assert (found.name, found.definition, found.slot, found.registered) == ("s", b"", None, 0)
    assert len(found.unreadable) < 200


def test_what_else_is_in_a_record_does_not_spoil_it(queue: Queue) -> None:
    slot = queue.now_ms() + HOUR_MS
    queue.register(slot=slot)
    more = {b"\xff": b"\xff", "fires": "x", "skipped": b"\xff"}
    queue.redis.hset(queue.keys.schedule("s"), mapping=more)

    found = known(queue)

    assert (found.unreadable, found.slot, found.fires, found.skipped) == (None, slot, 0, 0)


# Pause, resume, remove


def test_a_schedule_that_was_registered_meanwhile_is_not_taken_for_forgotten(
    queue: Queue,
) -> None:
    queue.register(slot=queue.now_ms() + HOUR_MS)
    before = queue.snapshot()
    registered = known(queue).registered

    assert pause(queue, "unregistered", digest="d1", registered=registered - 1) == "kept"

    assert queue.snapshot() == before
    assert pause(queue, "unregistered", digest="d1", registered=registered) == "done"


def test_a_paused_schedule_is_not_looked_at_until_it_is_resumed(queue: Queue) -> None:
    slot = queue.now_ms() + HOUR_MS
    queue.register(slot=slot)

    with listening(queue.redis, queue.keys.control) as hints:
        assert pause(queue, "why") == "done"
    assert (known(queue).paused, looked_at(queue), hints) == ("why", None, ["cron"])
    assert pause(queue, "another reason") == "done"
    assert known(queue).paused == "another reason"

    with listening(queue.redis, queue.keys.control) as hints:
        assert resume(queue, slot + 5) == "done"
    found = known(queue)
    assert (found.paused, found.slot) == (None, slot + 5)
    assert (looked_at(queue), hints) == (slot + 5, ["cron"])


def test_a_schedule_without_a_next_fire_is_resumed_and_not_looked_at(queue: Queue) -> None:
    queue.register(slot=queue.now_ms() + HOUR_MS)
    pause(queue)

    assert resume(queue, None) == "done"

    assert (known(queue).slot, known(queue).paused, looked_at(queue)) == (None, None, None)


def test_g9_a_schedule_is_not_resumed_with_a_fire_time_that_was_dealt_with(queue: Queue) -> None:
    record = due(queue)
    assert record.slot is not None
    queue.fire(record, new_job("f"), following=record.slot + HOUR_MS)
    pause(queue)
    before = queue.snapshot()

    assert resume(queue, record.slot) == "past"

    assert queue.snapshot() == before
    assert resume(queue, record.slot + 1) == "done"


CHANGES: dict[str, Callable[..., str]] = {
    "pause": lambda queue, name="s", digest="d2": pause(queue, name=name, digest=digest),
    "resume": lambda queue, name="s", digest="d2": resume(
        queue, queue.now_ms() + HOUR_MS, name=name, digest=digest
    ),
}
CHANGE = pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)


@CHANGE
def test_a_definition_that_was_replaced_meanwhile_is_not_changed(
    queue: Queue, change: Callable[..., str]
) -> None:
    queue.register(slot=queue.now_ms() + HOUR_MS)
    before = queue.snapshot()

    assert change(queue, digest="d2") == "other"

    assert queue.snapshot() == before
    assert change(queue, digest="d1") == "done"


def test_a_schedule_that_there_is_not_can_be_neither_paused_resumed_nor_removed(
    queue: Queue,
) -> None:
    assert (pause(queue), resume(queue, 5), resume(queue, 5, digest="")) == ("unknown",) * 3
    assert remove(queue) == "unknown"

    assert queue.snapshot() == {}


def test_a_removed_schedule_leaves_nothing_behind(queue: Queue) -> None:
    record = due(queue)
    queue.fire(record, new_job("f"), following=queue.now_ms() + HOUR_MS)
    queue.register("other", slot=queue.now_ms() + HOUR_MS)

    with listening(queue.redis, queue.keys.control) as hints:
        assert remove(queue) == "done"

    assert (queue.schedule(), looked_at(queue), listed(queue)) == (None, None, {"other"})
    assert hints == ["cron"]
    assert remove(queue) == "unknown"
    assert queue.ids() == ["f"]


@pytest.mark.parametrize("paused", [False, True])
def test_g12_a_schedule_is_paused_resumed_and_removed_in_full_memory(
    queue: Queue, paused: bool
) -> None:
    slot = queue.now_ms() + HOUR_MS
    queue.register(slot=slot)
    if paused:
        pause(queue)

    with full_memory(queue.redis):
        assert pause(queue) == "done"
        assert (known(queue).paused, looked_at(queue)) == ("paused", None)
        assert resume(queue, slot) == "done"
        assert (known(queue).paused, looked_at(queue)) == (None, slot)
        assert remove(queue) == "done"

    assert queue.schedule() is None


@pytest.mark.parametrize("registered", [False, True])
def test_g12_a_registration_into_full_memory_leaves_nothing(queue: Queue, registered: bool) -> None:
    slot = queue.now_ms() + HOUR_MS
    if registered:
        queue.register(slot=slot)
    before = queue.snapshot()

    for digest in ("d1", "d2"):
        with full_memory(queue.redis), pytest.raises(ResponseError, match=r"OOM|maxmemory"):
            queue.register(slot=slot, digest=digest)

    assert queue.snapshot() == before


def key_named(queue: Queue, name: str) -> str:
    return {
        "meta": queue.keys.meta,
        "lanes": queue.keys.lanes,
        "counters": queue.keys.stats,
        "schedules": queue.keys.schedules,
        "schedule": queue.keys.schedule("s"),
        "names": queue.keys.schedule_names,
    }[name]


@pytest.mark.parametrize("name", ["meta", "schedules", "schedule", "names"])
@pytest.mark.parametrize("used", [False, True])
def test_a_foreign_value_keeps_a_schedule_from_being_registered(
    queue: Queue, name: str, used: bool
) -> None:
    slot = queue.now_ms() + HOUR_MS
    if used:
        queue.register(slot=slot)
    before = queue.snapshot()

    for digest in ("d1", "d2"):
        with (
            foreign_value(queue.redis, key_named(queue, name)),
            pytest.raises(ResponseError, match="WRONGTYPE"),
        ):
            queue.register(slot=slot, digest=digest)

    assert queue.snapshot() == before


@pytest.mark.parametrize("name", ["schedules", "schedule", "names"])
@pytest.mark.parametrize("change", ["pause", "resume", "remove"])
def test_a_foreign_value_keeps_a_schedule_as_it_is(queue: Queue, name: str, change: str) -> None:
    slot = queue.now_ms() + HOUR_MS
    queue.register(slot=slot)
    changes: dict[str, Callable[[], str]] = {
        "pause": lambda: pause(queue),
        "resume": lambda: resume(queue, slot + 5),
        "remove": lambda: remove(queue),
    }
    before = queue.snapshot()

    with (
        foreign_value(queue.redis, key_named(queue, name)),
        pytest.raises(ResponseError, match="WRONGTYPE"),
    ):
        changes[change]()

    assert queue.snapshot() == before


@pytest.mark.parametrize(("field", "value"), [("layout", "2"), ("generation", "x")])
def test_a_queue_that_somebody_spoiled_gets_no_schedule_and_fires_none(
    queue: Queue, field: str, value: str
) -> None:
    record = due(queue)
    queue.redis.hset(queue.keys.meta, field, value)
    before = queue.snapshot()

    with pytest.raises(ResponseError, match=r"LAYOUT|generation"):
        queue.register(slot=record.slot, digest="d2")
    with pytest.raises(ResponseError, match=r"LAYOUT|generation"):
        queue.fire(record, new_job("f"))

    assert queue.snapshot() == before


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


# Overlap


def waits(queue: Queue) -> None:
    """The job of the last fire lies in its lane."""


def runs(queue: Queue) -> None:
    queue.deliver()


def retries(queue: Queue) -> None:
    queue.settle((queue.deliver()[0], RetryAt(HOUR_MS)))


def has_ended(queue: Queue) -> None:
    queue.settle((queue.deliver()[0], Completed()))


def was_cancelled(queue: Queue) -> None:
    assert queue.cancel("f1")[0] == "cancelled"


def fired_once(queue: Queue, life: Callable[[Queue], None]) -> Record:
    """Fire a schedule, let its job live so, and return the schedule as it is due again."""
    first = due(queue, ago_ms=HOUR_MS)
    queue.fire(first, new_job("f1"), following=queue.now_ms() - 1000)
    life(queue)
    return known(queue)


LIVES = pytest.mark.parametrize("life", [waits, runs, retries])
OVER = pytest.mark.parametrize("life", [has_ended, was_cancelled])


@LIVES
def test_a_fire_is_passed_over_while_the_job_of_the_last_one_lives(
    queue: Queue, life: Callable[[Queue], None]
) -> None:
    record = fired_once(queue, life)
    following = queue.now_ms() + HOUR_MS

    fired = queue.fire(
        record, new_job("f2"), new_job("f3"), overlap="skip", passed_over=2, following=following
    )

    assert fired == ("fired", 0)
    found = known(queue)
    assert (found.fired, found.slot, looked_at(queue)) == (record.slot, following, following)
    assert (found.last, found.fires, found.skipped) == ("f1", 1, 4)
    assert (queue.pointer("f2"), queue.stat("emitted")) == (None, 1)


@LIVES
def test_a_fire_waits_while_the_job_of_the_last_one_lives(
    queue: Queue, life: Callable[[Queue], None]
) -> None:
    record = fired_once(queue, life)
    before, now = known(queue), queue.now_ms()

    assert queue.fire(record, new_job("f2"), overlap="queue") == ("busy", 0)

    assert known(queue) == before
    looks = looked_at(queue)
    assert looks is not None
    assert now + 1000 <= looks <= queue.now_ms() + 1000
    assert queue.pointer("f2") is None


@LIVES
def test_a_fire_does_not_ask_for_the_job_of_the_last_one_where_they_may_overlap(
    queue: Queue, life: Callable[[Queue], None]
) -> None:
    record = fired_once(queue, life)

    assert queue.fire(record, new_job("f2"), overlap="allow") == ("fired", 1)

    assert queue.pointer("f2") is not None
    assert known(queue).last == "f2"


@OVER
@pytest.mark.parametrize("overlap", ["skip", "queue"])
def test_a_fire_after_the_job_of_the_last_one_has_ended_is_fired(
    queue: Queue, life: Callable[[Queue], None], overlap: str
) -> None:
    record = fired_once(queue, life)

    assert queue.fire(record, new_job("f2"), overlap=overlap) == ("fired", 1)

    found = known(queue)
    assert (found.last, found.fires, found.skipped) == ("f2", 2, 0)


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


@pytest.mark.parametrize("jobs", [0, 2])
@pytest.mark.parametrize("new_lane", [False, True])
def test_g12_a_fire_into_full_memory_writes_nothing(
    queue: Queue, jobs: int, new_lane: bool
) -> None:
    if not new_lane:
        queue.emit(new_job("x"))
    record = due(queue)
    before = queue.snapshot()

    with full_memory(queue.redis), pytest.raises(ResponseError, match=r"OOM|command not allowed"):
        queue.fire(record, *(new_job(f"f{n}") for n in range(jobs)), passed_over=1)

    assert queue.snapshot() == before
    assert queue.fire(record, new_job("f")) == ("fired", 1)


def test_g12_a_fire_that_waits_or_is_refused_in_full_memory_writes_nothing(queue: Queue) -> None:
    record = fired_once(queue, waits)
    queue.emit(*(new_job(f"lane-{n}", priority=n) for n in range(1, MAX_LANES)))
    before = queue.snapshot()

    with full_memory(queue.redis):
        assert queue.fire(record, new_job("f2"), overlap="queue") == ("busy", 0)
        assert queue.fire(record, new_job("f2", priority=99)) == ("L", 0)

    assert queue.snapshot() == before


@pytest.mark.parametrize("name", ["meta", "lanes", "counters", "schedules", "schedule"])
def test_a_foreign_value_in_a_key_of_the_queue_keeps_a_schedule_from_being_fired(
    queue: Queue, name: str
) -> None:
    record = due(queue)
    before = queue.snapshot()

    with (
        foreign_value(queue.redis, key_named(queue, name)),
        pytest.raises(ResponseError, match="WRONGTYPE"),
    ):
        queue.fire(record, new_job("f"))

    assert queue.snapshot() == before
    assert queue.fire(record, new_job("f")) == ("fired", 1)


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
