"""Task managers for the tests of the public API."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest

from taskmanager import TaskManager
from taskmanager.clients.portal import portal
from tests.support.servers import RedisServer


@pytest.fixture
async def make(server: RedisServer) -> AsyncIterator[Callable[..., TaskManager]]:
    """Make task managers on the server, 8 jobs at once; all are stopped with the test."""
    made: list[TaskManager] = []

    def make(**options: Any) -> TaskManager:
        made.append(TaskManager(**{"redis": server.url, "concurrency": 8, **options}))
        return made[-1]

    yield make
    for tm in made:
        await tm.stop(timeout=0)


@pytest.fixture
def tm(make: Callable[..., TaskManager]) -> TaskManager:
    """A task manager with nothing but defaults."""
    return make()


@pytest.fixture(autouse=True)
def _no_portal() -> Iterator[None]:
    yield
    # Its connections belong to a server that the next test resets.
    portal.close()
