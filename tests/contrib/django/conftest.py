"""The project is set up in this process too, and its backend gets the test's server."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import django
import pytest
from django.conf import settings
from django.tasks import task_backends
from django.test import override_settings

from taskmanager.contrib.django import TaskManagerBackend
from taskmanager.contrib.django.workers import worker_manager
from tests.support.servers import RedisServer
from tests.support.waiting import PATIENCE

os.environ["DJANGO_SETTINGS_MODULE"] = "tests.contrib.django.project.settings"
django.setup()

Worker = Callable[[], AbstractContextManager[None]]


@pytest.fixture
def options() -> dict[str, Any]:
    """What a test's OPTIONS are beside the project's; a module may say otherwise."""
    return {}


@pytest.fixture
def backend(server: RedisServer, options: dict[str, Any]) -> Iterator[TaskManagerBackend]:
    """The project's backend on the test's server."""
    given = settings.TASKS["default"]
    given = {**given, "OPTIONS": {**given["OPTIONS"], "redis": server.url, **options}}
    with override_settings(TASKS={"default": given}):
        yield task_backends["default"]


@pytest.fixture
def worker(backend: TaskManagerBackend) -> Worker:
    """Run a worker in a thread: ``with worker():``. It stops when its jobs have ended."""
    return working


@contextmanager
def working() -> Iterator[None]:
    tm, started = worker_manager(), threading.Event()

    async def work() -> None:
        async with tm:
            await tm.start()
            started.set()
            await stopping.wait()

    loop, stopping = asyncio.new_event_loop(), asyncio.Event()
    thread = threading.Thread(target=lambda: loop.run_until_complete(work()))
    thread.start()
    try:
        assert started.wait(PATIENCE)
        yield
    finally:
        loop.call_soon_threadsafe(stopping.set)
        thread.join(PATIENCE)
        loop.close()
