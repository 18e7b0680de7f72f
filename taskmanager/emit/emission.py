"""What emit returns: a job on its way, to be awaited or not."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Generator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Generic

from consumers.emit.batches import Emitted
from consumers.errors import TaskManagerError
from taskmanager.errors import NotConfirmedYet
from taskmanager.handles.handle import JobHandle, R_co, Read, Serves

logger = logging.getLogger("taskmanager.emit")

_OF_THE_HANDLE = frozenset({"result", "status", "cancel", "logs", "progress", "created", "run"})


class Emission(Awaitable[JobHandle[R_co]], Generic[R_co]):
    """A job that was handed to the producer: awaiting it gives the JobHandle.

    The job is on its way whether it is awaited or not, and may be awaited more
    than once; who gives up waiting does not take it back. id and queue are
    known at once; where another job stands for this one (debounce, an idempotency
    key) the handle has the id of that one, and with repeat= that of the next fire by
    Redis' clock instead of this machine's. In a synchronous handler it is confirmed
    when emit returns, so that ``handle`` is there.
    """

    __slots__ = ("_future", "_handle", "_jobs", "_read", "awaited", "id", "queue")

    def __init__(
        self,
        job_id: str,
        queue: str,
        future: asyncio.Future[Emitted] | None,
        jobs: Serves | None = None,
        handle: JobHandle[R_co] | None = None,
        read: Read | None = None,
    ) -> None:
        self.id = job_id
        self.queue = queue
        self.awaited = False
        self._future = future
        self._jobs = jobs
        self._handle = handle
        self._read = read

    @classmethod
    def confirmed(cls, handle: JobHandle[R_co]) -> Emission[R_co]:
        """Return an emission whose handle is known."""
        return cls(handle.id, handle.queue, None, handle=handle)

    @property
    def handle(self) -> JobHandle[R_co]:
        """The handle of a confirmed job; raises NotConfirmedYet before, or why it failed."""
        if self._handle is None:
            assert self._future is not None
            if not self._future.done():
                raise NotConfirmedYet(self.id)
            emitted = self._future.result()
            # 0: no job runs yet, a schedule was registered.
            run = emitted.run or None
            self._handle = JobHandle(
                emitted.id, self.queue, emitted.created, run, jobs=self._jobs, read=self._read
            )
        return self._handle

    def __await__(self) -> Generator[Any, None, JobHandle[R_co]]:
        self.awaited = True
        if self._future is not None and not self._future.done():
            try:
                # Shielded: who gives up waiting must not take the result from others.
                yield from asyncio.shield(self._future)
            except asyncio.CancelledError:
                # They have not seen whether it fails.
                self.awaited = False
                raise
        return self.handle

    def report_failure(self) -> Emission[R_co]:
        """Log a failure that nobody awaits, instead of the loop's "never retrieved"."""
        if self._future is not None:
            self._future.add_done_callback(self._report)
        return self

    def _report(self, future: asyncio.Future[Emitted]) -> None:
        if self.awaited or future.cancelled() or future.exception() is None:
            return
        logger.error(
            "an emit that nobody awaits failed: %s",
            future.exception(),
            extra={"job": self.id, "queue": self.queue},
        )

    # Type checkers are to refuse what is not there.
    if not TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any:
            if name in _OF_THE_HANDLE:
                raise AttributeError(
                    f"an emission has no {name!r}, its handle has: handle = await tm.emit(...)"
                )
            raise AttributeError(f"an emission has no {name!r}")

    def __repr__(self) -> str:
        return f"<Emission of {self.id} to {self.queue}>"


class Remainder(Awaitable[None]):
    """What is left to wait for of an emission when its handler has returned.

    It fails with the emission, unless somebody awaited that: then they have
    seen the failure and it is theirs.
    """

    __slots__ = ("_emission", "future")

    def __init__(self, emission: Emission[Any], future: asyncio.Future[Emitted]) -> None:
        self._emission = emission
        self.future = future

    def __await__(self) -> Generator[Any, None, None]:
        if not self.future.done():
            # Unlike awaiting the future itself this does not cancel it.
            yield from asyncio.wait([self.future]).__await__()
        if not self._emission.awaited:
            self.future.result()


class EmitManyError(TaskManagerError):
    """Raised when some jobs of an emit_many were not confirmed; the others are stored.

    handles has an item for each job given, in its order, None for those that
    failed; errors has what befell them by their position from 0.
    """

    def __init__(
        self, handles: Sequence[JobHandle | None], errors: Mapping[int, Exception]
    ) -> None:
        first, why = next(iter(errors.items()))
        super().__init__(
            f"{len(errors)} of {len(handles)} jobs were not confirmed, first item {first}: {why}. "
            "The others are stored; .errors has each failure by its position"
        )
        self.handles = list(handles)
        self.errors = dict(errors)
