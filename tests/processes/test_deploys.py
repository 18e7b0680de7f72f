"""A rolling deploy in small: most workers do not know the new event yet (G14)."""

from __future__ import annotations

from tests.processes.stage import Stage

JOBS = 500
OLD = 9


def test_g14_jobs_of_a_new_event_are_run_by_the_one_new_worker_without_delay(
    stage: Stage,
) -> None:
    old = [stage.starting("old") for _ in range(OLD)]
    new = stage.starting("new")
    for worker in (*old, new):
        worker.wait_for_line("worker .* started", within=45.0)

    stage.emit_many(*({"event": "fresh", "id": f"job-{number}"} for number in range(JOBS)))

    stage.completed(JOBS)
    runs = stage.witness.started()
    assert {it.pid for it in runs} == {new.pid}
    assert len(runs) == len({it.job for it in runs}) == JOBS
    assert max(it.at - it.created_at for it in runs) < 2.0
    assert {it.attempt for it in runs} == {1}
    assert stage.letters() == {}
    assert stage.waiting() == 0
