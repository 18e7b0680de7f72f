"""A backend for Django's own tasks, and the command `manage.py taskmanager`.

Django is imported with the backend, not before.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from taskmanager.contrib.django.backend import TaskManagerBackend
    from taskmanager.contrib.django.task import TaskManagerTask

__all__ = ["TaskManagerBackend", "TaskManagerTask"]


def __getattr__(name: str) -> Any:
    # As an installed app, it is imported before Django is ready.
    if name == "TaskManagerBackend":
        from taskmanager.contrib.django.backend import TaskManagerBackend

        return TaskManagerBackend
    if name == "TaskManagerTask":
        from taskmanager.contrib.django.task import TaskManagerTask

        return TaskManagerTask
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
