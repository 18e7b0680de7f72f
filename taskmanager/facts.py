"""What is told of jobs, as values: their state, their log, their progress."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, NamedTuple

from pydantic_core import from_json

from consumers.dead_letters import DeadLetter
from consumers.inspector import Facts, State
from consumers.lanes import Lane

JobState = State


class LogLine(NamedTuple):
    """A line of a job's log; at is in UTC, by Redis' clock."""

    at: datetime
    message: str


class Progress(NamedTuple):
    """How far a job is: done of total, in the handler's unit."""

    at: datetime
    done: float
    total: float | None
    note: str | None


@dataclass(frozen=True, slots=True)
class JobInfo:
    """What is known of a job.

    Of a job that has ended only id, queue, state and run are known, and while
    they are kept the result of a completed one, the reason of a cancelled one,
    and the letter of a dead one. run tells apart the jobs of one id. worker is who holds it.
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


def moment(ms: float) -> datetime:
    """Return ms since 1970 as a datetime in UTC."""
    return datetime.fromtimestamp(ms / 1000, UTC)


def state_of(facts: Facts, run: int | None) -> JobState:
    """Return the state of one run; None stands for the live or latest one."""
    if run is None or facts.run == run:
        return facts.state
    if facts.end is not None and facts.end.run == run:
        return facts.end.state  # type: ignore[return-value]
    return "dead" if facts.letter is not None and facts.letter.run == run else "unknown"


def info_of(queue: str, facts: Facts) -> JobInfo | None:
    """Return what is known of a job; None when nothing is."""
    if facts.run is not None and facts.envelope is not None:
        return _live(queue, facts)
    return None if facts.state == "unknown" else _ended(queue, facts)


def _live(queue: str, facts: Facts) -> JobInfo:
    envelope = facts.envelope
    assert envelope is not None, "only a live job has an envelope"
    lane = _lane(queue, facts.place)
    return JobInfo(
        id=facts.id,
        queue=queue,
        state=facts.state,
        run=facts.run,
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
    )


def _ended(queue: str, facts: Facts) -> JobInfo:
    end, letter = facts.end, facts.letter
    state = facts.state
    is_dead = state == "dead"
    return JobInfo(
        id=facts.id,
        queue=queue,
        state=state,
        run=end.run if end is not None else letter.run if letter is not None else None,
        event=letter.event if is_dead and letter is not None else None,
        data=letter.data if is_dead and letter is not None else None,
        errors=letter.errors if is_dead and letter is not None else [],
        result=from_json(end.value) if end is not None and state == "completed" else None,
        reason=end.value.decode() if end is not None and state == "cancelled" else None,
        letter=letter if is_dead else None,
    )


def _lane(queue: str, place: str) -> Lane | None:
    name = place.removesuffix(":front")
    return Lane.parse(queue, name) if ":" in name else None


def _data(stored: bytes) -> Any:
    try:
        return from_json(stored)
    except ValueError:
        return None
