"""The rows of schedules: register, change, fire."""

from __future__ import annotations

from collections.abc import Callable

from consumers.jobs.envelope import NewJob
from consumers.store import scheduling
from consumers.store.scripts import Call
from tests.store.conformance.row import (
    OUT_OF_MEMORY,
    REFUSED,
    Reply,
    Row,
    all_of,
    lane,
    lane_and_front,
)
from tests.support.queue import Queue, new_job

# A time that is always to come: 2100.
SLOT = 4_102_444_800_000
KEPT = "cron cron:s cron_names"


def _register(digest: str, *, before: bool) -> Callable[[Queue], Call]:
    def call(queue: Queue) -> Call:
        if before:
            queue.register(slot=SLOT)
        return scheduling.register(
            queue.keys, "s", digest=digest, version=1, definition=b"{}", slot=SLOT + 5,
            source="handler",
        )  # fmt: skip

    return call


def _register_row(case: str, digest: str, word: str, writes: str, *, before: bool) -> Row:
    at = str(SLOT if word == "kept" else SLOT + 5)
    call = _register(digest, before=before)
    foreign = all_of(f"meta {KEPT}", REFUSED)
    return Row("register_schedule", case, call, [word, at], writes, foreign, OUT_OF_MEMORY)


def _change_row(
    case: str, change: Callable[[Queue], Call], writes: str, *, paused: bool = False
) -> Row:
    def call(queue: Queue) -> Call:
        queue.register(slot=SLOT)
        if paused:
            queue.run(_pause(queue))
        return change(queue)

    return Row("change_schedule", case, call, "done", writes, all_of(KEPT, REFUSED))


def _pause(queue: Queue, why: str = "paused") -> Call:
    return scheduling.pause(queue.keys, "s", why)


def _resume(queue: Queue) -> Call:
    return scheduling.resume(queue.keys, "s", SLOT + 5, digest="d1")


def _fire(*jobs: NewJob, passed_over: int, open_lane: bool) -> Callable[[Queue], Call]:
    def call(queue: Queue) -> Call:
        if open_lane:
            queue.emit(new_job("before"))
        slot = queue.now_ms() - 1000
        queue.register(slot=slot)
        known = queue.schedule()
        assert known is not None
        return scheduling.fire(
            queue.keys, known, latest=slot, following=SLOT, overlap="allow",
            passed_over=passed_over, jobs=jobs,
        )  # fmt: skip

    return call


def _fire_row(case: str, call: Callable[[Queue], Call], jobs: int, writes: str, ways: str) -> Row:
    """Fire some jobs; ways are the keys that they need and the schedule does not."""
    foreign = {
        **all_of("meta lanes stats cron cron:s", REFUSED),
        **all_of(ways, Reply(["T{key}", 0], writes="cron")),
    }
    answer = ["fired", jobs]
    return Row("fire_schedule", case, call, answer, f"cron cron:s {writes}", foreign, OUT_OF_MEMORY)


TWO = new_job("f"), new_job("g")
ROWS = [
    _register_row("a new one", "d1", "created", f"meta {KEPT}", before=False),
    _register_row("with its definition", "d1", "kept", "cron:s", before=True),
    _register_row("with another definition", "d2", "replaced", "cron cron:s", before=True),
    _change_row("paused", _pause, "cron cron:s"),
    _change_row("paused again", lambda queue: _pause(queue, "for long"), "cron:s", paused=True),
    _change_row("resumed", _resume, "cron cron:s", paused=True),
    _change_row("resumed before it was paused", _resume, "cron cron:s"),
    _change_row("removed", lambda queue: scheduling.remove(queue.keys, "s"), KEPT),
    _fire_row(
        "into a new lane", _fire(*TWO, passed_over=1, open_lane=False), 2,
        f"meta lanes stats live:f live:g {lane_and_front()}",
        f"live:f live:g {lane_and_front()}",
    ),
    _fire_row(
        "into a lane that is there", _fire(*TWO, passed_over=1, open_lane=True), 2,
        f"meta stats live:f live:g {lane()}", f"live:f live:g {lane()}",
    ),
    _fire_row("without a job", _fire(passed_over=1, open_lane=True), 0, "", ""),
    _fire_row("without a job or a lane", _fire(passed_over=1, open_lane=False), 0, "", ""),
]  # fmt: skip
