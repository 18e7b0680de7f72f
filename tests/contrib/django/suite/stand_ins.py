"""Our backend with what Django's tests expect of the two that Django has.

They ask the dummy backend for what was enqueued, and expect the immediate one to have run a
task when ``enqueue`` returns.
"""

from __future__ import annotations

import asyncio
import logging
import os
import threading
import time
from collections.abc import Mapping
from typing import Any

import redis as redis_py
from django.tasks import TaskResult
from django.tasks.backends import dummy, immediate

from taskmanager import Job, TaskManager
from taskmanager.contrib.django import TaskManagerBackend
from taskmanager.contrib.django.managers import manager_of
from taskmanager.contrib.django.workers import register

PATIENCE = 30.0
_POLL = 0.002


class _OnOwnQueues(TaskManagerBackend):
    """Without OPTIONS, which tests compare; each kind and alias has a namespace of its own."""

    @property
    def manager(self) -> TaskManager[Any]:
        """The task manager of the URL in the environment."""
        name = f"{type(self).__name__}.{self.alias}"
        return manager_of(name, {"namespace": name, "concurrency": 4})


class Waiting(_OnOwnQueues):
    """In place of the dummy backend: no worker, so that every task stays READY."""

    def __init__(self, alias: str, params: Mapping[str, Any]) -> None:
        super().__init__(alias, params)
        self._ids: list[str] = []

    @property
    def results(self) -> list[TaskResult]:
        """What was enqueued, as Redis has it."""
        return [self.get_result(it) for it in self._ids]

    def clear(self) -> None:
        """Forget everything."""
        self._ids.clear()
        with redis_py.Redis.from_url(os.environ["TASKMANAGER_REDIS_URL"]) as redis:
            for key in redis.scan_iter(match=f"{type(self).__name__}.{self.alias}*", count=1000):
                redis.delete(key)

    def enqueue(self, *args: Any, **kwargs: Any) -> TaskResult:
        """Remember the id."""
        result = super().enqueue(*args, **kwargs)
        self._ids.append(result.id)
        return result

    async def aenqueue(self, *args: Any, **kwargs: Any) -> TaskResult:
        """Remember the id."""
        result = await super().aenqueue(*args, **kwargs)
        self._ids.append(result.id)
        return result


class Running(_OnOwnQueues):
    """In place of the immediate backend: a worker's thread runs the task before enqueue returns.

    It begins once the enqueue is through, as there: otherwise its lines in the log may come
    before that of the enqueue.
    """

    def enqueue(self, *args: Any, **kwargs: Any) -> TaskResult:
        """Return what the task has come to."""
        result = super().enqueue(*args, **kwargs)
        _worker_of(self).let_begin(result.id)
        deadline = time.monotonic() + PATIENCE
        while not result.is_finished and time.monotonic() < deadline:
            time.sleep(_POLL)
            result.refresh()
        return result

    async def aenqueue(self, *args: Any, **kwargs: Any) -> TaskResult:
        """Return what the task has come to."""
        result = await super().aenqueue(*args, **kwargs)
        _worker_of(self).let_begin(result.id)
        deadline = time.monotonic() + PATIENCE
        while not result.is_finished and time.monotonic() < deadline:
            await asyncio.sleep(_POLL)
            await result.arefresh()
        return result


class _Worker:
    """A worker in a thread, for as long as the process lives."""

    def __init__(self, backend: Running) -> None:
        self._tm = backend.manager
        self._may_begin: set[str] = set()
        self._tm.middleware(self._when_enqueued)
        register(backend)
        threading.Thread(target=lambda: asyncio.run(self._work()), daemon=True).start()

    def let_begin(self, job_id: str) -> None:
        """Let a job begin."""
        self._may_begin.add(job_id)

    async def _when_enqueued(self, job: Job[Any], ctx: object, call_next: Any) -> Any:
        while job.id not in self._may_begin:
            await asyncio.sleep(_POLL)
        return await call_next()

    async def _work(self) -> None:
        await self._tm.start()
        await asyncio.Event().wait()


_workers: dict[str, _Worker] = {}


def _worker_of(backend: Running) -> _Worker:
    if backend.alias not in _workers:
        _workers[backend.alias] = _Worker(backend)
    return _workers[backend.alias]


def take_their_place() -> None:
    """Put these where Django and its tests look for the other two."""
    # Of tasks that are to fail; what Django itself logs is tested.
    logging.getLogger("taskmanager").setLevel(logging.CRITICAL)
    dummy.DummyBackend = Waiting
    immediate.ImmediateBackend = Running
