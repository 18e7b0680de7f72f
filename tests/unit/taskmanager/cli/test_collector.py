"""What a worker's process does to its garbage collector."""

from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest

from taskmanager.cli.work import relieve_collector


@pytest.fixture(autouse=True)
def restored() -> Iterator[None]:
    before = gc.get_threshold()
    yield
    gc.set_threshold(*before)
    gc.unfreeze()


def test_what_was_imported_is_not_looked_at_again_and_collections_are_rarer() -> None:
    before = gc.get_threshold()

    relieve_collector()

    assert gc.get_freeze_count() > 1000
    assert gc.get_threshold()[0] > before[0]
    assert gc.get_threshold()[1:] == before[1:]


def test_thresholds_that_an_app_set_stay() -> None:
    gc.set_threshold(5, 6, 7)

    relieve_collector()

    assert gc.get_threshold() == (5, 6, 7)


def test_cycles_that_jobs_leave_behind_are_still_found() -> None:
    relieve_collector()
    cycle: list[object] = []
    cycle.append(cycle)
    del cycle

    assert gc.collect() >= 1
