"""What a worker's log tells at its defaults, and with --log-level, -v and --quiet."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.processes import Spawner
from tests.support.servers import RedisServer

APP = """
import logging
from taskmanager import TaskManager

tm = TaskManager()
logger = logging.getLogger("shop")

@tm.registerHandler(event="greet", max_retries=1, retry_delay_ms=1)
async def greet(job):
    logger.info("shop greets")
    logger.debug("shop details")
    if job.attempt == 1:
        raise ValueError("nobody there")
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "app.py").write_text(APP)
    return tmp_path


def log_of(spawn: Spawner, server: RedisServer, folder: Path, *arguments: str) -> str:
    """Return what a worker writes until it has greeted, at the second attempt."""
    emitted = spawn("--url", server.url, "emit", "greet", cwd=folder)
    assert emitted.wait() == 0, emitted.text
    worker = spawn("--url", server.url, "worker", "app:tm", *arguments, cwd=folder)
    worker.wait_for_line("greet completed in")
    worker.terminate()
    assert worker.wait() == 0, worker.text
    return worker.text


def test_at_its_defaults_it_tells_of_each_end_and_shows_the_traceback_of_a_retry(
    spawn: Spawner, server: RedisServer, folder: Path
) -> None:
    log = log_of(spawn, server, folder)

    assert "WARNING taskmanager.jobs  greet failed, retrying in 1 ms: ValueError" in log
    assert 'raise ValueError("nobody there")' in log
    assert "INFO    taskmanager.jobs  greet completed in" in log
    assert "INFO    shop  shop greets" in log
    assert "ready for jobs" in log


def test_verbose_is_for_our_loggers_alone(
    spawn: Spawner, server: RedisServer, folder: Path
) -> None:
    log = log_of(spawn, server, folder, "-v")

    assert "greet completed in" in log
    assert "DEBUG   redis" not in log
    assert "shop details" not in log


@pytest.mark.parametrize("option", [["--quiet"], ["--log-level", "warning"]])
def test_a_quiet_worker_tells_what_goes_wrong_alone(
    spawn: Spawner, server: RedisServer, folder: Path, option: list[str]
) -> None:
    emitted = spawn("--url", server.url, "emit", "greet", cwd=folder)
    assert emitted.wait() == 0, emitted.text
    worker = spawn("--url", server.url, "worker", "app:tm", *option, cwd=folder)

    worker.wait_for_line("WARNING taskmanager.jobs  greet failed, retrying")
    worker.wait_for_line("shop greets")
    worker.terminate()

    assert worker.wait() == 0
    assert "completed in" not in worker.text
    assert "ready for jobs" not in worker.text
    assert "shop greets" in worker.text


def test_more_than_one_level_is_wrong_usage(spawn: Spawner, folder: Path) -> None:
    worker = spawn("worker", "app:tm", "-v", "--quiet", cwd=folder)

    assert worker.wait() == 2
    assert "give only one of --log-level, --verbose and --quiet" in worker.text


def test_a_worker_without_redis_says_at_once_what_it_waits_for(
    spawn: Spawner, folder: Path
) -> None:
    worker = spawn("--url", "redis://ann:s3cret@127.0.0.1:1/0", "worker", "app:tm", cwd=folder)

    worker.wait_for_line(
        r"WARNING .* waiting up to 30 s for Redis at redis://ann:\*\*\*@127.0.0.1:1/0: "
        r"connection refused"
    )
    worker.terminate()

    assert worker.wait() == 0


def test_a_worker_says_that_redis_is_away_and_that_it_is_back(
    spawn: Spawner, server: RedisServer, folder: Path
) -> None:
    worker = spawn("--url", server.url, "worker", "app:tm", cwd=folder)
    worker.wait_for_line("ready for jobs")

    server.kill()
    worker.wait_for_line("WARNING .* waiting for Redis at .*: ")
    server.start()
    worker.wait_for_line("INFO .* Redis at .* is back")
    worker.terminate()

    assert worker.wait() == 0
