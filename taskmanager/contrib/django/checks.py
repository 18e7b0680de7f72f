"""What `manage.py check` reports about a backend."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from django.core import checks
from django.core.exceptions import ImproperlyConfigured
from django.tasks import Task

from consumers.errors import InvalidInput, InvalidName
from consumers.jobs.names import check_name
from processors.retries.retry import RetryPolicy
from taskmanager.contrib.django.task import options_of
from taskmanager.options.handler import handler_options

# Django promises ids of less than 64 characters: 22 of its own, a colon and the queue.
LONGEST_QUEUE = 40


def bad_queue(queue: str) -> str | None:
    """Return why a queue cannot have this name, or None."""
    if len(queue) > LONGEST_QUEUE:
        return f"the name of queue {queue!r} is longer than {LONGEST_QUEUE} characters"
    return _why_not("queue", queue)


def bad_path(task: Task) -> str | None:
    """Return why the path of a task's function cannot name its jobs, or None."""
    why = _why_not("event", task.module_path)
    return why and f"the path of a task is the event of its jobs, but {why}"


def bad_options(task: Task) -> str | None:
    """Return why a task cannot have these options, or None."""
    options = options_of(task)
    try:
        handler_options(options)
    except InvalidInput as error:
        return f"{task.module_path}: {error}"
    retry = options.get("retry")
    if retry is not None and not isinstance(retry, RetryPolicy):
        # With a function, it is not known before a run whether the run is the last attempt.
        return f"{task.module_path}: retry {retry!r} is not allowed: give a RetryPolicy"
    return None


def problems(
    alias: str, queues: Iterable[str], tasks: Iterable[Task], raised: ImproperlyConfigured | None
) -> Iterator[checks.CheckMessage]:
    """Yield what is wrong with a backend; `raised` is the error that its OPTIONS caused, if any."""
    if raised is not None:
        yield checks.Error(str(raised), id="taskmanager.E001")
    for queue in sorted(queues):
        if why := bad_queue(queue):
            yield checks.Error(f"QUEUES of TASKS[{alias!r}]: {why}", id="taskmanager.E002")
    for task in tasks:
        if why := bad_path(task):
            yield checks.Error(why, obj=task.module_path, id="taskmanager.E003")


def _why_not(kind: str, name: str) -> str | None:
    try:
        check_name(kind, name)
    except InvalidName as error:
        return str(error)
    return None
