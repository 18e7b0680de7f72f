"""What a worker runs: the task manager of a backend, with every task as a handler."""

from __future__ import annotations

import logging
from typing import Any

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.tasks import DEFAULT_TASK_BACKEND_ALIAS, task_backends
from django.utils.log import configure_logging

from taskmanager.contrib.django import declared
from taskmanager.contrib.django.backend import TaskManagerBackend
from taskmanager.contrib.django.runner import TaskRunner
from taskmanager.contrib.django.task import options_of
from taskmanager.manager import TaskManager
from taskmanager.worker import logs

_chosen = DEFAULT_TASK_BACKEND_ALIAS


def worker_manager(alias: str = DEFAULT_TASK_BACKEND_ALIAS) -> TaskManager[Any]:
    """Return the task manager of a backend, with every task in every queue of its QUEUES.

    It imports the `tasks` module of every installed app, and the modules that `include` names. A
    task may be sent to any queue with `using`. If QUEUES is empty, so that any name is allowed, a
    worker reads the queues that tasks name themselves. Raises ImproperlyConfigured for what
    `manage.py check` would refuse.
    """
    if alias not in task_backends.settings:
        raise ImproperlyConfigured(
            f"TASKS has no backend {alias!r}; its backends: {', '.join(task_backends.settings)}"
        )
    backend = task_backends[alias]
    if not isinstance(backend, TaskManagerBackend):
        raise ImproperlyConfigured(
            f"TASKS[{alias!r}] is a {type(backend).__name__}: choose a backend that is a "
            "TaskManagerBackend"
        )
    if wrong := [it for it in backend.check() if it.is_serious()]:
        raise ImproperlyConfigured("; ".join(str(it.msg) for it in wrong))
    backend.manager.import_handlers()
    register(backend)
    return backend.manager


def choose(alias: str) -> None:
    """Make `chosen` return the task manager of this backend."""
    global _chosen
    _chosen = alias


def chosen() -> TaskManager[Any]:
    """Return the task manager that the command line should use.

    The command line sets up a log before it asks for this; LOGGING takes precedence.
    """
    configure_logging(settings.LOGGING_CONFIG, settings.LOGGING)
    # It would repeat for each task what the worker logs about its job, with tracebacks.
    logs.hush("django.tasks", logging.CRITICAL)
    return worker_manager(_chosen)


def register(backend: TaskManagerBackend) -> None:
    """Make the task manager of a backend handle every task, in every queue."""
    tm, tasks = backend.manager, declared.known_tasks()
    handled = set(tm.handlers)
    for queue in sorted(backend.queues or {task.queue_name for task in tasks}):
        for task in tasks:
            if (queue, task.module_path) not in handled:
                tm.registerHandler(
                    TaskRunner(task, backend.alias, type(backend), tm).handler,
                    event=task.module_path,
                    queue=queue,
                    keep_data=True,
                    **options_of(task),
                )
