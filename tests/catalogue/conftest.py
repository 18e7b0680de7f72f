"""The stages of the tests with processes, servers of a test alone, and what is seen of logs."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest

from tests.catalogue.own_servers import Start
from tests.processes.conftest import durable_stage, stage
from tests.support.servers import RedisServer

__all__ = ["durable_stage", "stage"]


@pytest.fixture
def start(server: RedisServer) -> Iterator[Start]:
    """Start servers of the same version, with options of their own."""
    started: list[RedisServer] = []

    def start(**options: str) -> RedisServer:
        started.append(RedisServer(server.binary, **options).start())
        return started[-1]

    yield start
    for own in started:
        own.stop()


@pytest.fixture(autouse=True)
def _says_nothing_of_a_busy_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    # Tests count what is said, and a loop that lacks its processor for a second says so.
    monkeypatch.setattr("consumers.lease.renewer.LAG_WORTH_SAYING", 3600.0)


@pytest.fixture(autouse=True)
def _only_warnings(caplog: pytest.LogCaptureFixture) -> None:
    # A test before may have set up logging as a worker does, with what it has to tell.
    caplog.set_level(logging.WARNING)
