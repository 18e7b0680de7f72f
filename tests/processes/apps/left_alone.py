"""A test that never ends by itself, with everything that tests start; for test_interrupted.py."""

from __future__ import annotations

import signal
import tempfile
from pathlib import Path

import pytest

from taskmanager.embedded.server import EmbeddedServer
from tests.processes.stage import Stage
from tests.support.processes import Spawner
from tests.support.servers import RedisServer


@pytest.fixture
def stage(spawn: Spawner, server: RedisServer, tmp_path: Path) -> Stage:
    return Stage(spawn, server, tmp_path)


@pytest.mark.parametrize("number", [1, 2])
def test_that_never_ends(stage: Stage, number: int) -> None:
    EmbeddedServer().start()
    stage.worker("jobs", "-p", "2")
    (Path(tempfile.gettempdir()) / f"ready-{number}").touch()
    signal.pause()
