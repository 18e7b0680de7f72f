"""Hand jobs to the producer of the event loop at hand, from wherever emit is called."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterable, Iterator, Mapping
from itertools import islice
from typing import Any, TypeVar

from consumers.current import Run, current_run
from consumers.errors import TaskManagerError, TooLarge
from consumers.job import Job, NewJob
from taskmanager.clients import Clients
from taskmanager.emission import Emission, Remainder
from taskmanager.errors import (
    EmitManyError,
    NoEventLoop,
    NotInHandler,
    OwnJob,
)
from taskmanager.handle import JobHandle
from taskmanager.portal import portal, refuse_running_loop, running_loop, wait_on
from taskmanager.reader import Reader
from taskmanager.request import EmitArguments, PayloadCheck, new_job, new_jobs
from taskmanager.sync_handle import SyncJobHandle

T = TypeVar("T")

MAX_CHILDREN = 500
MAX_CHILDREN_BYTES = 1024 * 1024
# Futures of emit_many that are in the air at a time; 20 batches of 500.
_CHUNK = 10_000


class Emitter:
    """Emits for one task manager, in any thread, loop and forked child.

    check says whether a payload is what the event's handler takes, as far as it
    is known here.
    """

    def __init__(self, clients: Clients, reader: Reader, *, check: PayloadCheck) -> None:
        self._clients = clients
        self._reader = reader
        self._check = check

    def emit(self, event: str, arguments: EmitArguments, *, on_success: bool = False) -> Emission:
        """Check everything and send the job; see TaskManager.emit and Context.emit."""
        run = _run_here()
        job = new_job(event, arguments, inherited=_correlation_id(run), check=self._check)
        if on_success:
            return self._add_child(self._own(run), job)
        self._refuse_own(run, job)
        loop = running_loop()
        if loop is not None:
            return self._send(loop, run, job)
        if run is None:
            raise NoEventLoop()
        return Emission.confirmed(job, wait_on(run.loop, self._confirm(job)))

    def emit_sync(self, event: str, arguments: EmitArguments) -> SyncJobHandle:
        """Send the job and block until it is confirmed."""
        refuse_running_loop("emit_sync", "await emit(...)")
        run = _run_here()
        job = new_job(event, arguments, inherited=_correlation_id(run), check=self._check)
        self._refuse_own(run, job)
        return SyncJobHandle(self._block(run, self._confirm(job)))

    async def emit_many(self, items: Iterable[Mapping[str, Any]]) -> list[JobHandle]:
        """Check all items, then send them and wait for all."""
        return await self._confirm_all(self._checked(items))

    def emit_many_sync(self, items: Iterable[Mapping[str, Any]]) -> list[SyncJobHandle]:
        """Do what emit_many does and block until all are confirmed."""
        refuse_running_loop("sync.emit_many", "await emit_many(...)")
        jobs = self._checked(items)
        handles = self._block(_run_here(), self._confirm_all(jobs))
        return [SyncJobHandle(handle) for handle in handles]

    def _send(self, loop: asyncio.AbstractEventLoop, run: Run | None, job: NewJob) -> Emission:
        future = self._clients.here().producer.emit(job)
        emission = Emission(job, future, self._reader)
        # A handler may run a loop of its own in its thread; the executor cannot
        # await what belongs to that one.
        if run is None or run.loop is not loop:
            return emission.report_failure()
        run.track(Remainder(emission, future))
        return emission

    def _block(self, run: Run | None, work: Coroutine[Any, Any, T]) -> T:
        return wait_on(portal.loop if run is None else run.loop, work)

    async def _confirm(self, job: NewJob) -> JobHandle:
        return await Emission(job, self._clients.here().producer.emit(job), self._reader)

    async def _confirm_all(self, jobs: list[NewJob]) -> list[JobHandle]:
        handles: list[JobHandle | None] = []
        errors: dict[int, Exception] = {}
        for chunk in _chunks(jobs):
            producer = self._clients.here().producer
            for emission in [Emission(job, producer.emit(job), self._reader) for job in chunk]:
                try:
                    handles.append(await emission)
                except TaskManagerError as error:
                    errors[len(handles)] = error
                    handles.append(None)
        if errors:
            raise EmitManyError(handles, errors)
        return [handle for handle in handles if handle is not None]

    def _checked(self, items: object) -> list[NewJob]:
        run = _run_here()
        jobs = new_jobs(items, inherited=_correlation_id(run), check=self._check)
        for job in jobs:
            self._refuse_own(run, job)
        return jobs

    def _add_child(self, run: Run, job: NewJob) -> Emission:
        _refuse_too_many(run.job, job)
        run.job.on_success.append(job)
        handle = JobHandle(job.id, job.lane.queue, None, reader=self._reader)
        return Emission.confirmed(job, handle)

    def _own(self, run: Run | None) -> Run:
        """Return the run, which must be one of this task manager."""
        if run is None or run.owner is not self:
            raise NotInHandler(elsewhere=run is not None)
        return run

    def _refuse_own(self, run: Run | None, job: NewJob) -> None:
        # Another task manager's queue of this name is another queue.
        if run is None or run.owner is not self:
            return
        if job.id == run.job.id and job.lane.queue == run.job.queue:
            raise OwnJob(job.id)


def _run_here() -> Run | None:
    """Return the run that the caller is part of; what a handler left behind is part of none."""
    run = current_run.get()
    return None if run is None or run.ended else run


def _correlation_id(run: Run | None) -> str | None:
    return None if run is None else run.job.correlation_id


def _refuse_too_many(parent: Job[Any], child: NewJob) -> None:
    what = f"what job {parent.id!r} adds on success"
    if len(parent.on_success) >= MAX_CHILDREN:
        raise TooLarge(what, len(parent.on_success) + 1, MAX_CHILDREN, unit="jobs")
    size = sum(len(job.data) + len(job.options) for job in [*parent.on_success, child])
    if size > MAX_CHILDREN_BYTES:
        raise TooLarge(what, size, MAX_CHILDREN_BYTES)


def _chunks(jobs: list[NewJob]) -> Iterator[list[NewJob]]:
    rest = iter(jobs)
    while chunk := list(islice(rest, _CHUNK)):
        yield chunk
