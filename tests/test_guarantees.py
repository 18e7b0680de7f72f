"""Every guarantee has a test that carries its number, on every server of the run."""

from __future__ import annotations

import pytest

from tests.support.collected import missing_tests
from tests.support.servers import chosen

_GUARANTEES = range(1, 15)


# All tests are collected for it, by a process of its own.
@pytest.mark.timeout(300)
def test_every_guarantee_is_tested_on_every_server() -> None:
    missing = missing_tests((f"g{number}" for number in _GUARANTEES), on=chosen())

    assert not missing, "guarantees without a test:\n" + "\n".join(missing)
