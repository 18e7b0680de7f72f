"""Workers that are told to stop: nothing is lost and nothing runs twice (G11)."""

from __future__ import annotations

import pytest

from tests.processes.stage import LEASE, RECOVERY, SLACK, Stage, nap, stop
from tests.support.waiting import eventually

pytestmark = pytest.mark.timeout(300)


def test_g11_a_rolling_restart_under_load_loses_nothing_and_runs_nothing_twice(
    stage: Stage,
) -> None:
    jobs = 300
    worker = stage.worker("jobs", "-c", "8")
    stage.emit_many(*(nap(number, seconds=0.1) for number in range(jobs)))

    for done in (50, 100, 150):
        eventually(lambda done=done: len(stage.witness.finished()) >= done, SLACK)  # type: ignore[misc]
        following = stage.worker("jobs", "-c", "8")
        stop(worker)
        worker = following

    stage.completed(jobs)
    assert len(stage.witness.started()) == len(stage.witness.finished()) == jobs
    assert {it.attempt for it in stage.witness.lines()} == {1}
    stop(worker)


def test_g11_the_third_signal_ends_the_worker_with_4_and_the_lease_brings_its_job_back(
    stage: Stage,
) -> None:
    worker = stage.worker("rude", lease=LEASE)
    stage.emit("endless", id="job")
    eventually(stage.witness.started, SLACK)

    # As often as it takes, for the same reason.
    eventually(lambda: worker.terminate() or not worker.running, SLACK)

    assert worker.wait() == 4
    stage.worker("rude", lease=LEASE)
    stage.completed(1, RECOVERY + SLACK)
    assert [(it.delivery, it.attempt) for it in stage.witness.started()] == [(1, 1), (2, 1)]


def test_g11_a_worker_without_redis_stops_too_and_its_job_is_not_lost(
    durable_stage: Stage,
) -> None:
    stage = durable_stage
    worker = stage.worker("jobs", lease=LEASE)
    stage.emit("nap", {"first": 1}, id="job")
    eventually(stage.witness.started, SLACK)

    stage.server.kill()
    stop(worker)

    # It ran to its end, but nobody was there to record that.
    assert len(stage.witness.finished()) == 1
    stage.server.start()
    stage.worker("jobs", lease=LEASE)
    stage.completed(1, RECOVERY + SLACK)
    assert [(it.delivery, it.attempt) for it in stage.witness.started()] == [(1, 1), (2, 1)]
