"""An app that configures logging as Python's documentation does, which disables loggers."""

from __future__ import annotations

import logging
import logging.config
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from taskmanager import Job, TaskManager
from taskmanager.worker.logs import unmute
from tests.support.processes import Spawner
from tests.support.servers import RedisServer
from tests.support.waiting import aeventually

APP = """
import logging.config
from taskmanager import TaskManager

logging.config.dictConfig({
    "version": 1,
    "formatters": {"shop": {"format": "SHOP %(levelname)s %(name)s %(message)s"}},
    "handlers": {"console": {"class": "logging.StreamHandler", "formatter": "shop"}},
    "root": {"handlers": ["console"], "level": "INFO"},
})
tm = TaskManager()

@tm.registerHandler(event="fail", max_retries=0)
async def fail(job):
    raise ValueError("no such order")
"""


@pytest.fixture(autouse=True)
def _loggers_as_they_were() -> Iterator[None]:
    found = logging.root.manager.loggerDict.values()
    before = {it: it.disabled for it in found if isinstance(it, logging.Logger)}
    yield
    for logger, disabled in before.items():
        logger.disabled = disabled


def test_a_worker_logs_in_the_way_of_an_app_that_disabled_every_logger(
    spawn: Spawner, server: RedisServer, tmp_path: Path
) -> None:
    (tmp_path / "shop.py").write_text(APP)
    worker = spawn("--url", server.url, "worker", "shop:tm", cwd=tmp_path)
    worker.wait_for_line("SHOP INFO .* started", within=30.0)

    spawn("--url", server.url, "emit", "fail").wait(30.0)

    worker.wait_for_line(
        "SHOP ERROR taskmanager.jobs fail failed permanently: .*no such order", within=30.0
    )
    worker.terminate()
    worker.wait_for_line("SHOP INFO .* stopped", within=30.0)
    assert worker.wait(30.0) == 0


@pytest.fixture
def _restored() -> Iterator[None]:
    """Give back to other tests the loggers that one disables in this process."""
    before = {name: (it.disabled, it.level) for name, it in _loggers().items()}
    yield
    for name, logger in _loggers().items():
        logger.disabled, level = before.get(name, (False, logging.NOTSET))
        logger.setLevel(level)


def _loggers() -> dict[str, logging.Logger]:
    return {name: logging.getLogger(name) for name in logging.root.manager.loggerDict}


@pytest.mark.usefixtures("_restored")
async def test_a_lifespan_that_disables_every_logger_does_not_mute_the_worker(
    make: Callable[..., TaskManager], caplog: pytest.LogCaptureFixture
) -> None:
    @asynccontextmanager
    async def lifespan() -> AsyncIterator[dict[str, Any]]:
        logging.config.dictConfig({"version": 1})
        yield {}

    tm = make(lifespan=lifespan)

    @tm.registerHandler(event="fail", max_retries=0)
    async def fail(job: Job[Any]) -> None:
        raise ValueError("no such order")

    await tm.start()
    await tm.emit("fail")

    await aeventually(lambda: "fail failed permanently" in caplog.text, 20.0)


@pytest.mark.usefixtures("_restored")
def test_only_our_loggers_are_enabled_again_and_their_levels_are_left() -> None:
    ours, others = logging.getLogger("taskmanager.worker"), logging.getLogger("shop.mail")
    ours.setLevel(logging.ERROR)
    logging.config.dictConfig({"version": 1})
    assert (ours.disabled, others.disabled) == (True, True)

    unmute()

    assert (ours.disabled, others.disabled) == (False, True)
    assert ours.level == logging.ERROR
