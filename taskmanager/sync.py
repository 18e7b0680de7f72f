"""The blocking twin of the task manager's methods, for threads without an event loop.

Written out rather than generated, so that type checkers, editors and help() know the methods.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import timedelta
from typing import Any, Unpack

from consumers.admin.dead_letters import DeadLetter
from consumers.admin.explanation import Explanation, QueueExplanation
from consumers.admin.figures import QueueStats
from consumers.admin.routes import RouteInfo
from consumers.admin.workers import WorkerInfo
from taskmanager.admin.dlq import DeadLetterQueue, Letters, ProgressCallback, ReplayedAll
from taskmanager.admin.jobs import Jobs
from taskmanager.admin.queues import Queues
from taskmanager.admin.schedules import Schedules
from taskmanager.clients.portal import block
from taskmanager.emit.emitter import Emitter
from taskmanager.handles.handle import JobHandle
from taskmanager.handles.info import JobInfo, ScheduleInfo
from taskmanager.handles.sync_handle import SyncJobHandle
from taskmanager.options.arguments import DEFAULT_QUEUE, EmitArguments
from taskmanager.options.request import Item


class Sync:
    """Blocking versions of TaskManager's methods, reached as `tm.sync`.

    They work in any thread, and in a process forked after the task manager was made. `dlq` has the
    methods for dead letters. On a running event loop they all raise LoopIsRunning, whose message
    names what to await instead.
    """

    def __init__(
        self,
        emitter: Emitter,
        *,
        jobs: Jobs,
        queues: Queues,
        schedules: Schedules,
        dlq: DeadLetterQueue,
    ) -> None:
        self._emitter = emitter
        self._jobs = jobs
        self._queues = queues
        self._schedules = schedules
        self.dlq = SyncDeadLetterQueue(dlq)

    def emit(
        self, event: str | Mapping[str, Any], **arguments: Unpack[EmitArguments]
    ) -> SyncJobHandle[Any]:
        """Emit a job and return once Redis has it; takes the arguments of TaskManager.emit."""
        return self._emitter.emit_sync(event, arguments)

    def emit_many(self, items: Iterable[Item]) -> list[SyncJobHandle]:
        """Emit many jobs and return once Redis has all of them; see TaskManager.emit_many."""
        return self._emitter.emit_many_sync(items)

    def handle(self, id: str, queue: str = DEFAULT_QUEUE) -> SyncJobHandle:
        """Return a handle for the live or latest job of an id. Its methods block."""
        return SyncJobHandle(JobHandle(id, queue, None, jobs=self._jobs))

    def get_job(self, id: str, queue: str = DEFAULT_QUEUE) -> JobInfo | None:
        """Return what is known about a job, or None; see TaskManager.get_job."""
        return block("sync.get_job", lambda: self._jobs.known(queue, id))

    def explain(self, id: str, queue: str = DEFAULT_QUEUE) -> Explanation:
        """Return why a job is not running; see TaskManager.explain."""
        return block("sync.explain", lambda: self._jobs.explain(queue, id, None))

    def explain_queue(self, queue: str = DEFAULT_QUEUE) -> QueueExplanation:
        """Return why the jobs of a queue wait; see TaskManager.explain_queue."""
        return block("sync.explain_queue", lambda: self._queues.explain(queue))

    def stats(self, queue: str = DEFAULT_QUEUE) -> QueueStats:
        """Return the figures of a queue; see TaskManager.stats."""
        return block("sync.stats", lambda: self._queues.stats(queue))

    def queue_names(self) -> list[str]:
        """Return the names of all queues; see TaskManager.queue_names."""
        return block("sync.queue_names", self._queues.names)

    def workers(self, queue: str = DEFAULT_QUEUE) -> list[WorkerInfo]:
        """Return the live workers of a queue; see TaskManager.workers."""
        return block("sync.workers", lambda: self._queues.workers(queue))

    def routes(self, queue: str = DEFAULT_QUEUE) -> list[RouteInfo]:
        """Return the routes of a queue; see TaskManager.routes."""
        return block("sync.routes", lambda: self._queues.routes(queue))

    def drain(self, queue: str = DEFAULT_QUEUE) -> None:
        """Block until no job of a queue is waiting, due or running; see TaskManager.drain."""
        block("sync.drain", lambda: self._queues.drain(queue))

    def pause(
        self, queue: str = DEFAULT_QUEUE, *, event: str | None = None, wait: bool = False
    ) -> None:
        """Stop a queue, or one event in it, from starting jobs; see TaskManager.pause."""
        block("sync.pause", lambda: self._queues.pause(queue, event, wait=wait))

    def resume(self, queue: str = DEFAULT_QUEUE, *, event: str | None = None) -> None:
        """End the pause of a queue, or of one event in it; see TaskManager.resume."""
        block("sync.resume", lambda: self._queues.resume(queue, event))

    def schedules(self, queue: str | None = None) -> list[ScheduleInfo]:
        """Return the schedules of a queue, or of all queues; see TaskManager.schedules."""
        return block("sync.schedules", lambda: self._schedules.list(queue))


class SyncDeadLetterQueue:
    """Blocking versions of the methods of `tm.dlq`, reached as `tm.sync.dlq`."""

    def __init__(self, dlq: DeadLetterQueue) -> None:
        self._dlq = dlq

    def list(self, queue: str = DEFAULT_QUEUE, limit: int = 100) -> Letters:
        """Return up to `limit` dead letters of a queue, newest first."""
        return block("sync.dlq.list", lambda: self._dlq.list(queue, limit))

    def get(self, id: str, queue: str = DEFAULT_QUEUE) -> DeadLetter | None:
        """Return the latest dead letter of a job id, or None."""
        return block("sync.dlq.get", lambda: self._dlq.get(id, queue))

    def replay(self, id: str, queue: str = DEFAULT_QUEUE) -> SyncJobHandle:
        """Run a dead job again; see DeadLetterQueue.replay."""
        return SyncJobHandle(block("sync.dlq.replay", lambda: self._dlq.replay(id, queue)))

    def replay_all(
        self,
        queue: str = DEFAULT_QUEUE,
        *,
        rate: float | None = None,
        progress: ProgressCallback | None = None,
    ) -> ReplayedAll:
        """Run every dead job of a queue again; see DeadLetterQueue.replay_all.

        `progress` is called in another thread.
        """
        return block(
            "sync.dlq.replay_all",
            lambda: self._dlq.replay_all(queue, rate=rate, progress=progress),
        )

    def purge(self, queue: str = DEFAULT_QUEUE, *, older_than: float | timedelta = 0.0) -> int:
        """Delete dead letters older than `older_than` seconds, by default all; return how many."""
        return block("sync.dlq.purge", lambda: self._dlq.purge(queue, older_than=older_than))
