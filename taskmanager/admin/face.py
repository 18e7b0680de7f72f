"""The part of a task manager that reads queues, jobs and schedules, and changes them."""

from __future__ import annotations

from consumers.admin.explanation import Explanation, QueueExplanation
from consumers.admin.figures import QueueStats
from consumers.admin.routes import RouteInfo
from consumers.admin.workers import WorkerInfo
from consumers.jobs.names import check_name
from taskmanager.admin.dlq import DeadLetterQueue
from taskmanager.admin.jobs import Jobs
from taskmanager.admin.queues import Queues
from taskmanager.admin.schedules import ScheduleHandle, Schedules
from taskmanager.handles.handle import JobHandle
from taskmanager.handles.info import JobInfo, ScheduleInfo
from taskmanager.options.arguments import DEFAULT_QUEUE


class AdminFace:
    """The methods of a task manager for jobs, queues, workers, routes and schedules in Redis."""

    _jobs: Jobs
    _queues: Queues
    _schedules: Schedules
    _dlq: DeadLetterQueue

    def handle(self, id: str, queue: str = DEFAULT_QUEUE) -> JobHandle:
        """Return a handle for the job with this id, without asking Redis whether there is one.

        It refers to the live job of the id, or else to the latest one.
        """
        return JobHandle(id, queue, None, jobs=self._jobs)

    async def get_job(self, id: str, queue: str = DEFAULT_QUEUE) -> JobInfo | None:
        """Return what is known about a job: state, times, errors and more. None if unknown."""
        return await self._jobs.known(queue, id)

    async def explain(self, id: str, queue: str = DEFAULT_QUEUE) -> Explanation:
        """Return why a job is not running, or what it is doing. Its `str` is a sentence."""
        return await self._jobs.explain(queue, id, None)

    async def stats(self, queue: str = DEFAULT_QUEUE) -> QueueStats:
        """Return the figures of a queue: how many jobs wait, run, failed, and so on."""
        return await self._queues.stats(queue)

    async def queue_names(self) -> list[str]:
        """Return the sorted names of all queues that jobs were emitted to or that workers read."""
        return await self._queues.names()

    async def drain(self, queue: str = DEFAULT_QUEUE) -> None:
        """Wait until no job of a queue is waiting, due or running, on any worker.

        Delayed jobs and retries that are not due yet are not waited for.
        """
        await self._queues.drain(queue)

    async def workers(self, queue: str = DEFAULT_QUEUE) -> list[WorkerInfo]:
        """Return the live workers of a queue, in any process, sorted by name.

        A worker that died without stopping is listed for up to a minute.
        """
        return await self._queues.workers(queue)

    async def routes(self, queue: str = DEFAULT_QUEUE) -> list[RouteInfo]:
        """Return the routes of a queue, and which live workers may run the jobs of each.

        Jobs have a route if they require more of a worker than its type. A route goes about a
        minute after its last job.
        """
        return await self._queues.routes(queue)

    async def explain_queue(self, queue: str = DEFAULT_QUEUE) -> QueueExplanation:
        """Return why the jobs of a queue wait: each reason, how many jobs it has, and an example.

        At most 500 jobs that wait or are put off are looked at: as many of each lane.
        """
        return await self._queues.explain(queue)

    @property
    def dlq(self) -> DeadLetterQueue:
        """The dead letters of all queues: list, read, replay and purge them."""
        return self._dlq

    async def pause(
        self, queue: str = DEFAULT_QUEUE, *, event: str | None = None, wait: bool = False
    ) -> None:
        """Stop a queue, or one event in it, from starting jobs. Running jobs continue.

        Emits are still accepted. With `wait=True` the call returns once every live worker has
        confirmed the pause; from then on nothing starts. A worker that is frozen or cut off cannot
        confirm: the call waits until it is no longer listed, a minute after its last sign of life.
        """
        await self._queues.pause(queue, event, wait=wait)

    async def resume(self, queue: str = DEFAULT_QUEUE, *, event: str | None = None) -> None:
        """End the pause of a queue, or of one event in it. The two are paused independently."""
        await self._queues.resume(queue, event)

    async def schedules(self, queue: str | None = None) -> list[ScheduleInfo]:
        """Return the schedules of a queue, or of all queues, each with its next five fire times."""
        return await self._schedules.list(queue)

    def schedule(self, name: str, queue: str = DEFAULT_QUEUE) -> ScheduleHandle:
        """Return a handle for a schedule: pause it, resume it, remove it, or run its job now."""
        check_name("schedule", name)
        check_name("queue", queue)
        return ScheduleHandle(name, queue, schedules=self._schedules)
