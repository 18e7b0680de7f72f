"""Values that describe jobs and schedules: state, log, progress, and all that is known."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

from pydantic_core import from_json

from consumers.admin.dead_letters import DeadLetter
from consumers.jobs.moments import moment
from consumers.store.schedule_record import Record
from processors.schedules.schedule import Schedule

# How many coming fire times of a schedule are listed.
_NEXT_FIRES = 5


class JobState(StrEnum):
    """Where a job is, or how it ended. Each equals its text: `JobState.DEAD == "dead"`.

    - `waiting`: it is in the queue, and no worker has it.
    - `delayed`: it was emitted with a delay, or a schedule will emit it.
    - `debounced`: it waits for the end of a burst of emits.
    - `parked`: a newer version of the worker has set it aside, where this version cannot read it.
    - `running`: a worker has it.
    - `retrying`: it failed or was snoozed, and waits for its next run.
    - `completed`: its handler returned.
    - `dead`: it failed for good and became a dead letter, if those are kept.
    - `cancelled`: it was cancelled, discarded or expired.
    - `unknown`: nothing is kept about it.
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
    """What a cancel achieved. `cancelled` and `requested` are true, the other two are false.

    - `cancelled`: no worker had the job; it will not run.
    - `requested`: the job is running and its worker was told; it can only end as cancelled.
    - `too_late`: the job has ended, or there is none.
    - `newer_version`: a newer version of the worker has set the job aside, where this version
      cannot reach it. Try again when it runs, or from a process of that version.
    """

    CANCELLED = "cancelled"
    REQUESTED = "requested"
    TOO_LATE = "too_late"
    NEWER_VERSION = "newer_version"

    def __bool__(self) -> bool:
        return self in (CancelOutcome.CANCELLED, CancelOutcome.REQUESTED)


@dataclass(frozen=True, slots=True)
class LogLine:
    """One line of a job's log.

    - `at`: when it was written, in UTC, by Redis' clock.
    - `message`: the text.
    """

    at: datetime
    message: str


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a job is, as its handler last reported.

    - `at`: when that was reported, in UTC, by Redis' clock.
    - `done`, `total`: in any unit that the handler chose; `total` may be None.
    - `note`: a short text, or None.
    """

    at: datetime
    done: float
    total: float | None
    note: str | None


@dataclass(frozen=True, slots=True)
class JobInfo:
    """What is known about a job. Times are in UTC, by Redis' clock; unknown values are None.

    Once a job has ended, this is kept for the setting `result_ttl`, 300 seconds by default. For a
    dead job it is kept as long as its dead letter.

    - `id`, `queue`: which job it is.
    - `state`: where it is, or how it ended.
    - `run`: which run of the id it is; each later job with the same id has a higher number.
    - `event`: the event that it was emitted for.
    - `data`: its payload. After the end only for dead jobs, and where the handler was registered
      with `keep_data=True`, unless the job was cancelled while it waited.
    - `partition`: its share of the queue, until it has ended.
    - `priority`: -100 to 100, until it has ended.
    - `attempts`: how often it was tried: runs that failed, plus the current or last one.
    - `deliveries`: how often it was handed to a worker, crashes included. After the end only for
      dead jobs.
    - `created_at`: when it was emitted or replayed.
    - `due_at`: when it may run, if it was delayed.
    - `started_at`: when its first attempt began. A run that was cut off by a crash is not counted.
    - `last_started_at`: when its latest attempt began. While it runs, that is the time at which it
      was handed to its worker, if that was within a second of becoming ready. Otherwise it is what
      the worker reports: up to 5 seconds late, for the 200 jobs it has run for longest.
    - `finished_at`: when its outcome was recorded.
    - `worker`: the name of the worker that has it, or that recorded its outcome.
    - `workers`: the names of the workers of its attempts, oldest first: the last 10 that failed,
      plus the current or last one.
    - `options`: the options of its emit, until it has ended.
    - `errors`: its last 10 errors, oldest first, as dicts with the keys listed at DeadLetter.
    - `error_type`: the class of the last error, such as "builtins.ValueError".
    - `result`: what the handler returned, if it completed. As JSON gives it.
    - `reason`: why it was cancelled, or why it still waits, if something postponed it.
    - `letter`: its dead letter, if it is dead.
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
    """What is known about a schedule. Times are in UTC, by Redis' clock.

    - `name`, `queue`: which schedule it is.
    - `event`, `data`: the event and payload of the jobs that it emits.
    - `pattern`, `tz`: when it fires; the pattern of an interval reads "every 90 s".
    - `missed`, `overlap`, `version`: as in `Repeat`.
    - `next_fires`: the next five fire times; empty while it is paused.
    - `last_fired`: the latest fire time that was handled, whether or not it emitted a job.
    - `last_id`: the id of the latest job.
    - `paused`: why it is paused, or None.
    - `source`: "handler" or "emit", by what registered it.
    - `registered_at`: when a worker or an emit last confirmed that the schedule is in use.
    - `fires`, `skipped`: how many fire times emitted a job, and how many did not.

    `event` and `pattern` are empty if this version cannot read the definition, because a newer
    version or another program wrote it.
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


def coming_info_of(queue: str, job_id: str, record: Record) -> JobInfo:
    """Return what is known about the job that a schedule will emit next."""
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
    """Return what is known about a schedule."""
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
    # A fire time that is due but not handled yet is not listed; one that lies ahead is.
    after = max(now_ms, record.slot - 1)
    return [moment(fire) for fire in schedule.spec.upcoming(after, _NEXT_FIRES)]


def data_of(stored: bytes) -> Any:
    """Return the decoded JSON, or None if it is not valid JSON."""
    try:
        return from_json(stored)
    except ValueError:
        return None
