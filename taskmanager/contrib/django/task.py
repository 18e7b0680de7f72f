"""What ``@task`` makes with this backend: Django's Task, with how its jobs are run."""

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
    """A task with options of its own; what is None is as OPTIONS["processor"] says.

        @task(max_retries=3, timeout=60)
        def fetch(url): ...

    max_retries counts runs after a first one that failed, and is 0 where nobody says;
    retry_delay_ms is the first delay in ms, timeout seconds that a run may take, retry a
    RetryPolicy. The decorator takes them from Django 6.1 on.
    """

    max_retries: int | None = None
    retry_delay_ms: int | None = None
    timeout: float | timedelta | None = None
    retry: RetryPolicy | None = None


def options_of(task: Task) -> dict[str, Any]:
    """Return what a task says of its runs; nothing for one that another backend made."""
    given = {name: getattr(task, name, None) for name in _OPTIONS}
    return {name: value for name, value in given.items() if value is not None}
