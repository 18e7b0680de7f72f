"""Workers that are told to stop: what happens to what they run and hold (G11)."""

from __future__ import annotations

import time

import pytest

from tests.processes.stage import LEASE, RECOVERY, SLACK, Stage, stop
from tests.support.waiting import eventually


def test_g11_running_jobs_finish_and_held_ones_are_at_once_elsewhere(stage: Stage) -> None:
    # With the default lease of 30 s nothing here comes back by waiting for it.
    slots, held = 8, 2
    stopping = stage.worker("jobs", "-c", str(slots))
    stage.emit_many(*(nap(number, seconds=3) for number in range(slots + held)))
    eventually(lambda: len(stage.witness.started()) == slots, SLACK)

    stopping.terminate()
    asked = time.monotonic()
    eventually(lambda: stage.stat("released") == held, SLACK)
    handed_back = time.monotonic() - asked
    other = stage.worker("jobs", "-c", "2")
    ready = time.monotonic()

    stage.completed(slots + held)
    assert stopping.wait(SLACK) == 0
    moved = [it for it in stage.witness.started() if it.pid == other.pid]
    assert len(moved) == held
    assert handed_back < 5.0
    assert all(it.monotonic - ready < 5.0 for it in moved)
    assert {(it.delivery, it.attempt) for it in moved} == {(2, 1)}
    assert sum(it.pid == stopping.pid for it in stage.witness.finished()) == slots
    assert len(stage.witness.started()) == slots + held


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


@pytest.mark.parametrize(
    ("app", "event", "data"),
    [
        ("jobs", "nap", {"seconds": 60}),
        ("rude", "endless", {}),
        ("rude", "stubborn", {}),
    ],
)
def test_g11_a_job_that_outlives_the_grace_period_is_released(
    stage: Stage, app: str, event: str, data: dict[str, object]
) -> None:
    worker = stage.worker(app, shutdown_timeout=1)
    stage.emit(event, data, id="job")
    eventually(stage.witness.started, SLACK)

    took = stop(worker)

    # The grace of 1 s, 2 s for what swallows its cancellation, 5 s for threads that go on.
    assert 1.0 <= took < 8.0 + SLACK
    assert stage.stat("released") == stage.waiting() == 1
    stage.worker(app, shutdown_timeout=1)
    # Without a wait for the lease of 30 s.
    eventually(lambda: len(stage.witness.started()) == 2, SLACK)
    assert [(it.delivery, it.attempt) for it in stage.witness.started()] == [(1, 1), (2, 1)]
    assert stage.letters() == {}


def test_g11_the_second_signal_cancels_and_hands_back(stage: Stage) -> None:
    worker = stage.worker("jobs", "-c", "4")
    stage.emit_many(*(nap(number, seconds=60) for number in range(4)))
    eventually(lambda: len(stage.witness.started()) == 4, SLACK)

    # Another signal than the first: two alike in a row may become one.
    worker.terminate()
    worker.interrupt()

    assert worker.wait(SLACK) == 0
    assert len(stage.witness.lines("CancelledError")) == 4
    assert stage.stat("released") == stage.waiting() == 4
    stage.worker("jobs", "-c", "4")
    eventually(lambda: len(stage.witness.started()) == 8, SLACK)
    assert {(it.delivery, it.attempt) for it in stage.witness.started()[4:]} == {(2, 1)}


def test_g11_the_third_signal_ends_the_worker_with_4_and_the_lease_brings_its_job_back(
    stage: Stage,
) -> None:
    worker = stage.worker("rude", lease=LEASE)
    stage.emit("endless", id="job")
    eventually(stage.witness.started, SLACK)

    # As often as it takes, for the same reason.
    eventually(lambda: worker.terminate() or not worker.running, SLACK)

    assert worker.wait(SLACK) == 4
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


def nap(number: int, *, seconds: float) -> dict[str, object]:
    return {"event": "nap", "data": {"seconds": seconds}, "id": f"job-{number}"}
