"""Emits that send nothing, for unit tests of what emits: they are checked and collected."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NoReturn

from pydantic_core import from_json

from consumers.errors import TaskManagerError
from consumers.jobs.envelope import NewJob
from processors.schedules.schedule import Schedule
from taskmanager.emit.emission import Emission
from taskmanager.handles.handle import JobHandle
from taskmanager.options.request import requested

# Said by the event, the queue and the data of a captured job.
_SHOWN_APART = frozenset({"event", "queue", "data"})


@dataclass(frozen=True, slots=True)
class CapturedJob:
    """A job that was emitted and not sent.

    event, queue and id are those of the job, data is what the handler would find before its
    types are read: JSON. options is what emit was given beside event, queue and data. delay is
    in seconds, 0 for at once. on_success says whether it was to be added with the completion
    of the job that emitted it.
    """

    event: str
    queue: str
    data: Any
    id: str
    options: dict[str, Any]
    delay: float
    on_success: bool

    @classmethod
    def of(cls, job: NewJob, given: Mapping[str, Any], *, on_success: bool) -> CapturedJob:
        """Return what is shown of a job."""
        options = {name: value for name, value in given.items() if name not in _SHOWN_APART}
        return cls(
            job.event,
            job.lane.queue,
            from_json(job.data),
            job.id,
            options,
            _delay(job.due),
            on_success,
        )


def unsent(job: NewJob, *, on_success: bool) -> Emission[Any]:
    """Return the emission of a job that is not sent."""
    created = None if on_success else True
    handle: JobHandle = JobHandle(job.id, job.lane.queue, created, jobs=_Unsent(job.id))
    return Emission.confirmed(job, handle)


class Recorder:
    """Stands for an emitter where there is no task manager; emitted has the jobs.

    An emit of a function has its name for the event: where it is registered is not known.
    """

    def __init__(self) -> None:
        self.emitted: list[CapturedJob] = []

    def emit(
        self, event: Any, arguments: Mapping[str, Any], *, on_success: bool = False
    ) -> Emission[Any]:
        """Check what is emitted, and keep it."""
        made = requested(getattr(event, "__name__", event), arguments)
        job = made.job(0) if isinstance(made, Schedule) else made
        self.emitted.append(CapturedJob.of(job, arguments, on_success=on_success))
        return unsent(job, on_success=on_success)


class _Unsent:
    """What the handle of a captured job asks."""

    def __init__(self, job_id: str) -> None:
        self._job_id = job_id

    def __getattr__(self, name: str) -> Any:
        def refuse(*args: object) -> NoReturn:
            raise TaskManagerError(
                f"job {self._job_id!r} was captured and not sent: it has no {name}"
            )

        return refuse


def _delay(due: str) -> float:
    """Return in how many seconds a job is due; see NewJob."""
    if due.startswith("+"):
        return int(due) / 1000
    return max(0.0, int(due) / 1000 - time.time()) if due else 0.0
