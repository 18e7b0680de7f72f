"""What is told of jobs, as values: their state, their log, their progress."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, NamedTuple

from pydantic_core import from_json

from consumers.admin.dead_letters import DeadLetter
from consumers.admin.facts import Facts, State
from consumers.jobs.lanes import Lane, listed_lanes
from consumers.store.schedule_record import Record
from processors.schedules.schedule import Schedule

JobState = State

# Why a job waits in its event's own lane.
_PUT_ASIDE = (
    "the worker that got it does not handle its event, or the event was paused: it waits for a "
    "worker that takes it"
)
# How many fire times of a schedule are told.
_NEXT_FIRES = 5


class CancelOutcome(StrEnum):
    """What a cancel came to; cancelled and requested are true, the others are false.

    cancelled: nobody had the job, it will not run. requested: it is running and its
    worker is told; it can only end as cancelled. too_late: it has ended, or there is none.
    newer_version: workers of a newer version have put it where this one cannot reach it: ask again
    when it runs, or from a process of that version.
    """

    CANCELLED = "cancelled"
    REQUESTED = "requested"
    TOO_LATE = "too_late"
    NEWER_VERSION = "newer_version"

    def __bool__(self) -> bool:
        return self in (CancelOutcome.CANCELLED, CancelOutcome.REQUESTED)


class LogLine(NamedTuple):
    """A line of a job's log: the message, and when it was written (at), in UTC by Redis' clock."""

    at: datetime
    message: str


class Progress(NamedTuple):
    """How far a job is: done of total, in the handler's unit, and a note, if there is one.

    at is when that was said, in UTC by Redis' clock.
    """

    at: datetime
    done: float
    total: float | None
    note: str | None


@dataclass(frozen=True, slots=True)
class JobInfo:
    """What is known of a job; times are in UTC, by Redis' clock.

    id, queue, event, data, partition, priority and options are what it was emitted with,
    attempt, deliveries and errors as in Job. created_at is when it was emitted, due_at when a
    delayed one may start. run tells apart the jobs of one id. worker is who holds it.
    Of a job that has ended only id, queue, state and run are known, and while
    they are kept the result of a completed one, the reason of a cancelled one,
    and the letter of a dead one. Of one that waits, reason says why it was put aside, if it
    was.
    """

    id: str
    queue: str
    state: JobState
    run: int | None
    event: str | None = None
    data: Any = None
    partition: str | None = None
    priority: int | None = None
    attempt: int | None = None
    deliveries: int | None = None
    created_at: datetime | None = None
    due_at: datetime | None = None
    worker: str | None = None
    options: dict[str, Any] = field(default_factory=dict)
    errors: list[dict[str, Any]] = field(default_factory=list)
    result: Any = None
    reason: str | None = None
    letter: DeadLetter | None = None


@dataclass(frozen=True, slots=True)
class ScheduleInfo:
    """What is known of a schedule; times are in UTC, by Redis' clock.

    name, queue, event, pattern, tz, data, missed, overlap and version are those of its
    definition, see EmitArguments. next_fires are the next five, none while it is paused;
    paused says why it is, None when it is not. source is "handler" or "emit";
    registered_at is when a worker or an emit last said that the definition is in use.
    last_fired is the latest fire time that was dealt with, last_id the id of the latest
    job; fires counts jobs, skipped the fire times without one. event and pattern are empty
    when a newer version, or somebody else, has written the definition.
    """

    name: str
    queue: str
    event: str
    pattern: str
    tz: str
    data: Any
    missed: str
    overlap: str
    version: int
    next_fires: list[datetime]
    last_fired: datetime | None
    last_id: str | None
    paused: str | None
    source: str
    registered_at: datetime
    fires: int
    skipped: int


def moment(ms: float) -> datetime:
    """Return ms since 1970 as a datetime in UTC."""
    return datetime.fromtimestamp(ms / 1000, UTC)


def state_of(facts: Facts, run: int | None) -> JobState:
    """Return the state of one run; None stands for the live or latest one."""
    if run is None or facts.generation == run:
        return facts.state
    if facts.end is not None and facts.end.generation == run:
        return facts.end.state  # type: ignore[return-value]
    return "dead" if facts.letter is not None and facts.letter.run == run else "unknown"


def info_of(queue: str, facts: Facts) -> JobInfo | None:
    """Return what is known of a job; None when nothing is."""
    if facts.generation is not None and facts.envelope is not None:
        return _live(queue, facts)
    if facts.generation is not None and facts.state == "parked":
        # A newer version has it, and its entry where this one cannot read it.
        return JobInfo(facts.id, queue, "parked", facts.generation)
    return None if facts.state == "unknown" else _ended(queue, facts)


def coming_info_of(queue: str, job_id: str, record: Record) -> JobInfo:
    """Return what is known of the job that a schedule is going to emit next."""
    schedule = _readable(queue, record)
    due_at = None if record.slot is None else moment(record.slot)
    if schedule is None:
        return JobInfo(job_id, queue, "delayed", None, due_at=due_at)
    return JobInfo(
        id=job_id,
        queue=queue,
        state="delayed",
        run=None,
        event=schedule.event,
        data=_data(schedule.data),
        partition=schedule.lane.partition,
        priority=schedule.lane.priority,
        due_at=due_at,
        options=from_json(schedule.options) if schedule.options else {},
    )


def schedule_info_of(queue: str, record: Record, now_ms: int) -> ScheduleInfo:
    """Return what is known of a schedule."""
    schedule = _readable(queue, record)
    return ScheduleInfo(
        name=record.name,
        queue=queue,
        event=schedule.event if schedule else "",
        pattern=schedule.spec.pattern if schedule else "",
        tz=schedule.spec.tz if schedule else "",
        data=_data(schedule.data) if schedule else None,
        missed=schedule.missed if schedule else "",
        overlap=schedule.overlap if schedule else "",
        version=record.version,
        next_fires=_next_fires(record, schedule, now_ms),
        last_fired=None if record.fired is None else moment(record.fired),
        last_id=record.last,
        paused=record.paused,
        source=record.source,
        registered_at=moment(record.registered),
        fires=record.fires,
        skipped=record.skipped,
    )


def _readable(queue: str, record: Record) -> Schedule | None:
    try:
        return Schedule.read(queue, record.name, record.definition, record.version)
    except ValueError:
        return None


def _next_fires(record: Record, schedule: Schedule | None, now_ms: int) -> list[datetime]:
    if schedule is None or record.paused is not None or record.slot is None:
        return []
    # What is due and was not dealt with is no next fire; a slot ahead is the next one.
    after = max(now_ms, record.slot - 1)
    return [moment(fire) for fire in schedule.spec.upcoming(after, _NEXT_FIRES)]


def _live(queue: str, facts: Facts) -> JobInfo:
    envelope = facts.envelope
    assert envelope is not None, "only a live job has an envelope"
    lane = _lane(queue, facts.place)
    return JobInfo(
        id=facts.id,
        queue=queue,
        state=facts.state,
        run=facts.generation,
        event=envelope.event,
        data=_data(envelope.data),
        partition=lane.partition if lane else None,
        priority=lane.priority if lane else None,
        attempt=envelope.failures + 1,
        deliveries=envelope.deliveries + facts.delivered,
        created_at=moment(envelope.created_at),
        due_at=None if facts.due_ms is None else moment(facts.due_ms),
        worker=facts.consumer or None,
        options=from_json(envelope.options) if envelope.options else {},
        errors=from_json(envelope.errors) if envelope.errors else [],
        reason=_PUT_ASIDE if lane and lane.event and facts.state == "waiting" else None,
    )


def _ended(queue: str, facts: Facts) -> JobInfo:
    end, letter = facts.end, facts.letter
    state = facts.state
    is_dead = state == "dead"
    return JobInfo(
        id=facts.id,
        queue=queue,
        state=state,
        run=end.generation if end is not None else letter.run if letter is not None else None,
        event=letter.event if is_dead and letter is not None else None,
        data=letter.data if is_dead and letter is not None else None,
        errors=letter.errors if is_dead and letter is not None else [],
        result=from_json(end.value) if end is not None and state == "completed" else None,
        reason=end.value.decode() if end is not None and state == "cancelled" else None,
        letter=letter if is_dead else None,
    )


def _lane(queue: str, place: str) -> Lane | None:
    found = listed_lanes(queue, [place.removesuffix(":front").encode()])
    return found[0] if found else None


def _data(stored: bytes) -> Any:
    try:
        return from_json(stored)
    except ValueError:
        return None
