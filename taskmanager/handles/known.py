"""Turn what Redis keeps about a job into JobInfo and JobState."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any, TypeVar

from pydantic_core import from_json

from consumers.admin.dead_letters import DeadLetter
from consumers.admin.facts import End, Facts
from consumers.admin.reasons.in_lane import SET_ASIDE
from consumers.jobs.envelope import Envelope
from consumers.jobs.lanes import Lane, listed_lanes
from consumers.jobs.moments import moment
from consumers.jobs.names import worker_of
from consumers.jobs.past import errors_in, reason_in
from consumers.jobs.run_facts import RunFacts, read_facts
from taskmanager.handles.info import JobInfo, JobState, data_of

T = TypeVar("T")

# One of a job's last errors, with the keys listed at DeadLetter.
_Error = Mapping[str, Any]


def state_of(facts: Facts, run: int | None) -> JobState:
    """Return the state of one run; None means the live or latest run."""
    if run is None or facts.generation == run:
        return _state(facts.state)
    end, letter = facts.past(run)
    if end is None:
        return JobState.UNKNOWN if letter is None else JobState.DEAD
    return _state(end.state)


def info_of(
    queue: str, facts: Facts, run: int | None = None, *, started_ms: int = 0
) -> JobInfo | None:
    """Return what is known about one run of a job, or None.

    `started_ms` is when a running job began, as far as that is known.
    """
    if facts.generation is not None and run in (None, facts.generation):
        return _live(queue, facts, started_ms)
    end, letter = facts.past(run)
    return None if end is None and letter is None else _ended(queue, facts.id, end, letter)


def _live(queue: str, facts: Facts, started_ms: int) -> JobInfo:
    envelope, state = facts.envelope, _state(facts.state)
    if envelope is None:
        # A newer version has set it aside, where this one cannot read its entry.
        return JobInfo(facts.id, queue, state, facts.generation)
    lane, errors = _lane(queue, facts.lane), _errors(envelope.errors)
    runs, worker = state is JobState.RUNNING, worker_of(facts.consumer) or None
    last = started_ms if runs else _last(errors, "started", int)
    return JobInfo(
        id=facts.id,
        queue=queue,
        state=state,
        run=facts.generation,
        event=envelope.event,
        data=data_of(envelope.data),
        partition=lane.partition if lane else None,
        priority=lane.priority if lane else None,
        attempts=envelope.failures + runs,
        deliveries=envelope.deliveries + facts.delivered,
        created_at=moment(envelope.created_at),
        due_at=_moment(facts.due_ms),
        started_at=_moment(_first_start(envelope, last)),
        last_started_at=_moment(last),
        worker=worker,
        workers=[*_workers(errors), *([worker] if runs and worker else [])],
        options=from_json(envelope.options) if envelope.options else {},
        errors=errors,
        error_type=_last(errors, "type", str),
        reason=None if runs else _why_it_waits(envelope.errors, lane, state),
    )


def _why_it_waits(noted: bytes, lane: Lane | None, state: JobState) -> str | None:
    if lane and lane.event and state is JobState.WAITING:
        return SET_ASIDE
    listed = data_of(noted)
    return reason_in(listed) if isinstance(listed, list) else None


def _ended(queue: str, job_id: str, end: End | None, letter: DeadLetter | None) -> JobInfo:
    """Return what is known about a finished job, from its kept end, its dead letter, or both."""
    run = end.generation if end is not None else letter.run if letter is not None else None
    known = JobInfo(job_id, queue, JobState.DEAD if end is None else _state(end.state), run)
    kept = read_facts(end.kept) if end is not None else None
    if end is not None and known.state is JobState.COMPLETED:
        known = replace(known, result=from_json(end.value))
    if end is not None and known.state is JobState.CANCELLED:
        known = replace(known, reason=end.value.decode())
    if letter is not None:
        kept = kept or _told_by(letter)
        known = replace(
            known,
            data=letter.data,
            deliveries=letter.deliveries,
            errors=_dicts(letter.errors),
            letter=letter,
        )
    return known if kept is None else _with_facts(known, kept)


def _with_facts(known: JobInfo, kept: RunFacts) -> JobInfo:
    errors = known.errors or _errors(kept.errors)
    worker, workers = kept.worker or None, _workers(errors)
    if worker and kept.attempts > (_last(errors, "attempt", int) or 0):
        # The last attempt did not fail, or its error is not kept.
        workers.append(worker)
    last = kept.last_started or _last(errors, "started", int)
    return replace(
        known,
        event=kept.event or None,
        data=data_of(kept.data) if kept.data else known.data,
        attempts=kept.attempts,
        created_at=_moment(kept.created_at),
        started_at=_moment(kept.first_started),
        last_started_at=_moment(last),
        finished_at=_moment(kept.finished_at),
        worker=worker,
        workers=workers,
        errors=errors,
        error_type=kept.error_type or _last(errors, "type", str),
    )


def _told_by(letter: DeadLetter) -> RunFacts:
    """Return what a dead letter records about the run that died."""
    errors = _dicts(letter.errors)
    return RunFacts(
        event=letter.event,
        worker=_last(errors, "worker", str) or "",
        created_at=_ms(letter.created_at),
        first_started=_ms(letter.started_at),
        last_started=None,
        finished_at=_ms(letter.died_at),
        attempts=letter.attempts,
        error_type="",
        errors=b"",
        data=b"",
    )


def _state(word: str) -> JobState:
    try:
        return JobState(word)
    except ValueError:
        # A word of a newer version.
        return JobState.UNKNOWN


def _first_start(envelope: Envelope, last: int | None) -> int | None:
    """Return when the first attempt of a live job began (ms), given when its latest began."""
    if envelope.first_started > 1:
        return envelope.first_started
    return last if envelope.begins_first else None


def _last(errors: Sequence[_Error], name: str, kind: type[T]) -> T | None:
    """Return what the last error has under a name."""
    found = errors[-1].get(name) if errors else None
    return found if isinstance(found, kind) else None


def _workers(errors: Sequence[_Error]) -> list[str]:
    return [worker for it in errors if isinstance(worker := it.get("worker"), str)]


def _errors(stored: bytes) -> list[dict[str, Any]]:
    return errors_in(_dicts(data_of(stored))) if stored else []


def _dicts(value: object) -> list[dict[str, Any]]:
    return [it for it in value if isinstance(it, dict)] if isinstance(value, list) else []


def _lane(queue: str, place: str) -> Lane | None:
    found = listed_lanes(queue, [place.removesuffix(":front").encode()])
    return found[0] if found else None


def _moment(ms: int | None) -> datetime | None:
    return moment(ms) if ms else None


def _ms(at: datetime | None) -> int:
    return 0 if at is None else round(at.timestamp() * 1000)
