"""Run handlers: one task a job, whose end becomes an outcome that the settler records."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import logging
from collections.abc import Callable, Sequence
from contextvars import Context
from typing import Protocol

from consumers.errors import JobTimeout
from consumers.jobs.bounds import check_timeout
from consumers.jobs.envelope import NewJob
from consumers.jobs.outcome import Cancelled, Completed, Ended, Outcome, Raised, Ran, Released
from consumers.lease.leases import Leases
from consumers.policy import Policy
from consumers.run.call import Caller
from consumers.run.deadlines import Deadlines
from consumers.run.pauses import Pauses
from consumers.run.run import Run, current_run
from consumers.run.starts import starts_of
from consumers.run.verdict import ENDED, Verdict, decided, put_back, verdict_on
from consumers.store.delivery import Delivery, Stream

logger = logging.getLogger("taskmanager.worker")

# How long a run that was told to end may take for it.
END_PATIENCE = 2.0
# How long the end of the event loop is held up, at most, until its jobs are handed back.
_LAST_WORDS = 1.0

_CANCELLED = Cancelled("cancelled")
_STOPPED = Released("shutdown")


class Settles(Protocol):
    """What the outcomes of runs are handed to; see Settler."""

    def settle(
        self,
        delivery: Delivery,
        outcome: Outcome,
        children: Sequence[NewJob] = (),
        ran: Ran | None = None,
    ) -> object:
        """Record an outcome with the next batch."""

    async def flushed(self) -> None:
        """Return when all outcomes are recorded or refused."""


class Executor:
    """Runs what it is given at once; whoever gives it runs minds the slots.

    on_free is called whenever a run has ended and its slot is free; on_broken,
    with the reason, once more than max_leaked runs go on after their timeout. may_run: see Caller.
    """

    def __init__(
        self,
        policy: Policy,
        settler: Settles,
        leases: Leases,
        pauses: Pauses,
        may_run: Callable[[Stream], bool],
        *,
        slots: int,
        max_leaked: int,
        on_free: Callable[[], None],
        on_broken: Callable[[str], None],
    ) -> None:
        self.policy = policy
        self.settler = settler
        self.leases = leases
        self.pauses = pauses
        self.caller = Caller(leases, pauses, may_run=may_run, slots=slots)
        self.slots = slots
        self._max_leaked = max_leaked
        self.on_free = on_free
        self._on_broken = on_broken
        self._runs: dict[Delivery, Run] = {}
        # How many slots are taken; asked for every job, so it is the dict's own method.
        self.taken: Callable[[], int] = self._runs.__len__
        # Runs that went on after their timeout: threads cannot be killed.
        self._left_behind: set[asyncio.Task[None]] = set()
        self._deadlines = Deadlines(self._time_out, counts=self._runs.__contains__)
        self._loop, self._loop_end = asyncio.get_running_loop(), self.caller.loop_end

    @property
    def running(self) -> int:
        """How many slots are taken."""
        return len(self._runs)

    @property
    def leaked(self) -> int:
        """How many runs went on after their timeout and have not ended yet."""
        return len(self._left_behind)

    def started(self) -> dict[str, dict[str, int]]:
        """Return when jobs that are running began; see starts_of."""
        return starts_of(list(self._runs))

    def runs(self) -> list[Run]:
        """Return the runs that take the slots."""
        return list(self._runs.values())

    def waits(self, delivery: Delivery) -> bool:
        """Whether the run of a delivery waits for another job to end."""
        found = self._runs.get(delivery)
        return found is not None and bool(found.awaited)

    @property
    def any_waits(self) -> bool:
        """Whether any run waits for another job to end."""
        return any(run.awaited for run in self._runs.values())

    def start(self, run: Run, context: Context) -> None:
        """Begin a run in a context of its own. Raises InvalidInput for a timeout that is none."""
        job = run.job
        if job.timeout is not None:
            job.timeout = check_timeout(job.timeout)
        # Not by the loop's task factory, which is the application's: an eager one would run the
        # handler in here, others take no context.
        run.task = asyncio.Task(self._run(run), loop=self._loop, name=job.id, context=context)
        self._runs[run.delivery] = run
        if job.timeout is not None:
            self._deadlines.add(run.delivery, job.timeout)

    def lose(self, delivery: Delivery) -> None:
        """Stop a run whose delivery is not ours any more; whatever it does is not recorded."""
        if delivery.given_up:
            return
        delivery.given_up = True
        if delivery not in self._runs:
            self.leases.drop(delivery)
            return
        logger.warning("job %s lost its lease; cancelling its run", delivery.envelope.id)
        self._cancel(delivery)

    def cancel(self, delivery: Delivery) -> None:
        """End the run of a job that somebody cancelled; one that is held will not start."""
        if delivery.cancelled or delivery.given_up:
            return
        delivery.cancelled = True
        if delivery in self._runs:
            logger.info("job %s was cancelled; stopping its run", delivery.envelope.id)
            self._cancel(delivery)

    async def drained(self) -> None:
        """Return when nothing is running."""
        while self._runs:
            await asyncio.wait({run.task for run in self._runs.values()})

    async def release_all(self, *, patience: float) -> None:
        """Cancel every run and release its job; do not wait longer for a handler than patience (s).

        A handler that neither ends nor lets itself be cancelled is left behind:
        its job is released all the same, and what it still does is not recorded.
        """
        for delivery in list(self._runs):
            self._cancel(delivery)
        tasks = {run.task for run in self._runs.values()}
        if tasks:
            await asyncio.wait(tasks, timeout=patience)
        self.caller.abandoning = True
        for task in self._left_behind:
            task.cancel()
        for delivery, run in list(self._runs.items()):
            if not delivery.given_up:
                delivery.given_up = True
                logger.warning(
                    "job %s did not stop; returning it to the queue", delivery.envelope.id
                )
                self.settler.settle(delivery, _STOPPED)
            run.task.cancel()

    def close(self) -> None:
        """Time nothing out any more and let idle threads end."""
        self._deadlines.close()
        self.caller.close()

    # A run, from its first step to its end

    async def _run(self, run: Run) -> None:
        current_run.set(run)
        ended: Ended | None = None
        try:
            ended = await self.caller.end_of(run)
            if run.pending and not self._loop_end.has_come():
                ended = await self.caller.after_pending(run, ended)
            run.ended = True
            outcome = self._outcome(run, ended)
            if outcome is not None:
                children = run.job.on_success if isinstance(outcome, Completed) else ()
                ran = run.ran(_timeout(run) if run.timed_out else ended)
                self.settler.settle(run.delivery, outcome, children, ran)
                # It leads to the error, see below.
                del ran
            if run.job.cancelled and self._loop_end.has_come():
                await self._last_words()
        except GeneratorExit:
            if not self._loop.is_running():
                # It is collected after its loop, and frees no slot there.
                self._forget(run.delivery)
            raise
        finally:
            # From Python 3.12 on, frames in a traceback keep their callers: a cycle through here.
            ended = None
            self._over(run.delivery)

    def _forget(self, delivery: Delivery) -> bool:
        run = self._runs.pop(delivery, None)
        if run is None:
            return False
        # A task keeps its context, and that the run: a cycle.
        del run.task
        return True

    def _over(self, delivery: Delivery) -> None:
        # A run that was left behind has left its slot already.
        if not self._forget(delivery):
            return
        if delivery.given_up:
            self.leases.drop(delivery)
        self.on_free()

    def _outcome(self, run: Run, ended: Ended) -> Outcome | None:
        """Return what is recorded of a run; None when that is not ours to decide any more."""
        verdict = verdict_on(run, self._loop_end.has_come(), self.leases)
        if verdict is ENDED:
            return decided(self.policy, run.job, ended)
        if verdict is Verdict.NOT_OURS:
            return None
        return self._outcome_of(verdict, run)

    def _outcome_of(self, verdict: Verdict, run: Run) -> Outcome | None:
        match verdict:
            case Verdict.LOST:
                run.note_lost()
                return None
            case Verdict.CUT_OFF:
                return self._cut_off(run)
            case Verdict.CANCELLED:
                return _CANCELLED
            case Verdict.TIMED_OUT:
                return decided(self.policy, run.job, _timeout(run))
            case Verdict.STOPPED:
                return _STOPPED
        queue, event = run.delivery.stream.lane.queue, run.delivery.envelope.event
        return put_back(self.pauses.of(queue), event)

    def _cut_off(self, run: Run) -> Outcome:
        """Return what becomes of a run that the end of its loop cut off: it decides nothing.

        Whatever it came to, a handler that was cancelled may have cut its work short.
        """
        run.job.cancelled = True
        # What is held goes back as well when its turn comes, instead of beginning now.
        self.pauses.closed = True
        return _CANCELLED if run.delivery.cancelled else _STOPPED

    async def _last_words(self) -> None:
        """Hold up the end of the loop until the settler has said what became of its jobs."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_LAST_WORDS):
                await self.settler.flushed()

    # Runs that are ended

    def _time_out(self, delivery: Delivery) -> None:
        """Cancel a run whose time is up; settle it without waiting long for its end."""
        self._runs[delivery].timed_out = True
        self._cancel(delivery)
        self._loop.call_later(END_PATIENCE, self._abandon, delivery)

    def _abandon(self, delivery: Delivery) -> None:
        """Settle a run that does not end and leave it behind: a thread cannot be killed."""
        if delivery not in self._runs or self.caller.abandoning:
            return
        run = self._leave_behind(delivery)
        if delivery.given_up:
            # Lost before its time was up: the outcome is not ours, the slot is.
            self.leases.drop(delivery)
        else:
            delivery.given_up = True
            outcome = decided(self.policy, run.job, _timeout(run))
            self.settler.settle(delivery, outcome, ran=run.ran(_timeout(run)))
        self.on_free()
        if self.leaked > self._max_leaked:
            self._on_broken(
                f"{self.leaked} runs continue after their timeout and cannot be stopped"
            )

    def _leave_behind(self, delivery: Delivery) -> Run:
        run = self._runs[delivery]
        self._left_behind.add(run.task)
        run.task.add_done_callback(self._left_behind.discard)
        self._forget(delivery)
        if not run.handler.is_async:
            self.caller.threads.replace_one()
        logger.error(
            "job %s continues after its timeout and cannot be stopped", delivery.envelope.id
        )
        return run

    def _cancel(self, delivery: Delivery) -> None:
        run = self._runs[delivery]
        run.job.cancelled = True
        run.task.cancel()
        if inspect.getcoroutinestate(run.task.get_coro()) == inspect.CORO_CREATED:  # type: ignore[arg-type]
            # It will not even take its first step, so nobody else tidies up after it.
            if not delivery.given_up:
                self.settler.settle(delivery, _STOPPED)
            self._over(delivery)


def _timeout(run: Run) -> Raised:
    return Raised(JobTimeout(run.job.id, run.job.timeout or 0.0))
