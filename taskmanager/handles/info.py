"""What is told of jobs, as values: their state, their log, their progress."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

from pydantic_core import from_json

from consumers.admin.dead_letters import DeadLetter
from consumers.store.schedule_record import Record
from processors.schedules.schedule import Schedule

# How many fire times of a schedule are told.
_NEXT_FIRES = 5
# The end of the year 9999.
_LATEST_MS = 253_402_300_799_999


class JobState(StrEnum):
    """Where a job is, or how it ended; each equals its text: JobState.DEAD == "dead".

    waiting: it is in its lane, and nobody has it. delayed: its emit put it off, or its schedule
    has still to emit it. debounced: it waits for the end of a storm of emits. parked: a newer
    version has put it where this one does not look. running: a worker has it. retrying: it
    failed or was snoozed, and waits for its next run. completed: its handler returned. dead: it
    was given up. cancelled: it was cancelled, discarded, or had expired. unknown: nothing is
    kept of it.
    """

    WAITING = "waiting"
    DELAYED = "delayed"
    DEBOUNCED = "debounced"
    PARKED = "parked"
    RUNNING = "running"
    RETRYING = "retrying"
    COMPLETED = "completed"
    DEAD = "dead"
    CANCELLED = "cancelled"
    UNKNOWN = "unknown"


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


@dataclass(frozen=True, slots=True)
class LogLine:
    """A line of a job's log: the message, and when it was written (at), in UTC by Redis' clock."""

    at: datetime
    message: str


@dataclass(frozen=True, slots=True)
class Progress:
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

    Of one that has ended they are known while its end is kept: for result_ttl (300 s), of a
    dead one for as long as its letter. What is not known is None.

    id, queue        what it is asked for by
    state            where it is, or how it ended
    run              tells apart the jobs that had this id, growing
    event            its event
    data             its payload; of one that has ended only where its handler has
                     keep_data=True and it was not cancelled while it waited, or its letter is
                     there
    partition        the share of the queue that it is in, until it has ended
    priority         -100 to 100, until it has ended
    attempts         how often it was tried: the runs that failed, and the one that is under way
                     or came to another end
    deliveries       how often it was handed to a worker, crashes included, until it has ended;
                     of a dead one too
    created_at       when it was emitted, or replayed
    due_at           when it may run, if it was put off
    started_at       when its first attempt began; a run that crashed is none
    last_started_at  when its latest attempt began. Of one that is running that is when it was
                     handed out, if it was within a second after it was ready; else what its
                     worker says of it, within 5 s after the start and for the 200 jobs that it
                     runs for the longest
    finished_at      when its end was recorded
    worker           the name of the worker that has it, or that recorded its end
    workers          the names of the workers of its attempts, oldest first: of the last 10 that
                     failed, and of the one that is under way or came to another end
    options          what its emit said beside event and data, until it has ended
    errors           its last 10 errors, oldest first, each as DeadLetter says
    error_type       the class of its last error, as "builtins.ValueError"
    result           what the handler of a completed one returned
    reason           why one was cancelled, or why one that waits was put off or aside
    letter           the dead letter of a dead one
    """

    id: str
    queue: str
    state: JobState
    run: int | None
    event: str | None = None
    data: Any = None
    partition: str | None = None
    priority: int | None = None
    attempts: int | None = None
    deliveries: int | None = None
    created_at: datetime | None = None
    due_at: datetime | None = None
    started_at: datetime | None = None
    last_started_at: datetime | None = None
    finished_at: datetime | None = None
    worker: str | None = None
    workers: list[str] = field(default_factory=list)
    options: dict[str, Any] = field(default_factory=dict)
    errors: list[dict[str, Any]] = field(default_factory=list)
    error_type: str | None = None
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
    """Return ms since 1970 as a datetime in UTC; what no datetime can be is the next that can."""
    return datetime.fromtimestamp(min(max(ms, 0), _LATEST_MS) / 1000, UTC)


def coming_info_of(queue: str, job_id: str, record: Record) -> JobInfo:
    """Return what is known of the job that a schedule is going to emit next."""
    schedule = _readable(queue, record)
    due_at = None if record.slot is None else moment(record.slot)
    if schedule is None:
        return JobInfo(job_id, queue, JobState.DELAYED, None, due_at=due_at)
    return JobInfo(
        id=job_id,
        queue=queue,
        state=JobState.DELAYED,
        run=None,
        event=schedule.event,
        data=data_of(schedule.data),
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
        data=data_of(schedule.data) if schedule else None,
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


def data_of(stored: bytes) -> Any:
    """Return what JSON says; None for what is none."""
    try:
        return from_json(stored)
    except ValueError:
        return None
