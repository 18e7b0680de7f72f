"""The rows of what opens and retires the lanes of routes: what a route requires is kept with them.

Workers find that in the jobs as well, so that a foreign value in its place refuses nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from unittest.mock import ANY

from consumers.jobs.envelope import NewJob
from consumers.jobs.outcome import Buried, Completed, Outcome, Released, RetryAt
from consumers.store import relaying, replaying, scheduling, settling, tending
from consumers.store.keys import bucket
from consumers.store.scripts import Call
from consumers.store.settling import Settlement
from tests.store.conformance.emitting import DELAYED, IN_THE_WAY, LATER, OF_A_BATCH, emit
from tests.store.conformance.row import (
    AS_USUAL,
    DOOR,
    OUT_OF_MEMORY,
    REFUSED,
    REPLACED,
    Reply,
    Row,
    all_of,
    lane,
    nothing,
)
from tests.store.schedules.steps import due
from tests.support.queue import BOUNDS, GROUP, ME, RESULT_TTL_MS, Queue, new_job
from tests.support.routing import routed_job

JOB = routed_job()
LANE = f"lane:{JOB.lane.name}"
BOTH = f"{LANE} {LANE}:front"
OWN = f"lane:{JOB.lane.for_event('work').name}"
# Scripts pass over it, and write what they write besides.
KEPT = {"routes": AS_USUAL}
TTL_MS = 60_000


def _unlist(queue: Queue) -> None:
    """Let the lane be gone as far as its list says, and with it what its route requires."""
    queue.redis.zrem(queue.keys.lanes, JOB.lane.name)
    queue.redis.delete(queue.keys.routes)


def _promote(queue: Queue) -> Call:
    queue.emit(routed_job(due=LATER))
    _unlist(queue)
    queue.make_due("a")
    return tending.promote(queue.keys, 256)


def _settle(
    outcome: Outcome, *children: NewJob, routed: bool = True, unlisted: bool = False
) -> Callable[[Queue], Call]:
    def call(queue: Queue) -> Call:
        delivery = queue.one(routed_job() if routed else new_job("a", "work"))
        if unlisted:
            _unlist(queue)
        batch = [Settlement(delivery, outcome, children)]
        return settling.settle_items(queue.keys, ME, RESULT_TTL_MS, batch, BOUNDS)

    return call


def _settle_row(
    case: str, call: Callable[[Queue], Call], writes: str, came_from: str, refuse: str
) -> Row:
    foreign = {
        **OF_A_BATCH,
        "waiters": REFUSED,
        **all_of("cancelled cancelling dead dead_index", AS_USUAL),
        **all_of("result:a", REPLACED),
        **KEPT,
        came_from: nothing("0"),
        **all_of(f"live:a {refuse}", IN_THE_WAY),
    }
    written = f"{DOOR} stats lanes live:a {came_from} {writes}"
    return Row("settle", case, call, "1", written, foreign, is_batch=True)


def _replay(queue: Queue) -> Call:
    queue.settle((queue.one(routed_job()), Buried("failed")))
    _unlist(queue)
    return replaying.replay_items(queue.keys, ["a"])


def _relay(queue: Queue) -> Call:
    job = routed_job()
    where = [job.lane.name, bucket(job.id), job.id]
    posted = ["5-1", *where, job.event, job.data, job.options, "", ""]
    return relaying.relay(queue.keys, relaying.Outbox("other", "1"), [posted], overdue=False)


def _fire(queue: Queue) -> Call:
    record = due(queue)
    assert record.slot is not None
    return scheduling.fire(
        queue.keys, record, latest=record.slot, following=record.slot + TTL_MS, overlap="allow",
        passed_over=0, jobs=[routed_job()],
    )  # fmt: skip


def _retire(*others: NewJob) -> Callable[[Queue], Call]:
    """Retire the route's lane that no job was ever in; others are in lanes of their own."""

    def call(queue: Queue) -> Call:
        queue.emit(routed_job(), *others)
        for key in (queue.stream(JOB.lane).key, queue.stream(JOB.lane, front=True).key):
            queue.redis.delete(key)
            queue.redis.xgroup_create(key, GROUP, "0", mkstream=True)
        return tending.retire(queue.keys, JOB.lane, TTL_MS)

    return call


def _emit_row(
    case: str, writes: str, foreign: Mapping[str, Reply], *jobs: NewJob, before: Sequence[NewJob]
) -> Row:
    return Row(
        "emit", case, emit(*jobs, before=before), f"+{1 + len(before)}",
        f"{DOOR} meta stats live:a {writes}", OF_A_BATCH | foreign, OUT_OF_MEMORY, is_batch=True,
    )  # fmt: skip


BEFORE = [new_job("before")]
ROWS = [
    _emit_row(
        "the first of a route", f"lanes routes {BOTH}",
        {**all_of(f"live:a {BOTH}", IN_THE_WAY), **KEPT}, routed_job(), before=BEFORE,
    ),
    _emit_row(
        "of a route that is there", LANE, all_of(f"live:a {LANE}", IN_THE_WAY),
        routed_job(), before=[routed_job(id="before")],
    ),
    _emit_row(
        "into another lane of a route", f"lanes {BOTH}",
        # What is required is written with each lane, and is the same.
        {**all_of(f"live:a {BOTH}", IN_THE_WAY), **KEPT},
        routed_job(), before=[routed_job(id="before", priority=1)],
    ),
    _emit_row(
        "delayed, of a new route", f"lanes routes {BOTH} {DELAYED}",
        {**all_of(f"live:a {BOTH} {DELAYED}", IN_THE_WAY), **KEPT},
        routed_job(due=LATER), before=BEFORE,
    ),
    Row(
        "promote", "into the lane of a route that is not listed", _promote, [1, -1],
        f"lanes routes stats live:a {LANE} {DELAYED}",
        {
            **all_of(f"lanes {DELAYED}", REFUSED),
            "stats": AS_USUAL,
            **all_of(f"live:a {BOTH}", Reply([0, ANY], writes="delayed")),
            **KEPT,
        },
    ),
    _settle_row(
        "complete with a child of a route",
        _settle(Completed(b"1"), routed_job(id="child"), routed=False),
        f"meta routes result:a live:child {BOTH}", lane(), f"live:child {BOTH}",
    ),
    _settle_row(
        "release to its event, of a route", _settle(Released("paused", "work")),
        f"{OWN} {OWN}:front", LANE, f"{OWN} {OWN}:front",
    ),
    _settle_row(
        "retry, of a route that is not listed", _settle(RetryAt(0, b"[]"), unlisted=True),
        "routes", LANE, DELAYED,
    ),
    Row(
        "relay", "a job of a new route", _relay, [1, 0],
        f"meta lanes routes stats relayed live:a {BOTH}",
        {
            **all_of("meta lanes stats relayed", REFUSED),
            **all_of(f"live:a {BOTH}", nothing([0, 0])),
            **KEPT,
        },
        in_full_memory=OUT_OF_MEMORY,
    ),
    Row(
        "replay", "of a route that is not listed", _replay, "+2",
        f"{DOOR} meta lanes routes stats dead dead_index live:a {LANE}",
        {
            **OF_A_BATCH,
            **all_of("dead dead_index", REFUSED),
            **all_of(f"live:a {BOTH}", IN_THE_WAY),
            **KEPT,
        },
        is_batch=True,
    ),
    Row(
        "fire_schedule", "a job of a new route", _fire, ["fired", 1],
        f"cron cron:s meta lanes routes stats live:a {BOTH}",
        {
            **all_of("meta lanes stats cron cron:s", REFUSED),
            **all_of(f"live:a {BOTH}", Reply(["T{key}", 0], writes="cron")),
            **KEPT,
        },
        OUT_OF_MEMORY,
    ),
    Row(
        "retire_lane", "the last of a route", _retire(), 1, f"lanes routes {BOTH}",
        {
            **all_of(BOTH, nothing(0)),
            **all_of("lanes delayed:lanes", REFUSED),
            "meta": AS_USUAL,
            **KEPT,
        },
    ),
    Row(
        "retire_lane", "of a route that has another", _retire(routed_job(id="b", priority=1)), 1,
        f"lanes {BOTH}",
        {
            **all_of(BOTH, nothing(0)),
            **all_of("lanes delayed:lanes", REFUSED),
            "meta": AS_USUAL,
        },
    ),
]  # fmt: skip
