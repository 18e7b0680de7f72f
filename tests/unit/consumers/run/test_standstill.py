"""When a worker warns that all its slots wait for jobs that need one."""

from __future__ import annotations

import asyncio

import pytest

from consumers.jobs.job import Job
from consumers.run import standstill
from consumers.run.run import Run, awaiting, current_run
from consumers.run.standstill import Standstill
from tests.support.runs import new_run

QUEUES = ["default"]


@pytest.fixture(autouse=True)
def _say_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(standstill, "SAY_AFTER", 0.0)


def run_that_awaits(*queues: str) -> Run:
    run = new_run(Job.fake({}), asyncio.new_event_loop())
    run.loop.close()
    run.awaited = [(queue, "child") for queue in queues]
    return run


def warnings(caplog: pytest.LogCaptureFixture) -> int:
    return sum("waiting for the result of another job" in it.getMessage() for it in caplog.records)


def test_it_is_said_once_for_the_same_runs_and_again_for_others(
    caplog: pytest.LogCaptureFixture,
) -> None:
    stuck = Standstill(QUEUES, slots=2)
    first, second, third = (run_that_awaits("default") for _ in range(3))

    for _ in range(3):
        stuck.look([first, second])
    assert warnings(caplog) == 1
    for _ in range(3):
        stuck.look([second, third])
    assert warnings(caplog) == 2


@pytest.mark.parametrize(
    "awaited",
    [[], [("default",)], [("default",), ()], [("default",), ("elsewhere",)]],
    ids=["nothing runs", "a slot is free", "one works", "one waits for another queue"],
)
def test_a_worker_that_may_go_on_says_nothing(
    caplog: pytest.LogCaptureFixture, awaited: list[tuple[str, ...]]
) -> None:
    Standstill(QUEUES, slots=2).look([run_that_awaits(*queues) for queues in awaited])

    assert warnings(caplog) == 0


def test_a_moment_of_waiting_is_not_worth_a_word(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(standstill, "SAY_AFTER", 1000.0)
    stuck, run = Standstill(QUEUES, slots=1), run_that_awaits("default")

    for _ in range(3):
        stuck.look([run])

    assert warnings(caplog) == 0


def test_a_run_waits_while_its_code_does_and_others_never() -> None:
    with awaiting("default", "nobody's"):
        assert current_run.get() is None
    run = run_that_awaits()
    token = current_run.set(run)
    try:
        with pytest.raises(ZeroDivisionError), awaiting("default", "child"):
            assert [*run.awaited] == [("default", "child")]
            raise ZeroDivisionError
    finally:
        current_run.reset(token)
    assert not run.awaited
