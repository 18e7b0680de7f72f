"""The stages of the tests here: a server, workers, jobs and the witness."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.processes.stage import Stage
from tests.support.processes import Spawner
from tests.support.servers import RedisServer


@pytest.fixture
def stage(spawn: Spawner, server: RedisServer, tmp_path: Path) -> Iterator[Stage]:
    stage = Stage(spawn, server, tmp_path)
    yield stage
    stage.show()


@pytest.fixture
def durable_stage(spawn: Spawner, server: RedisServer, tmp_path: Path) -> Iterator[Stage]:
    """A stage on a server of its own that has what it acknowledged after a kill -9."""
    durable = RedisServer(server.binary, appendonly="yes", appendfsync="always").start()
    stage = Stage(spawn, durable, tmp_path)
    yield stage
    stage.show()
    durable.stop()
