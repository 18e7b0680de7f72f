"""Workers that are killed, frozen, poisoned, or lose their Redis."""

from __future__ import annotations

import os
import signal
import time
from collections import Counter

import pytest

from tests.processes.stage import LEASE, RECOVERY, SLACK, Stage, stop
from tests.support.waiting import eventually


@pytest.mark.parametrize("event", ["nap", "nap-in-thread"])
def test_g1_g7_the_job_of_a_killed_worker_is_run_by_another_and_no_attempt_is_burnt(
    stage: Stage, event: str
) -> None:
    first = stage.worker("jobs", lease=LEASE)
    stage.emit(event, {"first": 60}, id="job")
    (before,) = eventually(stage.witness.started, SLACK)
    second = stage.worker("jobs", lease=LEASE)

    first.kill()
    killed = time.monotonic()
    stage.completed(1, RECOVERY + SLACK)

    after = stage.witness.started()[-1]
    assert (before.pid, before.delivery, before.attempt) == (first.pid, 1, 1)
    assert (after.pid, after.delivery, after.attempt) == (second.pid, 2, 1)
    # A loaded machine may add to lease and sweep.
    assert after.monotonic - killed < RECOVERY + 2.0
    assert len(stage.witness.started()) == 2
    assert [it.pid for it in stage.witness.finished()] == [second.pid]
    assert stage.waiting() == 0


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


def test_g2_a_frozen_worker_commits_nothing_after_its_lease(stage: Stage) -> None:
    jobs = 8
    frozen = stage.worker("jobs", "-c", str(jobs), lease=LEASE)
    stage.emit_many(
        *({"event": "parent", "data": {"seconds": 1}, "id": f"p-{n}"} for n in range(jobs))
    )
    eventually(lambda: len(stage.witness.started()) == jobs, SLACK)

    frozen.pause()
    stage.worker("jobs", "-c", str(jobs), lease=LEASE)
    stage.completed(2 * jobs, RECOVERY + SLACK)
    frozen.resume()

    # Finished or cancelled, as far as the zombie is concerned.
    eventually(lambda: len(ended_in(stage, frozen.pid)) == jobs, SLACK)
    stop(frozen)
    assert stage.stat("completed") == stage.stat("emitted") == 2 * jobs
    children = Counter(it.job for it in stage.witness.started() if it.event == "nap")
    assert children == {f"child-of-p-{n}": 1 for n in range(jobs)}
    assert [it.delivery for it in stage.witness.started("p-0")] == [1, 2]
    assert stage.waiting() == 0


def ended_in(stage: Stage, pid: int) -> list[str]:
    """The jobs of which a process has noted an end, whatever it was."""
    return [it.job for it in stage.witness.lines() if it.pid == pid and it.what != "started"]


def test_g8_a_handler_that_blocks_the_loop_for_three_leases_is_run_once(stage: Stage) -> None:
    stage.worker("jobs", lease=LEASE)
    stage.worker("jobs", lease=LEASE)

    stage.emit("block", {"seconds": 3 * LEASE}, id="job")

    stage.completed(1, 3 * LEASE + SLACK)
    (run,) = stage.witness.started()
    (end,) = stage.witness.finished()
    assert run.delivery == 1
    assert end.monotonic - run.monotonic >= 3 * LEASE


def test_g5_a_poison_job_ends_as_crash_loop_and_its_neighbours_complete(stage: Stage) -> None:
    poison = {"event": "poison", "data": {"seconds": 0.2}, "id": "poison"}
    innocent = [nap(number, seconds=0.5) for number in range(20)]
    stage.emit_many(*innocent[:3], poison, *innocent[3:])

    # Fewer than by default, since each delivery costs a lease.
    stage.starting("jobs", "-p", "2", "-c", "20", lease=LEASE, max_deliveries=3)

    eventually(lambda: "poison" in stage.letters(), 5 * RECOVERY + 2 * SLACK)
    stage.completed(20)
    letter = stage.letters().pop("poison")
    deaths = stage.witness.started("poison")
    assert list(stage.letters()) == ["poison"]
    assert letter["reason"] == "crash_loop"
    assert len(deaths) == 4
    assert {it.attempt for it in stage.witness.lines()} == {1}
    assert {it.job for it in stage.witness.finished()} == {f"job-{n}" for n in range(20)}
    # From its second crash on it ran alone.
    for death in deaths[2:]:
        assert beside(stage, death.pid, death.monotonic) == []


def beside(stage: Stage, pid: int, moment: float) -> list[str]:
    """What ran in a process at a moment, apart from the poison."""
    runs = [it for it in stage.witness.lines() if it.pid == pid and it.event == "nap"]
    begun = {it.job for it in runs if it.what == "started" and it.monotonic <= moment}
    return sorted(begun - {it.job for it in runs if it.what != "started"})


def test_g1_redis_is_killed_and_comes_back_and_the_workers_go_on(durable_stage: Stage) -> None:
    stage, jobs = durable_stage, 200
    workers = [stage.worker("jobs", "-c", "4", lease=LEASE) for _ in range(2)]
    stage.emit_many(*(nap(number, seconds=0.05) for number in range(jobs)))
    eventually(lambda: len(stage.witness.finished()) >= 20, SLACK)

    stage.server.kill()
    stage.server.start()

    stage.completed(jobs, RECOVERY + 2 * SLACK)
    stage.emit("nap", id="afterwards")
    stage.completed(jobs + 1)
    assert {it.pid for it in stage.witness.started()} == {it.pid for it in workers}
    assert {it.job for it in stage.witness.finished()} == {
        "afterwards",
        *(f"job-{n}" for n in range(jobs)),
    }
    assert stage.letters() == {}
    for worker in workers:
        stop(worker)


def test_workers_go_on_with_a_redis_that_came_back_empty(
    stage: Stage,
) -> None:
    worker = stage.worker("jobs", "-c", "4", lease=LEASE)
    stage.emit_many(*(nap(number, seconds=1) for number in range(8)))
    eventually(lambda: len(stage.witness.started()) >= 4, SLACK)

    stage.server.kill()
    stage.server.start()
    stage.emit("nap", id="afterwards")

    eventually(lambda: stage.witness.finished("afterwards"), SLACK)
    # What ran when everything was lost has nowhere to be recorded.
    stage.completed(1)
    assert worker.running
    stop(worker)


def test_g1_a_supervisor_replaces_a_killed_worker_and_its_job_is_run(stage: Stage) -> None:
    supervisor = stage.starting("jobs", "-p", "2", lease=LEASE)
    stage.emit("nap", {"seconds": 1}, id="job")
    (before,) = eventually(stage.witness.started, 2 * SLACK)

    os.kill(before.pid, signal.SIGKILL)

    supervisor.wait_for_line("ended with signal SIGKILL, starting it again", SLACK)
    stage.completed(1, RECOVERY + SLACK)
    assert [it.delivery for it in stage.witness.started()] == [1, 2]
    stop(supervisor)


def nap(number: int, *, seconds: float) -> dict[str, object]:
    return {"event": "nap", "data": {"seconds": seconds}, "id": f"job-{number}"}
