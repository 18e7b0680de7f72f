"""Call a handler: on the event loop or in a thread, through what is around it.

Whatever a handler raises ends its job alone, and becomes a value.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections.abc import Awaitable, Callable, Sequence
from types import TracebackType
from typing import Any

from consumers.jobs.outcome import Ended, Raised, Returned, returned
from consumers.lease.leases import Leases
from consumers.run.loop_end import LoopEnd
from consumers.run.pauses import Pauses
from consumers.run.run import Run
from consumers.run.threads import HandlerThreads
from consumers.store.delivery import Stream

logger = logging.getLogger("taskmanager.worker")

_OURS = ("consumers.", "processors.", "taskmanager.")
# A class of errors may have a __setattr__ of its own, which may raise.
_TRACEBACK: Any = vars(BaseException)["__traceback__"]


class PutBack(BaseException):
    """Raised through middleware in place of a handler that may not be called now."""


class Caller:
    """Calls handlers, as many as there are slots at once.

    may_run says whether this worker may run the jobs of a stream.
    """

    def __init__(
        self, leases: Leases, pauses: Pauses, *, may_run: Callable[[Stream], bool], slots: int
    ) -> None:
        self.threads = HandlerThreads(slots)
        self.loop_end = LoopEnd()
        # Threads that do not end are left behind: nothing waits for them any more.
        self.abandoning = False
        self._leases = leases
        self._pauses = pauses
        self.may_run = may_run
        self._loop = asyncio.get_running_loop()

    async def end_of(self, run: Run) -> Ended:
        """Call the handler of a run, or what is around it; return how that ended."""
        # A SystemExit that left the task would end the event loop.
        try:
            handler = run.handler
            if handler.around is not None:
                return returned(await handler.around(run.job, lambda: self._value(run)))
            if handler.is_async:
                # As _call does, without a coroutine more around that of every job.
                return returned(await self._begin(run))
            return await self._call(run)
        except BaseException as error:
            self._let_be_collected(error)
            _begin_in_their_code(error)
            return Raised(_failure(error))

    async def after_pending(self, run: Run, ended: Ended) -> Ended:
        """Await what the handler started and did not await; a failure of it fails the run."""
        failure: BaseException | None = None
        while run.pending:
            started, run.pending = run.pending, ()
            failure = await self._first_failure(started) or failure
        if failure is not None and isinstance(ended, Returned):
            return Raised(failure)
        return ended

    def close(self) -> None:
        """Let idle threads end."""
        self.loop_end.close()
        self.threads.close()

    async def _call(self, run: Run) -> Ended:
        if run.handler.is_async:
            return returned(await self._begin(run))
        if not self._may_begin(run):
            run.refused = True
            return Raised(PutBack())
        ended = await self._in_thread(run)
        if isinstance(ended, Raised):
            _begin_in_their_code(ended.error)
        elif isinstance(ended, Returned) and inspect.isawaitable(ended.value):
            return returned(await ended.value)
        return ended

    def _may_begin(self, run: Run) -> bool:
        """Whether a handler may be called now: nobody ended or paused it, and the lease holds.

        A process that stood still for longer than the lease has held jobs that others run;
        middleware may outlive the end of its run, and a thread learns of it too late. What a job
        requires of its worker may have gone since it was admitted.
        """
        delivery = run.delivery
        if run.job.cancelled or delivery.given_up or self.loop_end.has_come():
            return False
        # What begun says; this is asked for every job.
        if delivery.started_ms:
            return self._may_go_on(run)
        job, stream = run.job, delivery.stream
        if stream.is_routed and not self.may_run(stream):
            return False
        return self._pauses.permit(job.queue, job.event) and not self._leases.has_expired(delivery)

    def _may_go_on(self, run: Run) -> bool:
        """Whether middleware may call a handler once more: that begins nothing.

        Pauses and stops let go on what has begun. Without its lease the run is lost, as at
        its end, even if a late renewal succeeded after all: it was cut short by then.
        """
        if self._leases.has_expired(run.delivery):
            run.note_lost()
            return False
        return True

    async def _value(self, run: Run) -> Any:
        """Return what the handler returns, or raise what it raises, to what is around it."""
        children = run.call_again()
        try:
            return await self._returned(run)
        except BaseException:
            run.call_failed(children)
            raise

    async def _returned(self, run: Run) -> Any:
        ended = await self._call(run)
        if isinstance(ended, Returned):
            return ended.value
        try:
            raise ended.error
        finally:
            # The error's traceback leads here: a cycle that would keep the run.
            del ended

    async def _in_thread(self, run: Run) -> Ended:
        """Run a synchronous handler to its end: a thread cannot be cancelled, only told."""
        working = self.threads.submit(self._begin, run)
        while True:
            try:
                return await asyncio.shield(working)
            except asyncio.CancelledError:
                if self.loop_end.has_come():
                    self._leave_to_its_lease(run)
                    raise
                if working.cancelled() or self.abandoning:
                    raise

    def _leave_to_its_lease(self, run: Run) -> None:
        """Decide nothing about a thread that goes on when its loop ends, nor wait for it.

        Its job may not begin elsewhere as long as the lease lasts.
        """
        run.job.cancelled = run.delivery.given_up = True
        logger.warning("job %s continues in its thread after the end of its event loop", run.job.id)

    def _begin(self, run: Run) -> Any:
        """Call the handler itself, unless it may not be called now.

        Since the start the loop may have been blocked, or middleware may have waited; a thread may
        have waited for its turn.
        """
        if not self._may_begin(run):
            run.refused = True
            raise PutBack
        run.begin()
        handler = run.handler
        return handler.call(run.job, *handler.extra)

    async def _first_failure(self, started: Sequence[Awaitable[Any]]) -> BaseException | None:
        """Await everything; return what failed first, None when nothing did."""
        failure: BaseException | None = None
        for work in started:
            try:
                await work
            except BaseException as error:
                self._let_be_collected(error)
                _begin_in_their_code(error)
                failure = failure or error
                if self.loop_end.has_come():
                    # What the others wait for has ended with the loop.
                    break
        return failure

    def _let_be_collected(self, error: BaseException) -> None:
        """Raise on what ends a run that is collected after its loop: nothing is left to do."""
        if isinstance(error, GeneratorExit) and not self._loop.is_running():
            raise error


def _failure(error: BaseException) -> BaseException:
    """Return why a run failed; middleware may raise a refusal after a call that began."""
    if isinstance(error, PutBack):
        # No policy would retry that.
        return RuntimeError("a call of its handler was refused")
    return error


def _begin_in_their_code(error: BaseException) -> None:
    """Cut our own frames off the start of a traceback: they say nothing about a handler's fault."""
    outermost: TracebackType | None = _TRACEBACK.__get__(error)
    frames = outermost
    while frames is not None and _is_ours(frames):
        frames = frames.tb_next
    # An error in which only our code is involved keeps everything.
    if frames is not None and frames is not outermost:
        _TRACEBACK.__set__(error, frames)


def _is_ours(frames: TracebackType) -> bool:
    name = frames.tb_frame.f_globals.get("__name__")
    return isinstance(name, str) and name.startswith(_OURS)
