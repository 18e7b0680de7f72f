"""What a test starts must not live on into the next one."""

from __future__ import annotations

from pathlib import Path

from tests.processes.stage import SLACK, Stage
from tests.support.waiting import eventually


def test_ending_a_supervisor_ends_its_workers_too(stage: Stage) -> None:
    supervisor = stage.starting("jobs", "-p", "2")
    eventually(lambda: supervisor.text.count(" started") == 2, 2 * SLACK)
    listed = Path(f"/proc/{supervisor.pid}/task/{supervisor.pid}/children").read_text()

    supervisor.end()

    eventually(lambda: not any(map(lives, listed.split())), SLACK)
    assert len(listed.split()) == 2


def lives(pid: str) -> bool:
    stat = Path(f"/proc/{pid}/stat")
    # A process that nobody has waited for yet is not alive.
    return stat.exists() and ") Z " not in stat.read_text()
