"""What a handler may add with `on_success=True`: jobs, and how many."""

from __future__ import annotations

from typing import Any

from consumers.errors import TooLarge
from consumers.jobs.envelope import NewJob
from consumers.jobs.job import Job
from processors.schedules.schedule import Schedule
from taskmanager.errors import ConflictingOptions
from taskmanager.options.routing import SENT_LATER, RoutableJob
from taskmanager.options.tables import EMIT

MAX_CHILDREN = 500
MAX_CHILDREN_BYTES = 1024 * 1024


def child_of(wanted: NewJob | Schedule) -> NewJob:
    """Return what is to be added when a job completes; raises ConflictingOptions."""
    if isinstance(wanted, Schedule):
        raise ConflictingOptions("on_success=True", "repeat", EMIT.where)
    if isinstance(wanted, RoutableJob):
        names = "on_success=True", "reject_unroutable=True"
        raise ConflictingOptions(*names, EMIT.where, SENT_LATER)
    return wanted


def refuse_too_many(parent: Job[Any], child: NewJob) -> None:
    """Raise TooLarge if a job has no room for one more child."""
    what = f"the on_success batch of job {parent.id!r}"
    if len(parent.on_success) >= MAX_CHILDREN:
        raise TooLarge(what, len(parent.on_success) + 1, MAX_CHILDREN, unit="jobs")
    size = sum(len(job.data) + len(job.options) for job in [*parent.on_success, child])
    if size > MAX_CHILDREN_BYTES:
        raise TooLarge(what, size, MAX_CHILDREN_BYTES)
