"""The rig leaves nothing behind, outlives its own failures, and says what proves nothing."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import click.testing
import pytest

from tests.chaos import __main__ as shell
from tests.chaos import rig
from tests.chaos.depth import BINARIES
from tests.chaos.history import History
from tests.chaos.rig import PRODUCERS, WORKERS, Plan, Result
from tests.chaos.verdict import Violation
from tests.support.processes import Child
from tests.support.waiting import eventually

# Redis, the workers, that of the line, and the producers.
STARTED = 1 + len(WORKERS) + 1 + len(PRODUCERS)


@pytest.fixture
def running(tmp_path: Path) -> Iterator[Child]:
    """A run from the shell, whose temporary folders are the test's."""
    command = [sys.executable, "-m", "tests.chaos", "--seconds", "60", "--seed", "1"]
    child = Child(
        [*command, "--server", BINARIES[0].id],
        output=tmp_path / "rig.log",
        env={"TMPDIR": str(tmp_path)},
    )
    yield child
    child.end()


@pytest.mark.parametrize("ended_by", ["SIGKILL", "SIGHUP", "SIGTERM"])
def test_whatever_ends_the_rig_ends_all_that_it_has_started(running: Child, ended_by: str) -> None:
    started = eventually(lambda: all_started(running.pid))

    os.kill(running.pid, getattr(signal, ended_by))

    running.wait()
    eventually(lambda: not any(lives(pid) for pid in started))


def all_started(pid: int) -> list[int]:
    """Return the children of a process, once they are as many as a run has."""
    threads = Path(f"/proc/{pid}/task").glob("*/children")
    found = [int(child) for it in threads for child in it.read_text().split()]
    return found if len(found) == STARTED else []


def lives(pid: int) -> bool:
    stat = Path(f"/proc/{pid}/stat")
    # A process that nobody has waited for yet is not alive.
    return stat.exists() and ") Z " not in stat.read_text()


def result_of(plan: Plan, **told: int) -> Result:
    return Result(plan, History([]), [], told=told)


def test_a_rig_that_fails_is_told_with_its_schedule_and_the_later_seeds_are_run(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    ran: list[Plan] = []

    def run(plan: Plan, folder: Path) -> Result:
        ran.append(plan)
        if (plan.profile, plan.seed) == ("storm", 5):
            raise RuntimeError("no port is free")
        return result_of(plan)

    monkeypatch.setattr(shell, "run", run)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    asked = ["--seed", "5", "--seed", "6", "--seconds", "7", "--server", BINARIES[0].id]

    done = click.testing.CliRunner().invoke(shell.main, asked)

    assert done.exit_code == 1
    # The loss profile is part of what is run by default.
    assert [(it.profile, it.seed) for it in ran] == [("storm", 5), ("storm", 6), ("loss", 5)]
    assert "RuntimeError: no port is free" in done.output
    assert all(str(step) in done.output for step in ran[0].steps())
    [folder] = tmp_path.iterdir()
    assert str(folder) in done.output
    assert f"--profile storm --seed 5 --seconds 7 --server {BINARIES[0].id}" in done.output


@pytest.mark.parametrize(
    ("seconds", "told", "good"),
    [
        (60.0, {"fenced": 1, "dropped": 1}, True),
        (60.0, {"fenced": 0, "dropped": 9}, False),
        (60.0, {"fenced": 9, "dropped": 0}, False),
        (10.0, {"fenced": 0, "dropped": 0}, True),
    ],
)
def test_a_whole_run_that_met_with_no_zombie_or_no_lost_reply_proves_nothing(
    seconds: float, told: dict[str, int], good: bool
) -> None:
    result = result_of(Plan(BINARIES[0], 1, seconds), **told)

    assert result.good is good
    assert ("NO PROOF" in shell.hits(result)) == (0 in told.values())


def test_the_suite_fails_for_no_time_limit_that_a_busy_machine_may_miss() -> None:
    told = [Violation(check, "it was seen") for check in ("lost", "late", "deaf")]
    result = Result(Plan(BINARIES[0], 1, 10.0), History([]), told)

    assert [it.check for it in result.untimed] == ["lost"]
    assert not result.good


def test_a_loss_is_what_a_worker_has_told() -> None:
    assert rig.told_losses("queue work has lost its data in Redis; creating it again\n") == 1
    assert rig.told_losses("the lane {work}:lane:0 had lost its group\n") == 0
