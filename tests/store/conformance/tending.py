"""The rows of what opens, repairs, audits and retires lanes, and of what a worker holds."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from unittest.mock import ANY

from consumers.store import changing, leasing, noting, tending
from consumers.store.delivery import Delivery
from consumers.store.scripts import Call
from tests.store.conformance.row import (
    AS_USUAL,
    OUT_OF_MEMORY,
    REFUSED,
    Reply,
    Row,
    all_of,
    lane,
    lane_and_front,
    nothing,
)
from tests.support.queue import GROUP, ME, OTHER, Queue, new_job

LEASE_MS = 30_000
LONG_AGO_MS = 600_000
TTL_MS = 60_000
LANE, FRONT = f"tm:{{default}}:{lane()}", f"tm:{{default}}:{lane()}:front"


def _open(queue: Queue) -> Call:
    return tending.open_queue(queue.keys, queue.lane, LEASE_MS)


def _open_used(queue: Queue) -> Call:
    queue.one()
    return _open(queue)


def _open_again(queue: Queue) -> Call:
    queue.run(_open(queue))
    return _open(queue)


def _name_dead(queue: Queue) -> Call:
    queue.run(_open(queue))
    return tending.open_queue(queue.keys, queue.lane, LEASE_MS, dead="x")


def _repair(lost: Callable[[Queue], object]) -> Callable[[Queue], Call]:
    def call(queue: Queue) -> Call:
        queue.emit(new_job())
        lost(queue)
        return tending.repair(queue.keys, queue.lane, GROUP)

    return call


def _audit(queue: Queue) -> Call:
    """The first step of an audit, after a lane was deleted."""
    queue.emit(new_job("a"), new_job("b"))
    queue.redis.delete(queue.stream().key)
    queue.run(tending.repair(queue.keys, queue.lane, GROUP))
    return tending.audit(queue.keys)


def _audit_all(queue: Queue) -> Call:
    """A step that looks at the whole index."""
    step = _audit(queue)
    step.args[2] = step.args[1]
    return step


def _retire(queue: Queue) -> Call:
    for key in (queue.stream().key, queue.stream(front=True).key):
        queue.redis.xgroup_create(key, GROUP, "0", mkstream=True)
    queue.redis.zadd(queue.keys.lanes, {queue.lane.name: 0})
    return tending.retire(queue.keys, queue.lane, TTL_MS)


def _retire_deleted(queue: Queue) -> Call:
    call = _retire(queue)
    queue.redis.delete(queue.stream().key)
    return call


def _forget(queue: Queue) -> Call:
    queue.one()
    queue.redis.xgroup_createconsumer(queue.stream().key, GROUP, "idle")
    queue.redis.xreadgroup(GROUP, "idle", {queue.stream().key: ">"}, count=1)
    return tending.forget(queue.stream(), -1)


def _renew(queue: Queue) -> Call:
    held = [queue.one(), queue.one(new_job("b", priority=5))]
    return leasing.renew(queue.keys, ME, held)


def _reclaim(queue: Queue) -> Call:
    """An expired delivery, and one whose entry somebody deleted."""
    queue.emit(new_job("a"), new_job("b"))
    kept, gone = queue.deliver(consumer=OTHER)
    for delivery in (kept, gone):
        queue.age(delivery, LONG_AGO_MS)
    queue.redis.xdel(gone.stream.key, gone.entry)
    return leasing.reclaim(queue.stream(), ME, LEASE_MS, "-", 1000, ())


def _solo(queue: Queue) -> Call:
    return leasing.solo(queue.one(), ME, 1)


def _ask_solo(queue: Queue) -> Call:
    return leasing.solo(queue.one(), ME)


def _log(delivery: Delivery) -> Call:
    return noting.log(delivery, ME, TTL_MS, "a line")


def _progress(delivery: Delivery) -> Call:
    return noting.progress(delivery, ME, TTL_MS, ["done", 1])


def _note(note: Callable[[Delivery], Call], before: int) -> Callable[[Queue], Call]:
    def call(queue: Queue) -> Call:
        delivery = queue.one()
        for _ in range(before):
            queue.run(note(delivery))
        return note(delivery)

    return call


def _note_row(case: str, key: str, note: Callable[[Delivery], Call], before: int) -> Row:
    foreign = {key: REFUSED, lane(): nothing(0)}
    return Row("note", case, _note(note, before), 1, key, foreign)


def _pause_row(
    case: str, event: str | None, *before: str | None, pauses: bool, used: bool = True
) -> Row:
    """Pause or resume an event, or for None the queue; what is paused before likewise."""

    def call(queue: Queue) -> Call:
        if used:
            queue.emit(new_job())
        for it in before:
            queue.pause(it)
        return changing.pause(queue.keys, event, pauses=pauses)

    return Row("pause", case, call, len(before) + 1, "meta", all_of("meta", REFUSED))


OPEN = Row(
    "open_queue", "a new one", _open, [ANY, LEASE_MS, ""], f"meta lanes {lane_and_front()}",
    all_of(f"meta lanes {lane_and_front()}", REFUSED), in_full_memory=OUT_OF_MEMORY,
)  # fmt: skip
ROWS = [
    OPEN,
    replace(OPEN, case="one that was emitted to", call=_open_used, writes="meta"),
    replace(OPEN, case="an open one", call=_open_again, writes="", in_full_memory=AS_USUAL),
    replace(
        OPEN, case="one whose letters get a stream", call=_name_dead, answer=[ANY, LEASE_MS, "x"],
        writes="meta", foreign={**OPEN.foreign, "dead": AS_USUAL},
    ),
    Row(
        "repair_lane", "a lost group",
        _repair(lambda queue: queue.redis.xgroup_destroy(queue.stream().key, GROUP)),
        [[LANE], []], f"meta {lane()}",
        {
            **all_of(f"meta lanes {lane()}", REFUSED),
            f"{lane()}:front": Reply(error="WRONGTYPE"),
        },
        in_full_memory=OUT_OF_MEMORY,
    ),
    Row(
        "repair_lane", "a deleted front",
        _repair(lambda queue: queue.redis.delete(queue.stream(front=True).key)),
        [[], [FRONT]], f"meta {lane()}:front",
        {
            **all_of(f"meta lanes {lane()}:front", REFUSED),
            lane(): Reply(error="WRONGTYPE"),
        },
        in_full_memory=OUT_OF_MEMORY,
    ),
    Row(
        "audit_live", "the first step of many", _audit, [1], "meta",
        {**all_of("meta waiters", REFUSED), "stats": AS_USUAL},
    ),
    Row(
        "audit_live", "of a deleted lane", _audit_all, [0, "b", "a"], "meta stats live:a live:b",
        {
            **all_of("meta waiters", REFUSED),
            "stats": AS_USUAL,
            "live:a": Reply([0, "b"], writes="meta stats live:b"),
            "live:b": Reply([0, "a"], writes="meta stats live:a"),
            lane(): Reply([0], writes="meta"),
        },
    ),
    Row(
        "retire_lane", "", _retire, 1, f"lanes {lane_and_front()}",
        {
            **all_of(lane_and_front(), nothing(0)),
            **all_of("lanes delayed:lanes", REFUSED),
            "meta": AS_USUAL,
        },
    ),
    Row(
        "retire_lane", "whose stream was deleted", _retire_deleted, 1,
        f"meta lanes {lane()}:front",
        {
            **all_of(lane_and_front(), nothing(0)),
            **all_of("lanes delayed:lanes meta", REFUSED),
        },
    ),
    Row(
        "forget_consumers", "", _forget, 1, "", {lane(): REFUSED},
        in_full_memory_of_6_2=OUT_OF_MEMORY,
    ),
    Row(
        "renew", "", _renew, "11", "",
        {
            lane(): nothing("01"),
            lane(5): nothing("10"),
            **all_of("cancelled cancelling", AS_USUAL),
        },
    ),
    Row(
        "reclaim", "one is missing", _reclaim, ["", 1, [ANY, 2, ANY, 0]], f"{lane()} stats meta",
        {lane(): REFUSED, **all_of("stats meta cancelled cancelling", AS_USUAL)},
    ),
    Row(
        "mark_solo", "", _solo, 0, "live:a",
        {"live:a": REFUSED, lane(): nothing(-1), **all_of("cancelled cancelling", AS_USUAL)},
    ),
    Row("mark_solo", "asked only", _ask_solo, 0, "", {"live:a": REFUSED, lane(): nothing(-1)}),
    _note_row("log", "log:a", _log, 0),
    _note_row("another line of a log", "log:a", _log, 1),
    _note_row("progress", "progress:a", _progress, 0),
    _note_row("more progress", "progress:a", _progress, 1),
    _pause_row("a new queue", None, pauses=True, used=False),
    _pause_row("an event of a new queue", "e", pauses=True, used=False),
    _pause_row("a queue", None, "e", pauses=True),
    _pause_row("an event", "f", "e", None, pauses=True),
    _pause_row("an event again", "e", "e", pauses=True),
    _pause_row("a queue goes on", None, "e", None, pauses=False),
    _pause_row("a queue that was not paused goes on", None, "e", pauses=False),
    _pause_row("an event goes on", "e", "e", None, pauses=False),
    _pause_row("an event of a new queue goes on", "e", "e", pauses=False, used=False),
    _pause_row("a new queue goes on", None, None, pauses=False, used=False),
]  # fmt: skip
