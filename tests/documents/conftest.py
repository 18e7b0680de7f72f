"""Task managers as the documents make them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from taskmanager import TaskManager


@pytest.fixture
async def init() -> AsyncIterator[Callable[..., TaskManager[Any]]]:
    """TaskManager.init, whose task manager is stopped and forgotten with the test."""
    made: list[TaskManager[Any]] = []

    def init(**options: Any) -> TaskManager[Any]:
        made.append(TaskManager.init(**options))
        return made[-1]

    yield init
    for tm in made:
        await tm.stop(timeout=0)
    TaskManager.reset()
