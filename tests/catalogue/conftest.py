"""The stages of the tests with processes, for the rows that need them, and what is seen of logs."""

from __future__ import annotations

import logging

import pytest

from tests.processes.conftest import durable_stage, stage

__all__ = ["durable_stage", "stage"]


@pytest.fixture(autouse=True)
def _says_nothing_of_a_busy_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    # Tests count what is said, and a loop that lacks its processor for a second says so.
    monkeypatch.setattr("consumers.lease.leases.LAG_WORTH_SAYING", 3600.0)


@pytest.fixture(autouse=True)
def _only_warnings(caplog: pytest.LogCaptureFixture) -> None:
    # A test before may have set up logging as a worker does, with what it has to tell.
    caplog.set_level(logging.WARNING)
