"""Hand jobs to the producer of the event loop at hand, from wherever emit is called."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Coroutine, Iterable, Iterator, Mapping
from itertools import islice
from typing import Any, TypeVar

from consumers.current import Run, current_run
from consumers.errors import TaskManagerError, TooLarge
from consumers.job import Job, NewJob
from consumers.producer import Producer
from taskmanager.emission import Emission, Remainder
from taskmanager.errors import (
    EmitManyError,
    InvalidOption,
    NoEventLoop,
    NotInHandler,
    OwnJob,
)
from taskmanager.handle import JobHandle
from taskmanager.portal import portal, refuse_running_loop, running_loop, wait_on
from taskmanager.request import EmitArguments, new_job, new_jobs

T = TypeVar("T")

MAX_CHILDREN = 500
MAX_CHILDREN_BYTES = 1024 * 1024
# Futures of emit_many that are in the air at a time; 20 batches of 500.
_CHUNK = 10_000


class Emitter:
    """Emits for one task manager, in any thread, loop and forked child.

    open_producer makes a producer on the running loop; each loop of each
    process gets one of its own.
    """

    def __init__(self, open_producer: Callable[[], Producer]) -> None:
        self._open_producer = open_producer
        self._producers: dict[asyncio.AbstractEventLoop, Producer] = {}
        self._pid = os.getpid()
        self._inherited: list[object] = []

    def emit(self, event: str, arguments: EmitArguments, *, on_success: bool = False) -> Emission:
        """Check everything and send the job; see TaskManager.emit and Context.emit."""
        run = _run_here()
        job = new_job(event, arguments, inherited=_correlation_id(run))
        if on_success:
            return _add_child(self._own(run), job)
        self._refuse_own(run, job)
        loop = running_loop()
        if loop is not None:
            return self._send(loop, run, job)
        if run is None:
            raise NoEventLoop()
        return Emission.confirmed(job, wait_on(run.loop, self._confirm(job)))

    def emit_sync(self, event: str, arguments: EmitArguments) -> JobHandle:
        """Send the job and block until it is confirmed."""
        refuse_running_loop("emit_sync", "await emit(...)")
        run = _run_here()
        job = new_job(event, arguments, inherited=_correlation_id(run))
        self._refuse_own(run, job)
        return self._block(run, self._confirm(job))

    async def emit_many(self, items: Iterable[Mapping[str, Any]]) -> list[JobHandle]:
        """Check all items, then send them and wait for all."""
        return await self._confirm_all(self._checked(items))

    def emit_many_sync(self, items: Iterable[Mapping[str, Any]]) -> list[JobHandle]:
        """Do what emit_many does and block until all are confirmed."""
        refuse_running_loop("sync.emit_many", "await emit_many(...)")
        jobs = self._checked(items)
        return self._block(_run_here(), self._confirm_all(jobs))

    def connect(self) -> None:
        """Make the producer of the running loop; it connects with the first job."""
        self._producer(asyncio.get_running_loop())

    async def close(self) -> None:
        """Finish what was emitted on the running loop and disconnect; a later emit reconnects."""
        self._forget_other_process()
        producer = self._producers.pop(asyncio.get_running_loop(), None)
        if producer is not None:
            await producer.close()

    def _send(self, loop: asyncio.AbstractEventLoop, run: Run | None, job: NewJob) -> Emission:
        future = self._producer(loop).emit(job)
        emission = Emission(job, future)
        # A handler may run a loop of its own in its thread; the executor cannot
        # await what belongs to that one.
        if run is None or run.loop is not loop:
            return emission.report_failure()
        run.track(Remainder(emission, future))
        return emission

    def _block(self, run: Run | None, work: Coroutine[Any, Any, T]) -> T:
        return wait_on(portal.loop if run is None else run.loop, work)

    async def _confirm(self, job: NewJob) -> JobHandle:
        return await Emission(job, self._producer(asyncio.get_running_loop()).emit(job))

    async def _confirm_all(self, jobs: list[NewJob]) -> list[JobHandle]:
        handles: list[JobHandle | None] = []
        errors: dict[int, Exception] = {}
        for chunk in _chunks(jobs):
            producer = self._producer(asyncio.get_running_loop())
            for emission in [Emission(job, producer.emit(job)) for job in chunk]:
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
        jobs = new_jobs(items, inherited=_correlation_id(run))
        for job in jobs:
            self._refuse_own(run, job)
        return jobs

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

    def _producer(self, loop: asyncio.AbstractEventLoop) -> Producer:
        self._forget_other_process()
        producer = self._producers.get(loop)
        if producer is None:
            self._forget_closed_loops()
            producer = self._producers[loop] = self._open_producer()
            portal.at_close(loop, self.close)
        return producer

    def _forget_other_process(self) -> None:
        if self._pid != os.getpid():
            # Kept, not dropped: dropping would close what the parent is using.
            self._inherited.append(self._producers)
            self._producers = {}
            self._pid = os.getpid()

    def _forget_closed_loops(self) -> None:
        for loop in list(self._producers):
            if loop.is_closed():
                self._producers.pop(loop, None)


def _run_here() -> Run | None:
    """Return the run that the caller is part of; what a handler left behind is part of none."""
    run = current_run.get()
    return None if run is None or run.ended else run


def _correlation_id(run: Run | None) -> str | None:
    return None if run is None else run.job.correlation_id


def _add_child(run: Run, job: NewJob) -> Emission:
    if job.lane.queue != run.job.queue:
        raise InvalidOption(
            "queue",
            job.lane.queue,
            f"with on_success=True a child stays in its parent's queue {run.job.queue!r}; "
            "emit it there, or to the other queue without on_success",
        )
    _refuse_too_many(run.job, job)
    run.job.on_success.append(job)
    return Emission.confirmed(job, JobHandle(job.id, job.lane.queue, None))


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
