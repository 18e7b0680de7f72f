"""register_schedule.lua on real Redis: one definition is in force, and its fire times go on."""

from __future__ import annotations

import pytest

from consumers.store import scheduling
from consumers.store.schedule_record import MAX_TIME, Record
from tests.store.schedules.steps import HOUR_MS, due, known, listed, looked_at, pause, remove
from tests.support.queue import Queue, listening, new_job


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
