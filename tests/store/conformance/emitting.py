"""The rows of what adds jobs: emit, promote, relay, replay."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from unittest.mock import ANY

from consumers.jobs import guards
from consumers.jobs.envelope import NewJob
from consumers.jobs.outcome import Buried
from consumers.store import emitting, relaying, replaying, tending
from consumers.store.keys import bucket
from consumers.store.scripts import Call
from tests.store.conformance.row import (
    AS_USUAL,
    DOOR,
    OUT_OF_MEMORY,
    REFUSED,
    Reply,
    Row,
    all_of,
    lane,
    lane_and_front,
    nothing,
)
from tests.support.queue import Queue, new_job

HOUR_MS = 3_600_000
LATER = f"+{HOUR_MS}"
KEY = guards.idempotent("key")
TRAILING = guards.debounced("storm", window_ms=HOUR_MS, longest_ms=HOUR_MS, mode="trailing")
SOONER = guards.debounced("storm", window_ms=HOUR_MS // 2, longest_ms=HOUR_MS, mode="trailing")
LEADING = guards.debounced("storm", window_ms=HOUR_MS, longest_ms=HOUR_MS, mode="leading")
DELAYED = "delayed delayed:envelopes delayed:lanes"
# A batch needs them, whatever is in it.
OF_A_BATCH = all_of(f"{DOOR} meta lanes stats", REFUSED)
IN_THE_WAY = nothing("T{key}")


def emit(*jobs: NewJob, before: Sequence[NewJob] = ()) -> Callable[[Queue], Call]:
    """Return an emit of some jobs, into a queue to which others were emitted before."""

    def call(queue: Queue) -> Call:
        for job in before:
            queue.emit(job)
        return emitting.emit_items(queue.keys, jobs, depth=None)

    return call


def _emit_row(
    case: str,
    answer: str,
    writes: str,
    foreign: Mapping[str, Reply],
    call: Callable[[Queue], Call],
    in_full_memory: Reply = OUT_OF_MEMORY,
) -> Row:
    return Row(
        "emit", case, call, answer, f"{DOOR} {writes}", OF_A_BATCH | foreign,
        in_full_memory=in_full_memory, is_batch=True,
    )  # fmt: skip


def _promote(queue: Queue) -> Call:
    queue.emit(new_job("a", due=LATER, priority=5), new_job("b", due=LATER))
    queue.make_due("a", "b")
    return tending.promote(queue.keys, 256)


def _relay(queue: Queue, *, overdue: bool = False) -> Call:
    def posted(entry: str, job_id: str) -> list[str | int | bytes]:
        job = new_job(job_id)
        return [entry, job.lane.name, bucket(job_id), job_id, "e", b"{}", b"", "", ""]

    def relay(*jobs: list[str | int | bytes], overdue: bool = False) -> Call:
        source = relaying.Outbox("other", "1")
        return relaying.relay(queue.keys, source, jobs, overdue=overdue)

    queue.run(relay(posted("5-1", "a")))
    return relay(posted("5-1", "a"), posted("5-2", "b"), overdue=overdue)


def _relay_overdue(queue: Queue) -> Call:
    return _relay(queue, overdue=True)


def _replay(queue: Queue) -> Call:
    queue.emit(new_job("a", priority=5), new_job("b"))
    for where in (new_job(priority=5).lane, new_job().lane):
        queue.settle(*((it, Buried("failed")) for it in queue.deliver(where)))
    queue.redis.zrem(queue.keys.lanes, new_job(priority=5).lane.name)
    return replaying.replay_items(queue.keys, ["a", "b"])


BEFORE = [new_job("before")]
ROWS = [
    _emit_row(
        "the first ever", "+1", f"meta lanes stats live:a {lane_and_front()}",
        all_of(f"live:a {lane_and_front()}", IN_THE_WAY), emit(new_job()),
    ),
    _emit_row(
        "into a lane that is there", "+2", f"meta stats live:a {lane()}",
        all_of(f"live:a {lane()}", IN_THE_WAY), emit(new_job(), before=BEFORE),
    ),
    _emit_row(
        "one with neighbours", "+2 +3 =1 +4",
        f"meta lanes stats live:n live:a live:m {lane()} {lane_and_front(5)}",
        {
            **all_of(
                f"live:a {lane_and_front(5)}",
                Reply("+2 T{key} =1 +3", writes=f"{DOOR} meta stats live:n live:m {lane()}"),
            ),
            "live:n": Reply(
                "T{key} +2 =1 +3",
                writes=f"{DOOR} meta lanes stats live:a live:m {lane()} {lane_and_front(5)}",
            ),
            "live:m": Reply(
                "+2 +3 =1 T{key}",
                writes=f"{DOOR} meta lanes stats live:a live:n {lane()} {lane_and_front(5)}",
            ),
            # Nor is the job found that is live there.
            lane(): Reply(
                "T{key} +2 T{key} T{key}",
                writes=f"{DOOR} meta lanes stats live:a {lane_and_front(5)}",
            ),
        },
        emit(
            new_job("n"), new_job("a", priority=5), new_job("before"), new_job("m"), before=BEFORE
        ),
    ),
    _emit_row(
        "its id is live", "=1", "", all_of(f"live:a {lane()}", IN_THE_WAY),
        emit(new_job(), before=[new_job()]), in_full_memory=nothing("=1"),
    ),
    _emit_row(
        "delayed, with a neighbour", "+2 +3", f"meta stats live:a live:n {lane()} {DELAYED}",
        {
            **all_of(
                f"live:a {DELAYED}",
                Reply("T{key} +2", writes=f"{DOOR} meta stats live:n {lane()}"),
            ),
            "live:n": Reply("+2 T{key}", writes=f"{DOOR} meta stats live:a {DELAYED}"),
            lane(): nothing("T{key} T{key}"),
        },
        emit(new_job(due=LATER), new_job("n"), before=BEFORE),
    ),
    _emit_row(
        "with an idempotency key", "+2", f"meta stats live:a idem:key {lane()}",
        all_of(f"live:a idem:key {lane()}", IN_THE_WAY), emit(new_job(guard=KEY), before=BEFORE),
    ),
    _emit_row(
        "with the key of a live job", "~1:a", "", all_of(f"idem:key {lane()}", IN_THE_WAY),
        emit(new_job("b", guard=KEY), before=[new_job(guard=KEY)]), in_full_memory=nothing("~1:a"),
    ),
    _emit_row(
        "with a key for an id that is live", "=1", "idem:key",
        all_of(f"live:a idem:key {lane()}", IN_THE_WAY),
        emit(new_job(guard=KEY), before=[new_job()]),
    ),
    _emit_row(
        "delayed, with an idempotency key", "+2", f"meta stats live:a idem:key {DELAYED}",
        all_of(f"live:a idem:key {lane()} {DELAYED}", IN_THE_WAY),
        emit(new_job(guard=KEY, due=LATER), before=BEFORE),
    ),
    _emit_row(
        "of a new storm", "+2", f"meta stats live:a debounce:storm {DELAYED}",
        all_of(f"live:a debounce:storm {lane()} {DELAYED}", IN_THE_WAY),
        emit(new_job(guard=TRAILING), before=BEFORE),
    ),
    _emit_row(
        "the next of a storm", "~2:a", "stats live:a delayed delayed:envelopes",
        {
            **all_of(f"debounce:storm {lane()} {DELAYED}", IN_THE_WAY),
            # Its job is not found, so another begins.
            "live:a": Reply("+3", writes=f"{DOOR} meta stats live:b debounce:storm {DELAYED}"),
        },
        emit(new_job("b", guard=SOONER), before=[*BEFORE, new_job(guard=TRAILING)]),
    ),
    _emit_row(
        "the first of a leading storm", "+2", f"meta stats live:a debounce:storm {lane()}",
        all_of(f"live:a debounce:storm {lane()}", IN_THE_WAY),
        emit(new_job(guard=LEADING), before=BEFORE),
    ),
    _emit_row(
        "the next of a leading storm", "~1:a", "stats",
        {"debounce:storm": IN_THE_WAY, lane(): AS_USUAL},
        emit(new_job("b", guard=LEADING), before=[new_job(guard=LEADING)]), in_full_memory=AS_USUAL,
    ),
    Row(
        "promote", "", _promote, [2, -1], f"stats live:a live:b {lane()} {lane(5)} {DELAYED}",
        {
            **all_of(f"lanes {DELAYED}", REFUSED),
            "stats": AS_USUAL,
            **all_of(
                f"live:a {lane_and_front(5)}",
                Reply([1, ANY], writes=f"stats live:b {lane()} {DELAYED}"),
            ),
            **all_of(
                f"live:b {lane_and_front()}",
                Reply([1, ANY], writes=f"stats live:a {lane(5)} {DELAYED}"),
            ),
        },
    ),
    Row(
        "relay", "one taken before and one more", _relay, [2, 0],
        f"meta stats relayed live:b {lane()}",
        {
            **all_of("meta lanes stats relayed", REFUSED),
            **all_of(f"live:b {lane()}", nothing([1, 0])),
        },
        in_full_memory=OUT_OF_MEMORY,
    ),
    Row(
        "relay", "one taken before and one that is overdue", _relay_overdue, [2, 1],
        "stats relayed dead dead_index",
        {
            **all_of("meta lanes stats relayed", REFUSED),
            **all_of("dead dead_index", nothing([1, 0])),
        },
        in_full_memory=OUT_OF_MEMORY,
    ),
    Row(
        "replay", "", _replay, "+3 +4",
        f"{DOOR} meta lanes stats dead dead_index live:a live:b {lane()} {lane(5)}",
        {
            **OF_A_BATCH,
            **all_of("dead dead_index", REFUSED),
            **all_of(
                f"live:a {lane_and_front(5)}",
                Reply("T{key} +3", writes=f"{DOOR} meta stats dead dead_index live:b {lane()}"),
            ),
            **all_of(
                f"live:b {lane()}",
                Reply(
                    "+3 T{key}",
                    writes=f"{DOOR} meta lanes stats dead dead_index live:a {lane(5)}",
                ),
            ),
        },
        is_batch=True,
    ),
]  # fmt: skip
