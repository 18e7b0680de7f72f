"""Every guarantee has a test that carries its number, on every server of the run."""

from __future__ import annotations

from collections.abc import Sequence

from tests.support.collected import missing_tests
from tests.support.servers import chosen

_GUARANTEES = range(1, 15)


def test_every_guarantee_is_tested_on_every_server(all_tests: Sequence[str]) -> None:
    labels = [f"g{number}" for number in _GUARANTEES]

    missing = missing_tests(labels, all_tests, on=chosen())

    assert not missing, "guarantees without a test:\n" + "\n".join(missing)
