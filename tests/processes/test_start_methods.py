"""Processes that multiprocessing starts from a handler; its default is another one since 3.14."""

from __future__ import annotations

import multiprocessing

import pytest

from tests.processes.stage import SLACK, Stage


@pytest.mark.parametrize("method", multiprocessing.get_all_start_methods())
def test_a_child_of_a_handler_emits_however_it_was_started(stage: Stage, method: str) -> None:
    # Children read the settings anew.
    stage.worker("multiprocess", redis_url=stage.url)

    stage.emit("delegate", {"method": method}, id="job", max_retries=0)

    # The handler's job, one that the worker emits and one that its child emits.
    stage.completed(3, 3 * SLACK)
    assert {it.job for it in stage.witness.started()} == {"worker-job", "child-job"}
    assert stage.letters() == {}
