"""The tasks that this process knows, by the path of their function.

A task names its backend, and Django makes a backend for each thread. So a task is noted here when a
backend checks it, and when it is found in an app's tasks module.
"""

from __future__ import annotations

import sys

from django.apps import apps
from django.tasks import Task
from django.utils.module_loading import autodiscover_modules

_MODULE = "tasks"
_tasks: dict[str, Task] = {}


def note(task: Task) -> None:
    """Remember a task. The first task of a function counts, until its module is reloaded."""
    known = _tasks.get(task.module_path)
    if known is None or known.func is not task.func:
        _tasks[task.module_path] = task


def known_tasks() -> list[Task]:
    """Return every task that is known."""
    return list(_tasks.values())


def task_at(path: str) -> Task | None:
    """Return the task of a function, or None if neither this process nor a tasks module has it.

    Nothing else is imported: any program that can write to Redis may have chosen the path.
    """
    if path not in _tasks:
        discover()
    return _tasks.get(path)


def discover() -> None:
    """Import the `tasks` module of each installed app, and note the tasks in it."""
    autodiscover_modules(_MODULE)
    for app in apps.get_app_configs():
        module = sys.modules.get(f"{app.name}.{_MODULE}")
        for value in list(vars(module).values()) if module else ():
            # By type(), since isinstance would evaluate lazy objects.
            if issubclass(type(value), Task):
                note(value)
