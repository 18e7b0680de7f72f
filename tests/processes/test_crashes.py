"""Workers that are killed: what they held, and who replaces them (see also rows A and B)."""

from __future__ import annotations

import os
import signal

import pytest

from tests.processes.stage import LEASE, RECOVERY, SLACK, Stage, nap, stop
from tests.support.waiting import eventually

pytestmark = pytest.mark.timeout(300)


def test_g1_everything_that_a_killed_worker_held_is_run_by_another(stage: Stage) -> None:
    first = stage.worker("jobs", "-c", "8", lease=LEASE)
    stage.emit_many(*(nap(number, seconds=1) for number in range(30)))
    eventually(lambda: len(stage.witness.started()) >= 8, SLACK)

    first.kill()
    stage.worker("jobs", "-c", "8", lease=LEASE)

    stage.completed(30, RECOVERY + SLACK)
    assert {it.job for it in stage.witness.finished()} == {f"job-{n}" for n in range(30)}
    assert {it.attempt for it in stage.witness.lines()} == {1}
    assert stage.letters() == {}


def test_g1_a_supervisor_replaces_a_killed_worker_and_its_job_is_run(stage: Stage) -> None:
    supervisor = stage.starting("jobs", "-p", "2", lease=LEASE)
    stage.emit("nap", {"seconds": 1}, id="job")
    (before,) = eventually(stage.witness.started, 2 * SLACK)

    os.kill(before.pid, signal.SIGKILL)

    supervisor.wait_for_line("ended with signal SIGKILL; restarting it")
    stage.completed(1, RECOVERY + SLACK)
    assert [it.delivery for it in stage.witness.started()] == [1, 2]
    stop(supervisor)
