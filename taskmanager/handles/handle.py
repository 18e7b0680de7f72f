"""A handle to one job: what an emit returns, to follow the job and to cancel it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Generic, Protocol

from typing_extensions import TypeVar

from consumers.admin.explanation import Explanation
from consumers.errors import TaskManagerError
from taskmanager.handles.info import CancelOutcome, JobInfo, JobState, LogLine, Progress

R_co = TypeVar("R_co", covariant=True, default=Any)

# Converts the JSON of a result into what the function returned, given the job's id.
Read = Callable[[bytes, str], Any]


class Serves(Protocol):
    """What handles need from admin/jobs.py."""

    async def result(
        self,
        queue: str,
        job_id: str,
        run: int | None,
        timeout: float | timedelta | None,
        read: Read | None,
    ) -> Any: ...
    async def status(self, queue: str, job_id: str, run: int | None) -> JobState: ...
    async def info(self, queue: str, job_id: str, run: int | None) -> JobInfo: ...
    async def explain(self, queue: str, job_id: str, run: int | None) -> Explanation: ...
    async def logs(self, queue: str, job_id: str) -> list[LogLine]: ...
    async def progress(self, queue: str, job_id: str) -> Progress | None: ...
    async def cancel(self, queue: str, job_id: str, run: int | None) -> CancelOutcome: ...


@dataclass(frozen=True, slots=True)
class JobHandle(Generic[R_co]):
    """Refers to one job: wait for its result, read its state and log, cancel it.

    `JobHandle[R]` belongs to a job whose handler returns R. Emits and `tm.handle` return handles.

    - `id`, `queue`: which job it is.
    - `created`: True if the emit added the job. False if a job with this id was already live, that
      is, waiting, delayed, running or to be retried; the handle then refers to that job. None if it
      is not known: for a job emitted with `on_success=True`, and for handles made from an id.
    - `run`: which run of the id it is. An id can be used again once its job has ended, and each new
      job of it has a higher run. None means the live job, or else the latest.
    - `jobs`: answers the methods. None in a handle that you construct yourself: such a handle can
      only be compared.
    - `read`: converts the stored result. None leaves it as JSON gives it.

    The handle of an emit with `repeat=` refers to the job of the next fire time. Until then its
    state is "delayed".

    Every method raises RedisUnavailable if Redis does not answer.
    """

    id: str
    queue: str
    created: bool | None
    run: int | None = None
    jobs: Serves | None = field(default=None, repr=False, compare=False, kw_only=True)
    read: Read | None = field(default=None, repr=False, compare=False, kw_only=True)

    async def result(self, timeout: float | timedelta | None = None) -> R_co:
        """Wait until the job has ended and return what its handler returned.

        It does not poll. `timeout` is seconds or a timedelta; None waits as long as it takes, and 0
        returns the result only if the job has ended already.

        The result is what JSON gives. If the handle comes from a task, or from an emit of the
        handler function itself, the result is converted to the type in the function's return
        annotation.

        It raises:

        - JobFailed if the job is dead.
        - JobCancelled if the job was cancelled, discarded or expired.
        - ResultTimeout after `timeout`. The job continues.
        - ResultExpired, at once, if this run has ended and its result is no longer kept. You never
          get the result of another run of the same id.
        - JobNotFound if nothing is known about the id and `run` is None, as it is for handles made
          from an id, for jobs emitted with `on_success=True`, and for schedules.
        - InvalidResult if the result does not fit the return annotation.

        A handler that waits here keeps its own slot, and the other job needs a slot too. If all
        slots of all workers wait like this, the wait never ends.
        """
        value: R_co = await self._served.result(self.queue, self.id, self.run, timeout, self.read)
        return value

    async def status(self) -> JobState:
        """Return the state of the job: waiting, running, completed and so on; see JobState."""
        return await self._served.status(self.queue, self.id, self.run)

    async def info(self) -> JobInfo:
        """Return what is known about the job: state, times, attempts, workers, errors, result.

        Raises ResultExpired if this run has ended and is no longer kept, and JobNotFound if nothing
        is known about the id and `run` is None.
        """
        return await self._served.info(self.queue, self.id, self.run)

    async def explain(self) -> Explanation:
        """Return why the job is not running, or what it is doing; see TaskManager.explain."""
        return await self._served.explain(self.queue, self.id, self.run)

    async def logs(self) -> list[LogLine]:
        """Return what the handler wrote with `job.logger`, oldest first: the last 1,000 lines."""
        return await self._served.logs(self.queue, self.id)

    async def progress(self) -> Progress | None:
        """Return what the handler last reported with `job.progress`, or None."""
        return await self._served.progress(self.queue, self.id)

    async def cancel(self) -> CancelOutcome:
        """Cancel the job, unless it has ended. CancelOutcome describes what was possible.

        A job that has not started never runs. A running job is asked to stop: a coroutine gets
        CancelledError, a handler in a thread sees `job.cancelled`. Whatever it returns, it ends as
        cancelled. The id may be emitted again at once.

        The job of a schedule that has not fired yet cannot be cancelled ("too_late"): pause the
        schedule instead.
        """
        return await self._served.cancel(self.queue, self.id, self.run)

    @property
    def _served(self) -> Serves:
        if self.jobs is None:
            raise TaskManagerError(
                f"the handle of job {self.id!r} was created directly and has no connection to "
                "Redis: get one from tm.handle(id, queue=...)"
            )
        return self.jobs


class _Open(Generic[R_co]):
    """A handle that is being made: the same slots, but its fields may be set."""

    __slots__ = JobHandle.__slots__


def handle_of(
    job_id: str,
    queue: str,
    created: bool | None,
    run: int | None,
    jobs: Serves | None,
    read: Read | None,
) -> JobHandle[Any]:
    """Return the handle of an emitted job.

    The constructor of a frozen dataclass sets each field through object.__setattr__, which takes
    four times as long as all of this.
    """
    handle: Any = _Open()
    handle.id = job_id
    handle.queue = queue
    handle.created = created
    handle.run = run
    handle.jobs = jobs
    handle.read = read
    handle.__class__ = JobHandle
    made: JobHandle[Any] = handle
    return made
