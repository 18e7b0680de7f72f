"""Emits that send nothing, for unit tests: jobs are checked and collected."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NoReturn

from pydantic_core import from_json

from consumers.errors import TaskManagerError
from consumers.jobs.envelope import NewJob
from processors.schedules.schedule import Schedule
from taskmanager.emit.children import child_of
from taskmanager.emit.emission import Emission
from taskmanager.handles.handle import JobHandle
from taskmanager.options.request import EmitsItself, named_by, requested

# Shown as event, queue and data of a captured job, not among its options.
_SHOWN_APART = frozenset({"event", "queue", "data"})


@dataclass(frozen=True, slots=True)
class CapturedJob:
    """A job that was emitted in a test and not sent; see TaskManager.capture and Context.fake.

    - `event`, `queue`, `id`: as the job would have them.
    - `data`: the payload as JSON, before it is converted to a type.
    - `options`: the other arguments of the emit.
    - `delay`: seconds until the job is due; 0 for at once. For a schedule, until its next fire
      time.
    - `on_success`: whether it was to be added when the job that emits it completes.
    """

    event: str
    queue: str
    data: Any
    id: str
    options: dict[str, Any]
    delay: float
    on_success: bool

    @classmethod
    def of(
        cls, wanted: NewJob | Schedule, given: Mapping[str, Any], *, on_success: bool
    ) -> CapturedJob:
        """Return what a test sees of a job; for a schedule, of the job of its next fire time."""
        now_ms = time.time() * 1000
        if isinstance(wanted, Schedule):
            fire_ms = wanted.spec.next_after(int(now_ms)) or 0
            job, delay = wanted.job(fire_ms), max(0.0, fire_ms - now_ms) / 1000
        else:
            job, delay = wanted, _delay(wanted.due, now_ms)
        data = from_json(job.data)
        queue, options = job.lane.queue, _options(given)
        return cls(job.event, queue, data, job.id, options, delay, on_success)


def unsent(captured: CapturedJob) -> Emission[Any]:
    """Return the emission of a job that is not sent."""
    job_id, queue = captured.id, captured.queue
    created = None if captured.on_success else True
    handle: JobHandle = JobHandle(job_id, queue, created, jobs=_Unsent(job_id))
    return Emission.confirmed(handle)


class Recorder:
    """Takes the place of an emitter where there is no task manager. `emitted` has the jobs.

    If a function is emitted, its name is taken as the event. Its data is not checked against a
    type, since it is not known where the function is registered.
    """

    def __init__(self) -> None:
        self.emitted: list[CapturedJob] = []

    def emit(
        self, event: Any, arguments: Mapping[str, Any], *, on_success: bool = False
    ) -> Emission[Any]:
        """Check the job and keep it."""
        if isinstance(event, EmitsItself):
            named_by(event, [], None)
        given = event if isinstance(event, Mapping) else arguments
        wanted = requested(getattr(event, "__name__", event), arguments)
        if on_success:
            child_of(wanted)
        captured = CapturedJob.of(wanted, given, on_success=on_success)
        self.emitted.append(captured)
        return unsent(captured)


class _Unsent:
    """What the handle of a captured job asks; it has no answers."""

    def __init__(self, job_id: str) -> None:
        self._job_id = job_id

    def __getattr__(self, name: str) -> Any:
        def refuse(*args: object) -> NoReturn:
            raise TaskManagerError(
                f"job {self._job_id!r} was captured and not sent: it has no {name}"
            )

        return refuse


def _options(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return an emit's arguments without event, queue and data, its options dict merged in."""
    beside = {name: value for name, value in given.items() if name not in _SHOWN_APART}
    return {**(beside.pop("options", None) or {}), **beside}


def _delay(due: str, now_ms: float) -> float:
    """Return the seconds until a job is due; see NewJob."""
    if due.startswith("+"):
        return int(due) / 1000
    return max(0.0, int(due) - now_ms) / 1000 if due else 0.0
