"""What `@task` makes with this backend: Django's Task, plus options for its runs."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from django.tasks import Task

if TYPE_CHECKING:
    from processors.retries.retry import RetryPolicy

_OPTIONS = ("max_retries", "retry_delay_ms", "timeout", "retry")


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskManagerTask(Task):
    """A Django task with options for its runs. None leaves an option to OPTIONS["processor"].

        @task(max_retries=3, timeout=60)
        def fetch(url): ...

    - `max_retries`: how often a failed call is run again. Default: 0.
    - `retry_delay_ms`: whole milliseconds before the first retry. Default: 1000.
    - `timeout`: seconds or a timedelta that one run may take. Default: no limit.
    - `retry`: a RetryPolicy.

    The decorator takes them from Django 6.1 on.
    """

    max_retries: int | None = None
    retry_delay_ms: int | None = None
    timeout: float | timedelta | None = None
    retry: RetryPolicy | None = None


def options_of(task: Task) -> dict[str, Any]:
    """Return the options a task sets for its runs; none for a task of another backend."""
    given = {name: getattr(task, name, None) for name in _OPTIONS}
    return {name: value for name, value in given.items() if value is not None}
