"""The app to install, so that ``manage.py`` has the command ``taskmanager``."""

from __future__ import annotations

from django.apps import AppConfig


class TaskManagerConfig(AppConfig):
    """An app without models."""

    name = "taskmanager.contrib.django"
    # By default it would be "django".
    label = "taskmanager"
    verbose_name = "Task manager"
