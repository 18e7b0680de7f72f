"""The Django app to install, which gives `manage.py` the command `taskmanager`."""

from __future__ import annotations

from importlib import import_module

from django.apps import AppConfig


class TaskManagerConfig(AppConfig):
    """An app without models."""

    name = "taskmanager.contrib.django"
    # By default it would be "django".
    label = "taskmanager"
    verbose_name = "Task manager"

    def ready(self) -> None:
        """Import Django's tasks, so that `manage.py check` checks TASKS."""
        import_module("django.tasks")
