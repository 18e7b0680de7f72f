"""Make, emit and look up the jobs of tasks."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from django.tasks import Task, TaskResult
from django.tasks.exceptions import InvalidTask, TaskResultDoesNotExist
from django.utils.json import normalize_json

from consumers.errors import InvalidInput
from consumers.jobs.bounds import YEAR
from consumers.jobs.ids import fresh_id
from taskmanager.contrib.django import declared, results
from taskmanager.contrib.django.call import TaskCall
from taskmanager.contrib.django.checks import bad_path, bad_queue
from taskmanager.handles.info import JobInfo
from taskmanager.manager import TaskManager


def call_of(task: Task, args: Sequence[Any], kwargs: Mapping[str, Any]) -> TaskCall:
    """Return the call of a task at this moment.

    Raises InvalidTask, and TypeError for arguments that are not JSON.
    """
    if why := bad_path(task) or bad_queue(task.queue_name):
        raise InvalidTask(why)
    now = datetime.now(UTC)
    return TaskCall(
        normalize_json(list(args)),
        normalize_json(dict(kwargs)),
        # In whole ms, like all times that Redis will have for the job.
        at=now.replace(microsecond=now.microsecond // 1000 * 1000),
        priority=int(task.priority),
        run_after=_run_after(task, now),
    )


def new_result(task: Task, alias: str, call: TaskCall) -> TaskResult:
    """Return the result of a task that is about to be emitted; its id ends with its queue."""
    called = results.as_called(task, alias, task.queue_name, call)
    return results.enqueued(called, alias, f"{fresh_id()}:{task.queue_name}", call)


async def emit(tm: TaskManager[Any], result: TaskResult, call: TaskCall) -> None:
    """Return when Redis has the job; raises InvalidTask for what cannot be a job."""
    try:
        await tm.emit(
            result.task.module_path,
            queue=result.task.queue_name,
            id=result.id,
            data=call.as_data(),
            priority=call.priority,
            delay_until=call.run_after,
        )
    except InvalidInput as error:
        raise InvalidTask(str(error)) from error


async def look_up(
    tm: TaskManager[Any], result_id: object, queues: Collection[str]
) -> JobInfo | None:
    """Return what is known about a job, in one of these queues if any are named, or None."""
    _, colon, queue = str(result_id).rpartition(":")
    if not colon or (queues and queue not in queues):
        return None
    try:
        return await tm.get_job(str(result_id), queue)
    except InvalidInput:
        return None


def known_result(alias: str, result_id: object, info: JobInfo | None) -> TaskResult:
    """Return the result of a task; raises TaskResultDoesNotExist if not enough is known."""
    if info is None or info.event is None:
        raise TaskResultDoesNotExist(f"{result_id}: it never existed, or it is no longer kept")
    task = declared.task_at(info.event)
    if task is None:
        raise TaskResultDoesNotExist(
            f"{result_id}: its task {info.event!r} is not known here; put it into the tasks "
            "module of an installed app, or import its module"
        )
    return results.known(task, alias, info)


def _run_after(task: Task, now: datetime) -> datetime | None:
    """Return the earliest time for a task to run; raises InvalidTask beyond a year."""
    given: datetime | timedelta | None = task.run_after
    at = now + given if isinstance(given, timedelta) else given
    # A datetime without a time zone is local, as Django's are without USE_TZ.
    if at is not None and (at.astimezone() - now).total_seconds() > YEAR:
        raise InvalidTask(f"run_after {given!r} is not allowed: give a time at most a year ahead")
    return at
