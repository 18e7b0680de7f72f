"""A job's name tag: what an emit returns, to ask what became of the job and to cancel it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Generic, Protocol

from typing_extensions import TypeVar

from consumers.errors import TaskManagerError
from taskmanager.handles.info import CancelOutcome, JobInfo, JobState, LogLine, Progress

R_co = TypeVar("R_co", covariant=True, default=Any)

# Turns the JSON of a result into what the function returned, given the job's id.
Read = Callable[[bytes, str], Any]


class Serves(Protocol):
    """What handles need of admin/jobs.py."""

    async def result(
        self, queue: str, job_id: str, run: int | None, timeout: float | None, read: Read | None
    ) -> Any: ...
    async def status(self, queue: str, job_id: str, run: int | None) -> JobState: ...
    async def info(self, queue: str, job_id: str, run: int | None) -> JobInfo: ...
    async def logs(self, queue: str, job_id: str) -> list[LogLine]: ...
    async def progress(self, queue: str, job_id: str) -> Progress | None: ...
    async def cancel(self, queue: str, job_id: str, run: int | None) -> CancelOutcome: ...


@dataclass(frozen=True, slots=True)
class JobHandle(Generic[R_co]):
    """A job, to be asked for by its id and queue; JobHandle[R] is one whose handler returns R.

    created is False when a job with this id was live already and is the one
    the handle stands for; None for a child that is added on its parent's
    success, and where nothing was emitted. run tells apart the runs of one id,
    growing; None stands for the live or latest one. The handle of an emit with
    repeat= is that of the next fire's job: it is "delayed" until then. jobs is what answers;
    None in a handle that was made by hand, which can only be compared. read is how the
    result is read; None for as JSON gives it.
    """

    id: str
    queue: str
    created: bool | None
    run: int | None = None
    jobs: Serves | None = field(default=None, repr=False, compare=False, kw_only=True)
    read: Read | None = field(default=None, repr=False, compare=False, kw_only=True)

    async def result(self, timeout: float | None = None) -> R_co:
        """Wait until the job has ended and return what its handler returned.

        Where the handle is of a task, or of an emit of the handler itself, the result is
        read as the function's return annotation says; everywhere else it is as JSON gives it.
        Raises JobFailed when it is dead, JobCancelled when it ended without a
        result, ResultTimeout after timeout seconds, and at once ResultExpired when
        this run is not live and its end is not kept: never another run's result; JobNotFound
        when nothing is known of the id and the handle has no run, as that of tm.handle(id), of
        a child on success and of a schedule has none; InvalidResult when it is not what the
        annotation takes.
        In a handler the slot stays taken meanwhile, and the other job needs one as well:
        with a single slot, and no other worker, this waits for ever.
        """
        value: R_co = await self._served.result(self.queue, self.id, self.run, timeout, self.read)
        return value

    async def status(self) -> JobState:
        """Return where the job is; "unknown" when nothing is kept of it."""
        return await self._served.status(self.queue, self.id, self.run)

    async def info(self) -> JobInfo:
        """Return what is known of the job: times, attempts, workers, errors, result.

        Raises ResultExpired when nothing is kept of this run, and JobNotFound when nothing
        is known of the id and the handle has no run.
        """
        return await self._served.info(self.queue, self.id, self.run)

    async def logs(self) -> list[LogLine]:
        """Return what job.logger wrote, oldest first; the last 1,000 lines."""
        return await self._served.logs(self.queue, self.id)

    async def progress(self) -> Progress | None:
        """Return what job.progress said last; None when it has not."""
        return await self._served.progress(self.queue, self.id)

    async def cancel(self) -> CancelOutcome:
        """Cancel the job unless it has ended; what waits, is delayed or debounced never runs.

        A job that runs is "requested" to end: its coroutine is cancelled, a synchronous
        handler sees job.cancelled, and whatever it returns it ends as cancelled. The id may
        be emitted again as soon as it has ended. What a schedule has still to emit is
        "too_late", as there is no such job: pause the schedule.
        """
        return await self._served.cancel(self.queue, self.id, self.run)

    @property
    def _served(self) -> Serves:
        if self.jobs is None:
            raise TaskManagerError(
                f"the handle of job {self.id!r} was made by hand and knows no Redis: "
                "get one from tm.handle(id, queue=...)"
            )
        return self.jobs
