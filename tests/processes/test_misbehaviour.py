"""Handlers that do what they should not end their own job, and nothing else."""

from __future__ import annotations

import pytest

from tests.processes.stage import SLACK, Stage, stop
from tests.support.waiting import eventually

pytestmark = pytest.mark.timeout(300)

RUDE = {
    "exit": ("failed", "SystemExit"),
    "exit-in-thread": ("failed", "SystemExit"),
    "interrupt": ("failed", "KeyboardInterrupt"),
    "base": ("failed", "Unusual"),
    "stop-iteration": ("failed", "StopIteration"),
    "bad-result": ("bad_result", "object"),
}


@pytest.mark.parametrize("slots", ["1", "4"])
def test_a_worker_survives_everything_that_its_handlers_raise_and_return(
    stage: Stage, slots: str
) -> None:
    worker = stage.worker("rude", "-c", slots)

    for event in RUDE:
        stage.emit(event, id=event)
        stage.emit("behave", id=f"after-{event}")

    stage.completed(len(RUDE))
    letters = eventually(lambda: len(it := stage.letters()) == len(RUDE) and it, SLACK)
    assert isinstance(letters, dict)
    for event, (reason, named) in RUDE.items():
        assert letters[event]["reason"] == reason
        assert named in letters[event]["error"]
    assert {it.pid for it in stage.witness.started()} == {worker.pid}
    assert {it.job for it in stage.witness.finished() if it.event == "behave"} == {
        f"after-{event}" for event in RUDE
    }
    assert all(len(stage.witness.started(event)) == 1 for event in RUDE)
    stop(worker)
