"""The backend: Django's tasks as jobs of a task manager.

A process that only defines tasks need not wait for the Redis client, so it is imported late.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from django.core.checks import CheckMessage
from django.core.exceptions import ImproperlyConfigured
from django.tasks import Task, TaskResult
from django.tasks.backends.base import BaseTaskBackend
from django.tasks.exceptions import InvalidTask
from django.tasks.signals import task_enqueued

from taskmanager.contrib.django import declared
from taskmanager.contrib.django.managers import manager_of
from taskmanager.contrib.django.task import TaskManagerTask, options_of

if TYPE_CHECKING:
    from taskmanager.manager import TaskManager


class TaskManagerBackend(BaseTaskBackend):
    """Runs Django's tasks as jobs. Each task call is a separate job, named by the function's path.

        TASKS = {"default": {
            "BACKEND": "taskmanager.contrib.django.TaskManagerBackend",
            "OPTIONS": {"redis": "redis://localhost:6379/0", "result_ttl": 86400},
        }}

    OPTIONS are the arguments of a TaskManager, or `{"app": "shop.jobs:tm"}` for an existing one.
    `manage.py taskmanager worker` runs the tasks.
    """

    task_class = TaskManagerTask
    supports_defer = True
    supports_async_task = True
    supports_get_result = True
    supports_priority = True

    @property
    def manager(self) -> TaskManager[Any]:
        """The task manager, shared by all threads; raises ImproperlyConfigured for bad OPTIONS."""
        return manager_of(self.alias, self.options)

    def validate_task(self, task: Task) -> None:
        """Raise InvalidTask if a task cannot be enqueued; otherwise remember it."""
        # Django documents a timedelta, and checks for a datetime.
        in_a_while = isinstance(task.run_after, timedelta)
        super().validate_task(replace(task, run_after=None) if in_a_while else task)
        if options_of(task):
            from taskmanager.contrib.django.checks import bad_options

            if why := bad_options(task):
                raise InvalidTask(why)
        declared.note(task)

    def enqueue(self, task: Task, args: Sequence[Any], kwargs: Mapping[str, Any]) -> TaskResult:
        """Emit the job of a task and return once Redis has it. It blocks, even on an event loop.

        Raises InvalidTask, TypeError for arguments that are not JSON, and what TaskManager.emit
        raises, above all QueueFull and RedisUnavailable.
        """
        from taskmanager.contrib.django import bridge, jobs

        self.validate_task(task)
        call = jobs.call_of(task, args, kwargs)
        result = jobs.new_result(task, self.alias, call)
        bridge.wait(jobs.emit(self.manager, result, call))
        task_enqueued.send_robust(type(self), task_result=result)
        return result

    async def aenqueue(
        self, task: Task, args: Sequence[Any], kwargs: Mapping[str, Any]
    ) -> TaskResult:
        """Do the same as enqueue, without blocking the event loop."""
        from taskmanager.contrib.django import bridge, jobs

        self.validate_task(task)
        call = jobs.call_of(task, args, kwargs)
        result = jobs.new_result(task, self.alias, call)
        await bridge.done(jobs.emit(self.manager, result, call))
        await task_enqueued.asend_robust(type(self), task_result=result)
        return result

    def get_result(self, result_id: str) -> TaskResult:
        """Return what is known about a task call, for `result_ttl` seconds after it has ended.

        Raises TaskResultDoesNotExist if nothing is known.
        """
        from taskmanager.contrib.django import bridge, jobs

        info = bridge.wait(jobs.look_up(self.manager, result_id, self.queues))
        return jobs.known_result(self.alias, result_id, info)

    async def aget_result(self, result_id: str) -> TaskResult:
        """Do the same as get_result, without blocking the event loop."""
        from taskmanager.contrib.django import bridge, jobs

        info = await bridge.done(jobs.look_up(self.manager, result_id, self.queues))
        return jobs.known_result(self.alias, result_id, info)

    def check(self, **kwargs: Any) -> list[CheckMessage]:
        """Return what is wrong with OPTIONS, with QUEUES and with the names of tasks."""
        from taskmanager.contrib.django.checks import problems

        declared.discover()
        own = [task for task in declared.known_tasks() if task.backend == self.alias]
        try:
            _, wrong = self.manager, None
        except ImproperlyConfigured as error:
            wrong = error
        return list(problems(self.alias, self.queues, own, wrong))
