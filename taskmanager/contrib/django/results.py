"""What Django learns about a job: its TaskResult, at the emit, during the run, and from Redis."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from traceback import format_exception
from typing import Any

from django.conf import settings
from django.tasks import Task, TaskResult, TaskResultStatus
from django.tasks.base import TaskError
from django.utils import timezone

from consumers.jobs.job import Job
from consumers.jobs.moments import moment
from taskmanager.contrib.django.call import TaskCall
from taskmanager.handles.info import JobInfo, JobState

# All other states are READY: the job waits for its first run or for another.
_STATUS = {
    JobState.RUNNING: TaskResultStatus.RUNNING,
    JobState.COMPLETED: TaskResultStatus.SUCCESSFUL,
    JobState.DEAD: TaskResultStatus.FAILED,
    JobState.CANCELLED: TaskResultStatus.FAILED,
}
# Reasons of dead letters that follow a run; with the others, no run began, or it crashed.
_AFTER_A_RUN = ("failed", "bad_result")
# The worker of an attempt about which nothing is kept.
_UNKNOWN = "unknown"

Error = Mapping[str, Any]


def enqueued(task: Task, backend: str, job_id: str, call: TaskCall) -> TaskResult:
    """Return the result of a task that Redis has."""
    return _result(task, backend, job_id, call, TaskResultStatus.READY)


def running(task: Task, backend: str, job: Job[Any]) -> TaskResult:
    """Return the result of a task about to run; raises ValueError unless its data is a call."""
    call, errors = TaskCall.read(job.data), job.errors
    # Never before its emit, which Redis itself timed: a worker knows Redis' clock to about a
    # millisecond.
    now = max(job.created_at, job.started_at or job.created_at)
    return _result(
        as_called(task, backend, job.queue, call),
        backend,
        job.id,
        call,
        TaskResultStatus.RUNNING,
        started_at=max(job.created_at, _first_start(errors) or now),
        last_attempted_at=now,
        errors=[_error(it) for it in errors],
        worker_ids=_workers([*(_worker(it) for it in errors), job.worker], job.attempt),
    )


def known(task: Task, backend: str, info: JobInfo) -> TaskResult:
    """Return the result of a task from what Redis keeps."""
    call = _call_of(info)
    result = _result(
        as_called(task, backend, info.queue, call),
        backend,
        info.id,
        call,
        _STATUS.get(info.state, TaskResultStatus.READY),
        started_at=info.started_at,
        last_attempted_at=info.last_started_at,
        finished_at=info.finished_at,
        errors=_errors(info),
        worker_ids=_workers(info.workers, info.attempts or 0),
    )
    _set(result, "_return_value", info.result)
    return result


def succeed(result: TaskResult, value: Any) -> None:
    """Mark the result of a running task as returned."""
    _set(result, "_return_value", value)
    _end(result, TaskResultStatus.SUCCESSFUL)


def fail(result: TaskResult, error: BaseException) -> None:
    """Mark the result of a running task as failed."""
    kind = type(error)
    traceback = "".join(format_exception(error))
    result.errors.append(_task_error(f"{kind.__module__}.{kind.__qualname__}", traceback))
    _end(result, TaskResultStatus.FAILED)


def as_called(task: Task, backend: str, queue: str, call: TaskCall) -> Task:
    """Return a task as it was when it was enqueued."""
    return replace(
        task, backend=backend, queue_name=queue, priority=call.priority, run_after=call.run_after
    )


def _result(
    task: Task,
    backend: str,
    job_id: str,
    call: TaskCall,
    status: TaskResultStatus,
    *,
    started_at: datetime | None = None,
    last_attempted_at: datetime | None = None,
    finished_at: datetime | None = None,
    errors: Sequence[TaskError] = (),
    worker_ids: Sequence[str] = (),
) -> TaskResult:
    return TaskResult(
        task=task,
        id=job_id,
        status=status,
        enqueued_at=_by_django(call.at),
        started_at=_by_django(started_at),
        last_attempted_at=_by_django(last_attempted_at),
        finished_at=_by_django(finished_at),
        args=call.args,
        kwargs=call.kwargs,
        backend=backend,
        errors=list(errors),
        worker_ids=list(worker_ids),
    )


def _by_django(at: datetime | None) -> datetime | None:
    """Return a time in the form of django.utils.timezone.now: aware or local, by USE_TZ."""
    if at is None or settings.USE_TZ:
        return at
    naive: datetime = timezone.make_naive(at, timezone.get_default_timezone())
    return naive


def _end(result: TaskResult, status: TaskResultStatus) -> None:
    _set(result, "status", status)
    _set(result, "finished_at", timezone.now())


def _set(result: TaskResult, name: str, value: object) -> None:
    # As Django's own backends do; for all others, a result is frozen.
    object.__setattr__(result, name, value)


def _call_of(info: JobInfo) -> TaskCall:
    """Return the call of a job; an empty one if its data is not kept or is not a call."""
    try:
        call = TaskCall.read(info.data)
    except ValueError:
        call = TaskCall()
    return call if call.at is not None else replace(call, at=info.created_at)


def _errors(info: JobInfo) -> list[TaskError]:
    """Return the errors of a job's attempts, and why it ended if no attempt explains it."""
    errors, letter = [_error(it) for it in info.errors], info.letter
    if info.state is JobState.CANCELLED:
        errors.append(_task_error("taskmanager.JobCancelled", info.reason or "cancelled"))
    elif letter is not None and letter.reason in _AFTER_A_RUN and errors:
        # The whole traceback is kept for the last attempt, and one line for each earlier one.
        errors[-1] = _task_error(errors[-1].exception_class_path, letter.error)
    elif letter is not None:
        text = f"{letter.reason}: {letter.error}"
        errors.append(_task_error("taskmanager.JobFailed", text))
    return errors


def _error(error: Error) -> TaskError:
    return _task_error(error.get("type") or "builtins.Exception", str(error["error"]))


def _task_error(path: str, traceback: str) -> TaskError:
    # Django's tracebacks end with a newline.
    return TaskError(exception_class_path=path, traceback=f"{traceback.rstrip()}\n")


def _workers(kept: Sequence[str], attempts: int) -> list[str]:
    """Return a worker for each attempt; beyond ten failed ones, the first are not known."""
    return [_UNKNOWN] * (attempts - len(kept)) + list(kept)


def _worker(error: Error) -> str:
    return error.get("worker") or _UNKNOWN


def _first_start(errors: Sequence[Error]) -> datetime | None:
    started = errors[0].get("started") if errors else None
    return None if started is None else moment(started)
