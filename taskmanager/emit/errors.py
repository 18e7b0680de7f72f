"""The errors of emits that name workers or handles.

TaskManagerError                    (consumers.errors)
├── EmitManyError                   some jobs of an emit_many were not confirmed
└── NoCapableWorker                 no live worker may run the job, which was to be refused then
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from consumers.admin.reasons.lacking import asked, each
from consumers.errors import TaskManagerError
from taskmanager.handles.handle import JobHandle
from taskmanager.options.routing import RoutableJob


class EmitManyError(TaskManagerError):
    """Raised by emit_many if some jobs were not confirmed. The others are stored.

    `handles` has one item per job, in the given order, None for those that failed. `errors` has the
    error of each of these by its position, counted from 0.
    """

    def __init__(
        self, handles: Sequence[JobHandle | None], errors: Mapping[int, Exception]
    ) -> None:
        first, why = next(iter(errors.items()))
        others = "The others are stored; " if len(errors) < len(handles) else ""
        super().__init__(
            f"{len(errors)} of {len(handles)} jobs were not confirmed, the first is item {first}: "
            f"{why}. {others}.errors holds each error by its position"
        )
        self.handles = list(handles)
        self.errors = dict(errors)


class NoCapableWorker(TaskManagerError):
    """Raised by an emit with `reject_unroutable=True` if no live worker may run the job now.

    Nothing was sent. `job_id`, `event` and `queue` are the job. `lacking` has each live worker of
    the queue, as its name and why it may not run the job.
    """

    def __init__(self, job: RoutableJob, lacking: Sequence[tuple[str, str]]) -> None:
        queue = job.lane.queue
        super().__init__(
            f"no live worker of queue {queue!r} may run job {job.id!r} ({asked(job.demand)}): "
            f"{each(lacking) or 'it has no live worker'}. Nothing was sent: start a worker that "
            "may, change what the job requires, or leave reject_unroutable out, so that it waits "
            "for one"
        )
        self.job_id = job.id
        self.event = job.event
        self.queue = queue
        self.lacking = list(lacking)
