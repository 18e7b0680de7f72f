"""The blocking twin of the job handle, written out for the same reason as taskmanager.sync."""

from __future__ import annotations

from datetime import timedelta
from typing import Generic

from consumers.admin.explanation import Explanation
from taskmanager.clients.portal import block
from taskmanager.handles.handle import JobHandle, R_co
from taskmanager.handles.info import CancelOutcome, JobInfo, JobState, LogLine, Progress


class SyncJobHandle(Generic[R_co]):
    """A JobHandle whose methods block, for threads without an event loop.

    On a running event loop the methods raise LoopIsRunning.
    """

    __slots__ = ("_handle",)

    def __init__(self, handle: JobHandle[R_co]) -> None:
        self._handle = handle

    @property
    def id(self) -> str:
        """The id of the job."""
        return self._handle.id

    @property
    def queue(self) -> str:
        """The queue of the job."""
        return self._handle.queue

    @property
    def created(self) -> bool | None:
        """True if the emit added the job, False if it was already live, None if not known."""
        return self._handle.created

    @property
    def run(self) -> int | None:
        """Which run of the id it is; None means the live or latest one. See JobHandle."""
        return self._handle.run

    def result(self, timeout: float | timedelta | None = None) -> R_co:
        """Block until the job has ended and return its result, for at most `timeout`.

        Raises what JobHandle.result raises.
        """
        return block("handle.result", lambda: self._handle.result(timeout))

    def status(self) -> JobState:
        """Return the state of the job; see JobState."""
        return block("handle.status", self._handle.status)

    def info(self) -> JobInfo:
        """Return what is known about the job; raises what JobHandle.info raises."""
        return block("handle.info", self._handle.info)

    def explain(self) -> Explanation:
        """Return why the job is not running; see JobHandle.explain."""
        return block("handle.explain", self._handle.explain)

    def logs(self) -> list[LogLine]:
        """Return what the handler wrote with `job.logger`, oldest first: the last 1,000 lines."""
        return block("handle.logs", self._handle.logs)

    def progress(self) -> Progress | None:
        """Return what the handler last reported with `job.progress`, or None."""
        return block("handle.progress", self._handle.progress)

    def cancel(self) -> CancelOutcome:
        """Cancel the job, unless it has ended; see JobHandle.cancel."""
        return block("handle.cancel", self._handle.cancel)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, SyncJobHandle) and self._handle == other._handle

    def __hash__(self) -> int:
        return hash(self._handle)

    def __repr__(self) -> str:
        return f"Sync{self._handle!r}"
