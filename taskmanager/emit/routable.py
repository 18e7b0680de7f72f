"""Refuse jobs that no live worker may run: `reject_unroutable=True`."""

from __future__ import annotations

from collections.abc import Sequence

from consumers.errors import TaskManagerError
from consumers.jobs.envelope import NewJob
from taskmanager.clients.clients import Client
from taskmanager.emit.errors import NoCapableWorker
from taskmanager.options.routing import RoutableJob


async def refuse_unroutable(client: Client, job: RoutableJob) -> None:
    """Raise NoCapableWorker if no live worker may run a job; RedisUnavailable, BrokenKey."""
    lacking = await client.workers(job.lane.queue).lacking(job.demand)
    if lacking is not None:
        raise NoCapableWorker(job, lacking)


async def refuse_any_unroutable(client: Client, jobs: Sequence[NewJob]) -> None:
    """Do the same for the jobs of an emit_many that are to be refused; a note names the item."""
    for position, job in enumerate(jobs):
        if isinstance(job, RoutableJob):
            try:
                await refuse_unroutable(client, job)
            except TaskManagerError as error:
                error.add_note(
                    f"in item {position} of emit_many (counted from 0); nothing was sent"
                )
                raise
