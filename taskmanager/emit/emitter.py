"""Send jobs through the producer of the current event loop, from wherever emit is called."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections.abc import Coroutine, Iterable, Iterator, Mapping
from functools import partial
from typing import Any, TypeVar

from consumers.emit.batches import Emitted, Pending
from consumers.jobs.envelope import NewJob
from consumers.run.run import Run, current_run
from processors.schedules.schedule import Schedule
from taskmanager.admin.jobs import Jobs
from taskmanager.admin.schedules import Schedules
from taskmanager.clients.clients import Client, Clients
from taskmanager.clients.portal import portal, refuse_running_loop, running_loop, wait_on
from taskmanager.emit.capture import CapturedJob, unsent
from taskmanager.emit.children import child_of, refuse_too_many
from taskmanager.emit.emission import Emission, Remainder
from taskmanager.emit.errors import EmitManyError
from taskmanager.emit.routable import refuse_any_unroutable, refuse_unroutable
from taskmanager.errors import (
    InvalidOption,
    NoEventLoop,
    NotInHandler,
    OwnJob,
)
from taskmanager.handles.handle import JobHandle, Read, handle_of
from taskmanager.handles.results import ResultReader
from taskmanager.handles.sync_handle import SyncJobHandle
from taskmanager.options.forms import Known
from taskmanager.options.request import (
    Checked,
    Item,
    Prepared,
    Way,
    named_by,
    new_jobs,
    requested,
)
from taskmanager.options.routing import RoutableJob

T = TypeVar("T")

# How many jobs of emit_many the producer gets at a time: 20 batches of 500.
_CHUNK = 10_000


class Emitter:
    """Emits for one task manager, in any thread, event loop and forked child.

    `known` has what is known here about the handlers of jobs.
    """

    def __init__(self, clients: Clients, jobs: Jobs, schedules: Schedules, *, known: Known) -> None:
        self._clients = clients
        self._jobs = jobs
        self._schedules = schedules
        self._known = known
        self._by_name = Way(known)
        # Lists that capture jobs instead of sending them; the last one counts.
        self._captures: list[list[CapturedJob]] = []
        self._guard = threading.Lock()

    def emit(
        self,
        event: Any,
        arguments: Mapping[str, Any],
        *,
        on_success: bool = False,
        way: Way | None = None,
    ) -> Emission[Any]:
        """Check everything and send the job; see TaskManager.emit and Context.emit.

        `way` is how it is checked and its result read, if that does not follow from the event.
        """
        run, job, read = self._prepared(event, arguments, way)
        if self._captures:
            return self._capture(job, event, arguments, on_success)
        if on_success:
            return self._add_child(run, job, read)
        self._refuse_own(run, job)
        loop = running_loop()
        if loop is not None:
            return self._send(loop, run, job, read)
        if run is None:
            raise NoEventLoop()
        return Emission.confirmed(wait_on(run.loop, self._confirm(job, read)))

    def emit_sync(
        self,
        event: Any,
        arguments: Mapping[str, Any],
        *,
        on_success: bool = False,
        way: Way | None = None,
    ) -> SyncJobHandle[Any]:
        """Send the job and block until Redis has it; see emit."""
        refuse_running_loop("emit_sync", "await emit(...)")
        run, job, read = self._prepared(event, arguments, way)
        if self._captures:
            return SyncJobHandle(self._capture(job, event, arguments, on_success).handle)
        if on_success:
            return SyncJobHandle(self._add_child(run, job, read).handle)
        self._refuse_own(run, job)
        return SyncJobHandle(self._block(run, self._confirm(job, read)))

    async def emit_many(self, items: Iterable[Item]) -> list[JobHandle]:
        """Check all items, then send them and wait for all answers."""
        if self._captures:
            return self._capture_all(items)
        return await self._confirm_all(self._checked(items))

    def emit_many_sync(self, items: Iterable[Item]) -> list[SyncJobHandle]:
        """Do the same as emit_many, and block until all jobs are confirmed."""
        refuse_running_loop("sync.emit_many", "await emit_many(...)")
        if self._captures:
            return [SyncJobHandle(handle) for handle in self._capture_all(items)]
        jobs = self._checked(items)
        handles = self._block(_run_here(), self._confirm_all(jobs))
        return [SyncJobHandle(handle) for handle in handles]

    @contextlib.contextmanager
    def capturing(self) -> Iterator[list[CapturedJob]]:
        """Collect checked jobs and send none; see EmitFace.capture."""
        mine: list[CapturedJob] = []
        with self._guard:
            self._captures = [*self._captures, mine]
        try:
            yield mine
        finally:
            # Several may be open, in threads or tasks, and any of them may end first.
            with self._guard:
                self._captures = [it for it in self._captures if it is not mine]

    def _prepared(
        self, event: Any, arguments: Mapping[str, Any], way: Way | None
    ) -> tuple[Run | None, NewJob | Schedule, Read | None]:
        """Return the run that emits, the job or schedule, and how its result is read."""
        if type(event) is not str:
            event, arguments, way = self._by_function(event, arguments)
        way = way or self._by_name
        run = _run_here()
        job = requested(event, arguments, inherited=_correlation_id(run), way=way)
        return run, job, way.read

    def _capture(
        self,
        wanted: NewJob | Schedule,
        event: object,
        arguments: Mapping[str, Any],
        on_success: bool,
    ) -> Emission[Any]:
        if on_success:
            child_of(wanted)
        given = event if isinstance(event, Mapping) else arguments
        captured = CapturedJob.of(wanted, given, on_success=on_success)
        # The capture may have ended in another thread just now.
        for latest in self._captures[-1:]:
            latest.append(captured)
        return unsent(captured)

    def _capture_all(self, items: Iterable[Item]) -> list[JobHandle]:
        given = list(items) if isinstance(items, Iterable) else items
        jobs = self._checked(given).jobs
        arguments = (it.arguments if isinstance(it, Prepared) else it for it in given)
        pairs = zip(jobs, arguments, strict=True)
        return [self._capture(job, job.event, its, on_success=False).handle for job, its in pairs]

    def _by_function(
        self, function: Any, arguments: Mapping[str, Any]
    ) -> tuple[Any, Mapping[str, Any], Way | None]:
        """Return the event of a handler function, with its queue and how to read its results.

        A dict stays as it is. So does any other value; the check of names refuses it later.
        """
        if isinstance(function, Prepared):
            allowed = "it is a bound call: pass it to emit_many"
            raise InvalidOption("event", function, allowed)
        if not callable(function):
            return function, arguments, None
        queue, event = named_by(function, self._known.names_of(function), arguments.get("queue"))
        return event, {**arguments, "queue": queue}, Way(self._known, ResultReader(function))

    def _submit(self, job: NewJob | Schedule) -> Pending:
        client = self._clients.here()
        if type(job) is NewJob:
            return client.producer.send(job)
        pending = Pending(asyncio.get_running_loop())
        client.start(self._sent(client, job)).add_done_callback(partial(_tell, pending))
        return pending

    async def _sent(self, client: Client, job: NewJob | Schedule) -> Emitted:
        """Return the answer to what is not sent at once."""
        if isinstance(job, Schedule):
            return await self._schedules.register(job)
        if isinstance(job, RoutableJob):
            await refuse_unroutable(client, job)
        return await client.producer.emit(job)

    def _send(
        self,
        loop: asyncio.AbstractEventLoop,
        run: Run | None,
        job: NewJob | Schedule,
        read: Read | None,
    ) -> Emission[Any]:
        pending = self._submit(job)
        emission = self._emission(job, pending, read)
        # A handler may run its own event loop in its thread. The executor cannot await
        # what belongs to that loop.
        if run is None or run.loop is not loop:
            return emission.report_failure()
        run.track(Remainder(emission, pending))
        return emission

    def _block(self, run: Run | None, work: Coroutine[Any, Any, T]) -> T:
        return portal.run(work) if run is None else wait_on(run.loop, work)

    async def _confirm(self, job: NewJob | Schedule, read: Read | None) -> JobHandle:
        # A wait that is interrupted does not see whether it fails.
        return await self._emission(job, self._submit(job), read).report_failure()

    def _emission(
        self, wanted: NewJob | Schedule, pending: Pending, read: Read | None
    ) -> Emission[Any]:
        job = _job_of(wanted)
        return Emission(job.id, job.lane.queue, pending, self._jobs, read=read)

    async def _confirm_all(self, checked: Checked) -> list[JobHandle]:
        jobs, reads = checked
        if RoutableJob in map(type, jobs):
            await refuse_any_unroutable(self._clients.here(), jobs)
        # Those that are not confirmed stay None, and are among the errors.
        handles: list[Any] = [None] * len(jobs)
        errors: dict[int, Exception] = {}
        for first in range(0, len(jobs), _CHUNK):
            chunk = jobs[first : first + _CHUNK]
            for positions, answers in self._clients.here().producer.emit_all(chunk):
                for at, answer in zip(positions, await answers, strict=True):
                    if not isinstance(answer, Emitted):
                        errors[first + at] = answer
                        continue
                    job_id, created, run = answer
                    queue, read = chunk[at].lane.queue, reads.get(first + at)
                    handle = handle_of(job_id, queue, created, run, self._jobs, read)
                    handles[first + at] = handle
        if errors:
            raise EmitManyError(handles, dict(sorted(errors.items())))
        return handles

    def _checked(self, items: object) -> Checked:
        run = _run_here()
        inherited = _correlation_id(run)
        checked = new_jobs(items, inherited=inherited, way=self._by_name, owner=self)
        if run is not None:
            for job in checked.jobs:
                self._refuse_own(run, job)
        return checked

    def _add_child(
        self, run: Run | None, job: NewJob | Schedule, read: Read | None
    ) -> Emission[Any]:
        job = child_of(job)
        run = self._own(run)
        refuse_too_many(run.job, job)
        run.job.on_success.append(job)
        handle: JobHandle = JobHandle(job.id, job.lane.queue, None, jobs=self._jobs, read=read)
        return Emission.confirmed(handle)

    def _own(self, run: Run | None) -> Run:
        """Return the run, which must belong to this task manager."""
        if run is None or run.owner is not self:
            raise NotInHandler(elsewhere=run is not None)
        return run

    def _refuse_own(self, run: Run | None, job: NewJob | Schedule) -> None:
        # A queue of this name in another task manager is a different queue.
        if run is None or run.owner is not self or isinstance(job, Schedule):
            return
        if job.id == run.job.id and job.lane.queue == run.job.queue:
            raise OwnJob(job.id)


def _tell(pending: Pending, registered: asyncio.Task[Emitted]) -> None:
    if registered.cancelled():
        pending.give(asyncio.CancelledError())
    elif (error := registered.exception()) is not None:
        pending.give(error)
    else:
        pending.give(registered.result())


def _job_of(wanted: NewJob | Schedule) -> NewJob:
    """Return the job; for a schedule, the job of its next fire time by this machine's clock."""
    if isinstance(wanted, NewJob):
        return wanted
    return wanted.job(wanted.spec.next_after(int(time.time() * 1000)) or 0)


def _run_here() -> Run | None:
    """Return the run that the caller is part of; None for work that outlived its handler."""
    run = current_run.get()
    return None if run is None or run.ended else run


def _correlation_id(run: Run | None) -> str | None:
    return None if run is None else run.job.correlation_id
