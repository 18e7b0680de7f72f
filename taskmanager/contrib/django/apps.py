"""The app to install, so that ``manage.py`` has the command ``taskmanager``."""

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
        """Have ``manage.py check`` look at TASKS: Django registers that with its tasks' import."""
        import_module("django.tasks")
