"""Run a task as the handler of its jobs: its context, Django's signals and connections."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from inspect import iscoroutinefunction
from typing import Any

from asgiref.sync import ThreadSensitiveContext, sync_to_async
from django.db import close_old_connections, connections, reset_queries
from django.tasks import Task, TaskContext, TaskResult
from django.tasks.signals import task_finished, task_started
from django.utils.json import normalize_json

from consumers.jobs.codec import RESULT_LIMIT, encode
from consumers.jobs.job import Job
from processors.retries.retry import RetryPolicy
from taskmanager.contrib.django import results
from taskmanager.contrib.django.endings import ending_of
from taskmanager.manager import TaskManager


@dataclass(frozen=True, slots=True)
class TaskRunner:
    """Runs one task for the backend of an alias. `sender` is the sender of its signals.

    An error in a receiver is logged and changes nothing. Database connections are closed as around
    a request, in the thread in which the task runs. A coroutine has a separate thread for what it
    does through sync_to_async.
    """

    task: Task
    alias: str
    sender: type
    manager: TaskManager[Any]

    @property
    def handler(self) -> Callable[[Job[Any]], Any]:
        """What the engine calls; for a coroutine task, a coroutine function."""
        return self._arun if iscoroutinefunction(self.task.func) else self._run

    def _run(self, job: Job[Any]) -> Any:
        reset_queries()
        close_old_connections()
        try:
            return self._attempt(job)
        finally:
            close_old_connections()

    def _attempt(self, job: Job[Any]) -> Any:
        result = results.running(self.task, self.alias, job)
        task_started.send_robust(self.sender, task_result=result)
        try:
            value = _json(self.task.func(*self._arguments(result), **result.kwargs))
        except BaseException as error:
            # Inside the except block, so that receivers have the traceback, as Django promises.
            if self._ends(job, result, error):
                task_finished.send_robust(self.sender, task_result=result)
            raise
        if self._ends(job, result, None, value):
            task_finished.send_robust(self.sender, task_result=result)
        return value

    async def _arun(self, job: Job[Any]) -> Any:
        async with ThreadSensitiveContext():
            try:
                return await self._aattempt(job)
            finally:
                # The thread ends with the context.
                await sync_to_async(connections.close_all)()

    async def _aattempt(self, job: Job[Any]) -> Any:
        result = results.running(self.task, self.alias, job)
        await task_started.asend_robust(self.sender, task_result=result)
        try:
            value = _json(await self.task.func(*self._arguments(result), **result.kwargs))
        except BaseException as error:
            if self._ends(job, result, error):
                await task_finished.asend_robust(self.sender, task_result=result)
            raise
        if self._ends(job, result, None, value):
            await task_finished.asend_robust(self.sender, task_result=result)
        return value

    def _arguments(self, result: TaskResult) -> list[Any]:
        context = [TaskContext(task_result=result)] if self.task.takes_context else []
        return [*context, *result.args]

    def _ends(
        self, job: Job[Any], result: TaskResult, error: BaseException | None, value: Any = None
    ) -> bool:
        """Return whether the job ends with this run, and record in `result` how it ended."""
        ending = ending_of(job, error, self._policy)
        if not ending.final:
            return False
        if ending.error is None:
            results.succeed(result, value)
        else:
            results.fail(result, ending.error)
        return True

    @property
    def _policy(self) -> RetryPolicy:
        own: RetryPolicy | None = getattr(self.task, "retry", None)
        return own or self.manager.retry_policy or RetryPolicy()


def _json(value: Any) -> Any:
    """Return what a task returned as JSON values; raises if its job could not keep it."""
    value = normalize_json(value)
    encode(value, what="the return value of the task", limit=RESULT_LIMIT)
    return value
