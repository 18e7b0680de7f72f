"""Run handlers: one task a job, whose end becomes an outcome that the settler records."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import logging
from collections.abc import Awaitable, Callable
from contextvars import Context
from typing import Any

from consumers.connections.clock import ServerClock
from consumers.errors import InvalidName, JobTimeout
from consumers.jobs.bounds import check_timeout
from consumers.jobs.envelope import ENVELOPE_VERSION
from consumers.jobs.job import Job
from consumers.jobs.names import check_name
from consumers.jobs.outcome import (
    Buried,
    Cancelled,
    Completed,
    Ended,
    Outcome,
    Raised,
    Released,
    Returned,
)
from consumers.jobs.texts import named
from consumers.lease.leases import Leases
from consumers.policy import Handler, Policy
from consumers.run.deadlines import Deadlines
from consumers.run.loop_end import LoopEnd
from consumers.run.notes import NoteWriter
from consumers.run.pauses import Pauses
from consumers.run.run import Run, current_run
from consumers.run.threads import HandlerThreads
from consumers.settle.settler import Settler
from consumers.store.delivery import Delivery
from consumers.store.unfit import foreign, unfit, unreadable
from consumers.surroundings import Surroundings

logger = logging.getLogger(__name__)

# How long a run that was told to end may take for it.
END_PATIENCE = 2.0
# How long the end of the event loop is held up, at most, until its jobs are handed back.
_LAST_WORDS = 1.0

_CANCELLED = Cancelled("cancelled")


class PutBack(BaseException):
    """Raised through middleware in place of a handler that may not be called now."""


class Executor:
    """Runs what it is given at once; whoever gives it deliveries minds the slots.

    on_free is called whenever a run has ended and its slot is free; on_broken,
    with the reason, once more than max_leaked runs go on after their timeout.
    """

    def __init__(
        self,
        policy: Policy,
        settler: Settler,
        leases: Leases,
        pauses: Pauses,
        *,
        slots: int,
        log_ttl: float,
        max_leaked: int,
        on_free: Callable[[], None],
        on_broken: Callable[[str], None],
    ) -> None:
        self.policy = policy
        self.settler = settler
        self.leases = leases
        self.pauses = pauses
        self.slots = slots
        self.threads = HandlerThreads(slots)
        self.epochs: dict[str, int] = {}
        self.clock = ServerClock()
        self._notes = NoteWriter(
            settler.wire, settler.consumer, round(log_ttl * 1000), settler.archive
        )
        self._max_leaked = max_leaked
        self._on_free = on_free
        self._on_broken = on_broken
        self._runs: dict[Delivery, tuple[asyncio.Task[None], Run]] = {}
        # Runs that went on after their timeout: threads cannot be killed.
        self._left_behind: set[asyncio.Task[None]] = set()
        self._deadlines = Deadlines(self._time_out, counts=self._runs.__contains__)
        self._loop = asyncio.get_running_loop()
        self._loop_end = LoopEnd()
        self._surroundings = Surroundings()
        # Threads that do not end are left behind: nothing waits for them any more.
        self._abandoning = False

    @property
    def running(self) -> int:
        """How many slots are taken."""
        return len(self._runs)

    @property
    def leaked(self) -> int:
        """How many runs went on after their timeout and have not ended yet."""
        return len(self._left_behind)

    def jobs(self) -> list[str]:
        """Return the ids of the jobs that are running."""
        return [delivery.envelope.id for delivery in list(self._runs)]

    def runs(self) -> list[Run]:
        """Return the runs that take the slots."""
        return [run for _, run in self._runs.values()]

    def waits(self, delivery: Delivery) -> bool:
        """Whether the run of a delivery waits for another job to end."""
        found = self._runs.get(delivery)
        return found is not None and bool(found[1].awaited)

    @property
    def any_waits(self) -> bool:
        """Whether any run waits for another job to end."""
        return any(run.awaited for _, run in self._runs.values())

    def start(self, delivery: Delivery) -> None:
        """Run a delivery that is no longer held, or settle it when it cannot run here."""
        # Mostly called where another run ends, whose context variables are its own.
        context = self._surroundings.fresh()
        try:
            prepared = context.run(self._prepared, delivery)
            if prepared is not None:
                self._create(delivery, *prepared, context)
        except BaseException as error:
            # It is in nobody else's hands: whatever comes up, it is settled.
            logger.exception("the policy failed to prepare job %s", delivery.envelope.id)
            self.settler.settle(delivery, _broken(error))

    def lose(self, delivery: Delivery) -> None:
        """Stop a run whose delivery is not ours any more; whatever it does is not recorded."""
        if delivery.given_up:
            return
        delivery.given_up = True
        if delivery not in self._runs:
            self.leases.drop(delivery)
            return
        logger.warning("job %s lost its lease, its run is cancelled", delivery.envelope.id)
        self._cancel(delivery)

    def cancel(self, delivery: Delivery) -> None:
        """End the run of a job that somebody cancelled; one that is held will not start."""
        if delivery.cancelled or delivery.given_up:
            return
        delivery.cancelled = True
        if delivery in self._runs:
            logger.info("job %s is cancelled", delivery.envelope.id)
            self._cancel(delivery)

    async def drained(self) -> None:
        """Return when nothing is running."""
        while self._runs:
            await asyncio.wait({task for task, _ in self._runs.values()})

    async def release_all(self, *, patience: float) -> None:
        """Cancel every run and release its job; do not wait longer for a handler than patience (s).

        A handler that neither ends nor lets itself be cancelled is left behind:
        its job is released all the same, and what it still does is not recorded.
        """
        for delivery in list(self._runs):
            self._cancel(delivery)
        tasks = {task for task, _ in self._runs.values()}
        if tasks:
            await asyncio.wait(tasks, timeout=patience)
        self._abandoning = True
        for task in self._left_behind:
            task.cancel()
        for delivery, (task, _) in list(self._runs.items()):
            if not delivery.given_up:
                delivery.given_up = True
                logger.warning("job %s does not end, it is released", delivery.envelope.id)
                self.settler.settle(delivery, Released("shutdown"))
            task.cancel()

    def close(self) -> None:
        """Time nothing out any more and let idle threads end."""
        self._loop_end.close()
        self._deadlines.close()
        self.threads.close()

    def _prepared(self, delivery: Delivery) -> tuple[Handler, Run] | None:
        """Return what is to run; None when the delivery cannot run here and is settled."""
        envelope, queue = delivery.envelope, delivery.stream.lane.queue
        if delivery.cancelled:
            self.settler.settle(delivery, _CANCELLED)
            return None
        if not self.pauses.permit(queue, envelope.event):
            self.settler.settle(delivery, self._put_back(delivery))
            return None
        handler = self.policy.handler(queue, envelope.event)
        if handler is None or envelope.version > ENVELOPE_VERSION:
            self._pass_on(delivery)
            return None
        job = self._job(delivery, handler)
        if job is None:
            return None
        outcome = self.policy.prepare(job, self.clock.now_ms)
        if outcome is not None:
            self.settler.settle(delivery, outcome)
            return None
        return handler, Run(job, self._loop, handler.owner)

    def _create(self, delivery: Delivery, handler: Handler, run: Run, context: Context) -> None:
        timeout = run.job.timeout
        if timeout is not None:
            timeout = run.job.timeout = check_timeout(timeout)
        # Not by the loop's task factory, which is the application's: an eager one would run the
        # handler in here, others take no context.
        running = self._run(delivery, handler, run)
        task = asyncio.Task(running, loop=self._loop, name=run.job.id, context=context)
        self._runs[delivery] = (task, run)
        if timeout is not None:
            self._deadlines.add(delivery, timeout)

    def _time_out(self, delivery: Delivery) -> None:
        """Cancel a run whose time is up; settle it without waiting long for its end."""
        _, run = self._runs[delivery]
        run.timed_out = True
        self._cancel(delivery)
        self._loop.call_later(END_PATIENCE, self._abandon, delivery)

    def _abandon(self, delivery: Delivery) -> None:
        """Settle a run that does not end and leave it behind: a thread cannot be killed."""
        if delivery not in self._runs or self._abandoning:
            return
        run = self._leave_behind(delivery)
        if delivery.given_up:
            # Lost before its time was up: the outcome is not ours, the slot is.
            self.leases.drop(delivery)
        else:
            delivery.given_up = True
            self.settler.settle(delivery, self._decide(run.job, self._timeout(run)))
        self._on_free()
        if self.leaked > self._max_leaked:
            self._on_broken(f"{self.leaked} runs go on after their timeout and cannot be ended")

    def _leave_behind(self, delivery: Delivery) -> Run:
        task, run = self._runs.pop(delivery)
        self._left_behind.add(task)
        task.add_done_callback(self._left_behind.discard)
        handler = self.policy.handler(run.job.queue, run.job.event)
        if handler is not None and not handler.is_async:
            self.threads.replace_one()
        logger.error("job %s goes on after its timeout, it is left behind", delivery.envelope.id)
        return run

    def _timeout(self, run: Run) -> Raised:
        return Raised(JobTimeout(run.job.id, run.job.timeout or 0.0))

    def _cancel(self, delivery: Delivery) -> None:
        task, run = self._runs[delivery]
        run.job.cancelled = True
        task.cancel()
        if inspect.getcoroutinestate(task.get_coro()) == inspect.CORO_CREATED:  # type: ignore[arg-type]
            # It will not even take its first step, so nobody else tidies up after it.
            if not delivery.given_up:
                self.settler.settle(delivery, Released("shutdown"))
            self._over(delivery)

    def _job(self, delivery: Delivery, handler: Handler) -> Job[Any] | None:
        stream, envelope = delivery.stream, delivery.envelope
        epoch = self.epochs.get(stream.lane.queue, 0)
        try:
            return Job(
                envelope, stream.lane, type=stream.group, delivered=delivery.count,
                epoch=epoch, notes=self._notes, delivery=delivery, decode=handler.decode,
            )  # fmt: skip
        except BaseException as error:
            self._refuse(delivery, error)
        return None

    def _refuse(self, delivery: Delivery, error: BaseException) -> None:
        """Bury a job that its handler does not take, or an entry that nobody could read."""
        envelope = delivery.envelope
        if (why := unreadable(envelope)) is not None:
            self.settler.settle(delivery, foreign(delivery, why))
        else:
            self.settler.settle(delivery, Buried("bad_payload", unfit(error)))

    def _put_back(self, delivery: Delivery) -> Released:
        """Return where a job goes that may not begin now."""
        queue, event = delivery.stream.lane.queue, delivery.envelope.event
        state = self.pauses.of(queue)
        if state.whole or not state.holds(event):
            # A paused queue's lanes are not read; else this worker stood still, or stops.
            return Released("paused" if state.whole else "held")
        # One event's jobs go out of the way of the others, to its own lane, not read then.
        return Released("paused", event)

    def _pass_on(self, delivery: Delivery) -> None:
        # G14: somebody newer, or with the handler, will run it.
        event = delivery.envelope.event
        try:
            check_name("event", event)
        except InvalidName as error:
            self.settler.settle(delivery, foreign(delivery, str(error)))
        else:
            self.settler.settle(delivery, Released("no_handler", event))

    async def _run(self, delivery: Delivery, handler: Handler, run: Run) -> None:
        current_run.set(run)
        ended: Ended | None = None
        try:
            ended = await self._end(delivery, handler, run)
            if run.pending and not self._loop_end.has_come():
                ended = await self._after_pending(run, ended)
            run.ended = True
            outcome = self._outcome(delivery, run, ended)
            if outcome is not None:
                children = run.job.on_success if isinstance(outcome, Completed) else ()
                self.settler.settle(delivery, outcome, children)
            if run.job.cancelled and self._loop_end.has_come():
                await self._last_words()
        except GeneratorExit:
            if not self._loop.is_running():
                # It is collected after its loop, and frees no slot there.
                self._runs.pop(delivery, None)
            raise
        finally:
            # From Python 3.12 on, frames in a traceback keep their callers: a cycle through here.
            ended = None
            # A run that was left behind has left its slot already.
            if delivery in self._runs:
                self._over(delivery)

    def _over(self, delivery: Delivery) -> None:
        del self._runs[delivery]
        if delivery.given_up:
            self.leases.drop(delivery)
        self._on_free()

    def _outcome(self, delivery: Delivery, run: Run, ended: Ended) -> Outcome | None:
        """Return what becomes of a run; None when that is not ours to decide any more."""
        if delivery.given_up:
            return None
        if self._loop_end.has_come():
            return self._cut_off(delivery, run)
        if run.refused and not delivery.begun:
            return self._unrun(delivery, run)
        if self.leases.has_expired(delivery):
            self._note_lost(delivery)
            return None
        if delivery.cancelled:
            return _CANCELLED
        if run.timed_out:
            return self._decide(run.job, self._timeout(run))
        if run.job.cancelled:
            return Released("shutdown")
        return self._decide(run.job, ended)

    def _unrun(self, delivery: Delivery, run: Run) -> Outcome:
        """Return what becomes of a job whose handler was not called, and may not be now.

        Nothing was done for it, so it goes back whether its lease holds or not: Redis
        takes that from its holder alone, and a job of ours need not wait to be reclaimed.
        """
        if delivery.cancelled:
            return _CANCELLED
        if self.leases.has_expired(delivery):
            logger.warning("job %s may have lost its lease unrun, it goes back", run.job.id)
        elif run.timed_out:
            return self._decide(run.job, self._timeout(run))
        if run.job.cancelled and not run.timed_out:
            return Released("shutdown")
        return self._put_back(delivery)

    def _cut_off(self, delivery: Delivery, run: Run) -> Outcome:
        """Return what becomes of a run that the end of its loop cut off: it decides nothing.

        Whatever it came to, a handler that was cancelled may have cut its work short.
        """
        run.job.cancelled = True
        # What is held goes back as well when its turn comes, instead of beginning now.
        self.pauses.closed = True
        return _CANCELLED if delivery.cancelled else Released("shutdown")

    async def _last_words(self) -> None:
        """Hold up the end of the loop until the settler has said what became of its jobs."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_LAST_WORDS):
                await self.settler.flushed()

    async def _end(self, delivery: Delivery, handler: Handler, run: Run) -> Ended:
        # Whatever a handler raises ends this job alone: a SystemExit that left
        # the task would end the event loop.
        try:
            if handler.around is None:
                return await self._call(delivery, handler, run)
            around = handler.around(run.job, lambda: self._value(delivery, handler, run))
            return Returned(await around)
        except BaseException as error:
            self._let_be_collected(error)
            return Raised(_failure(error))

    def _let_be_collected(self, error: BaseException) -> None:
        """Raise on what ends a run that is collected after its loop: nothing is left to do."""
        if isinstance(error, GeneratorExit) and not self._loop.is_running():
            raise error

    async def _call(self, delivery: Delivery, handler: Handler, run: Run) -> Ended:
        # Since the start the loop may have been blocked, or middleware may have waited.
        if not self._may_begin(delivery, run):
            run.refused = True
            return Raised(PutBack())
        if handler.is_async:
            delivery.begun = True
            return Returned(await handler.call(run.job, *handler.extra))
        ended = await self._in_thread(delivery, handler, run)
        if isinstance(ended, Returned) and inspect.isawaitable(ended.value):
            return Returned(await ended.value)
        return ended

    def _may_begin(self, delivery: Delivery, run: Run) -> bool:
        """Whether a handler may be called now: nobody ended or paused it, and the lease holds.

        A process that stood still for longer than the lease has held jobs that others run;
        middleware may outlive the end of its run, and a thread learns of it too late.
        """
        if run.job.cancelled or delivery.given_up or self._loop_end.has_come():
            return False
        if delivery.begun:
            return self._may_go_on(delivery)
        queue, event = delivery.stream.lane.queue, delivery.envelope.event
        return self.pauses.permit(queue, event) and not self.leases.has_expired(delivery)

    def _may_go_on(self, delivery: Delivery) -> bool:
        """Whether middleware may call a handler once more: that begins nothing.

        Pauses and stops let go on what has begun. Without its lease the run is lost, as at
        its end, also when a late renewal went well after all: it was cut short by then.
        """
        if self.leases.has_expired(delivery):
            self._note_lost(delivery)
            return False
        return True

    async def _value(self, delivery: Delivery, handler: Handler, run: Run) -> Any:
        """Return what the handler returns, or raise what it raises, to what is around it."""
        children = run.call_again()
        try:
            return await self._returned(delivery, handler, run)
        except BaseException:
            run.call_failed(children)
            raise

    async def _returned(self, delivery: Delivery, handler: Handler, run: Run) -> Any:
        ended = await self._call(delivery, handler, run)
        if isinstance(ended, Returned):
            return ended.value
        try:
            raise ended.error
        finally:
            # The error's traceback leads here: a cycle that would keep the run.
            del ended

    async def _in_thread(self, delivery: Delivery, handler: Handler, run: Run) -> Ended:
        """Run a synchronous handler to its end: a thread cannot be cancelled, only told."""
        working = self.threads.submit(self._begin, delivery, handler, run)
        while True:
            try:
                return await asyncio.shield(working)
            except asyncio.CancelledError:
                if self._loop_end.has_come():
                    self._leave_to_its_lease(delivery, run)
                    raise
                if working.cancelled() or self._abandoning:
                    raise

    def _leave_to_its_lease(self, delivery: Delivery, run: Run) -> None:
        """Decide nothing about a thread that goes on when its loop ends, nor wait for it.

        Its job may not begin elsewhere as long as the lease lasts.
        """
        run.job.cancelled = delivery.given_up = True
        logger.warning("job %s goes on in its thread, its event loop ends", run.job.id)

    def _begin(self, delivery: Delivery, handler: Handler, run: Run) -> Any:
        # In the thread, which may have waited for its turn.
        if not self._may_begin(delivery, run):
            run.refused = True
            raise PutBack
        delivery.begun = True
        return handler.call(run.job, *handler.extra)

    async def _after_pending(self, run: Run, ended: Ended) -> Ended:
        """Await what the handler started and did not await; a failure of it fails the run."""
        failure: BaseException | None = None
        while run.pending:
            started, run.pending = run.pending, []
            failure = await self._first_failure(started) or failure
        if failure is not None and isinstance(ended, Returned):
            return Raised(failure)
        return ended

    async def _first_failure(self, started: list[Awaitable[Any]]) -> BaseException | None:
        """Await everything; return what failed first, None when nothing did."""
        failure: BaseException | None = None
        for work in started:
            try:
                await work
            except BaseException as error:
                self._let_be_collected(error)
                failure = failure or error
                if self._loop_end.has_come():
                    # What the others wait for has ended with the loop.
                    break
        return failure

    def _note_lost(self, delivery: Delivery) -> None:
        delivery.given_up = True
        logger.warning("job %s ended after its lease, nothing is recorded", delivery.envelope.id)

    def _decide(self, job: Job[Any], ended: Ended) -> Outcome:
        try:
            outcome: Outcome | None = self.policy.decide(job, ended)
        except BaseException as error:
            logger.exception("the policy failed to decide about job %s", job.id)
            return _broken(error)
        return outcome if outcome is not None else _broken(TypeError("decide returned no outcome"))


def _broken(error: BaseException) -> Buried:
    """Return what becomes of a job that other code than its handler raised for."""
    return Buried("failed", f"the policy raised {named(error)}")


def _failure(error: BaseException) -> BaseException:
    """Return why a run failed; middleware may raise a refusal after a call that began."""
    if isinstance(error, PutBack):
        # No policy would retry that.
        return RuntimeError("a call of its handler was refused")
    return error
