"""A stage for the examples."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.examples.stage import Stage
from tests.support.processes import Spawner
from tests.support.servers import RedisServer


@pytest.fixture
def stage_of(spawn: Spawner, server: RedisServer) -> Callable[[str], Stage]:
    """Return what makes the stage of an example's folder."""
    return lambda folder: Stage(spawn, server, folder)
