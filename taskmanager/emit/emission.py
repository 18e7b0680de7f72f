"""What emit returns: a job on its way, which may be awaited."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Generator
from typing import TYPE_CHECKING, Any, Generic

from consumers.emit.batches import Emitted, Pending
from taskmanager.errors import NotConfirmedYet
from taskmanager.handles.handle import JobHandle, R_co, Read, Serves, handle_of

logger = logging.getLogger("taskmanager.emit")

_OF_THE_HANDLE = frozenset({"result", "status", "cancel", "logs", "progress", "created", "run"})


class Emission(Awaitable[JobHandle[R_co]], Generic[R_co]):
    """A job on its way to Redis. Awaiting it returns the JobHandle.

    The job is sent whether or not you await. You may await more than once, and cancelling the wait
    does not take the job back.

    - `id`, `queue`: known at once. If another job takes its place (debounce, idempotency key), the
      handle has the id of that job. With `repeat=`, this machine's clock decides the id here, and
      Redis' clock the id in the handle.
    - `awaited`: whether something has awaited it.

    In a synchronous handler, emit returns once Redis has the job, and `handle` is available.
    """

    __slots__ = ("_handle", "_jobs", "_pending", "_read", "awaited", "id", "queue")

    def __init__(
        self,
        job_id: str,
        queue: str,
        pending: Pending | None,
        jobs: Serves | None = None,
        handle: JobHandle[R_co] | None = None,
        read: Read | None = None,
    ) -> None:
        self.id = job_id
        self.queue = queue
        self.awaited = False
        self._pending = pending
        self._jobs = jobs
        self._handle = handle
        self._read = read

    @classmethod
    def confirmed(cls, handle: JobHandle[R_co]) -> Emission[R_co]:
        """Return an emission whose handle is known."""
        return cls(handle.id, handle.queue, None, handle=handle)

    @property
    def handle(self) -> JobHandle[R_co]:
        """The handle of a confirmed job.

        Raises NotConfirmedYet if Redis has not answered yet, or the error with which the emit
        failed.
        """
        if self._handle is None:
            assert self._pending is not None
            if not self._pending.answered:
                raise NotConfirmedYet(self.id)
            job_id, created, run = self._pending.result()
            # With 0, only a schedule was registered: there is no job yet.
            self._handle = handle_of(
                job_id, self.queue, created, run or None, self._jobs, self._read
            )
        return self._handle

    def __await__(self) -> Generator[Any, None, JobHandle[R_co]]:
        self.awaited = True
        if self._pending is not None and not self._pending.answered:
            try:
                yield from self._pending.future()
            except asyncio.CancelledError:
                # The cancelled wait has not seen whether it fails.
                self.awaited = False
                raise
        return self.handle

    def report_failure(self) -> Emission[R_co]:
        """Log a failure that nothing awaits."""
        if self._pending is not None:
            self._pending.when_failed = self._report
        return self

    def _report(self, error: BaseException) -> None:
        if self.awaited or isinstance(error, asyncio.CancelledError):
            return
        logger.error(
            "an emit that was not awaited failed: %s",
            error,
            extra={"job": self.id, "queue": self.queue},
        )

    # Hidden from type checkers, so that they report attributes that do not exist.
    if not TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any:
            if name in _OF_THE_HANDLE:
                raise AttributeError(
                    f"an emission has no {name!r}: await it first, handle = await tm.emit(...)"
                )
            raise AttributeError(f"an emission has no {name!r}")

    def __repr__(self) -> str:
        return f"<Emission of {self.id} to {self.queue}>"


class Remainder(Awaitable[None]):
    """What is left to wait for when the handler of an emission has returned.

    It fails with the emission, unless the emission was awaited: then the failure was seen there.
    """

    __slots__ = ("_emission", "future")

    def __init__(self, emission: Emission[Any], pending: Pending) -> None:
        self._emission = emission
        self.future = pending.future()
        self.future.add_done_callback(self._note_seen)

    def __await__(self) -> Generator[Any, None, None]:
        if not self.future.done():
            # Unlike awaiting the future itself, this does not cancel it.
            yield from asyncio.wait([self.future]).__await__()
        if not self._emission.awaited:
            self.future.result()

    def _note_seen(self, future: asyncio.Future[Emitted]) -> None:
        # A failure that was seen where the emission was awaited is not to be logged by asyncio.
        if self._emission.awaited and not future.cancelled():
            future.exception()
