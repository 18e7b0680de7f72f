"""Children of processes: what a test or a handler has started and what lives on."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.processes.stage import SLACK, Stage
from tests.support.processes import Spawner
from tests.support.waiting import eventually

pytestmark = pytest.mark.timeout(300)


def test_ending_a_supervisor_ends_its_workers_too(stage: Stage) -> None:
    supervisor = stage.starting("jobs", "-p", "2")
    eventually(lambda: supervisor.text.count(" started") == 2, 2 * SLACK)
    listed = Path(f"/proc/{supervisor.pid}/task/{supervisor.pid}/children").read_text()

    supervisor.end()

    eventually(lambda: not any(map(lives, listed.split())), SLACK)
    assert len(listed.split()) == 2


@pytest.mark.parametrize("how", ["terminate", "kill"])
def test_what_a_child_has_started_ends_with_the_process_of_the_tests(
    spawn: Spawner, tmp_path: Path, how: str
) -> None:
    """Ended by a signal, tests run no code any more: neither fixtures nor finally."""
    tests = spawn.python("-c", TESTS, str(tmp_path / "child"))
    pids = tests.wait_for_line(r"^(\d+) (\d+)$").groups()
    assert all(map(lives, pids))

    getattr(tests, how)()

    eventually(lambda: not any(map(lives, pids)))


# Starts a child as tests do; that starts another one in a group of its own, as a supervisor
# does with its workers.
TESTS = """
import signal, sys
from pathlib import Path
from tests.support.processes import Child

PARENT = '''
import os, signal, subprocess, sys
pause = [sys.executable, "-c", "import signal; signal.pause()"]
print(os.getpid(), subprocess.Popen(pause, process_group=0).pid, flush=True)
signal.pause()
'''
child = Child([sys.executable, "-c", PARENT], output=Path(sys.argv[1]))
print(child.wait_for_line(".*")[0], flush=True)
signal.pause()
"""


@pytest.mark.parametrize("event", ["fork", "fork-in-thread"])
@pytest.mark.parametrize("loop", ["asyncio", "the fastest"])
def test_a_child_of_a_handler_holds_no_connection_of_a_worker_that_was_killed(
    stage: Stage, event: str, loop: str
) -> None:
    worker = stage.script("parents.py") if loop == "asyncio" else stage.worker("parents")
    stage.emit("fork")
    worker.wait_for_line("a child lives", 2 * SLACK)
    # The last of them is made when a lease is renewed for the first time.
    eventually(lambda: {"reader", "writer", "renewer"} <= connections(stage), SLACK)
    stage.emit(event, {"again": True})
    worker.wait_for_line("a child lives", 2 * SLACK)

    worker.kill()

    # Redis sees their end although the child has a copy of each socket.
    eventually(lambda: connections(stage) == set(), SLACK)
    assert worker.text.count("a child lives") == 2


def connections(stage: Stage) -> set[str]:
    """Return the first words of the names of the connections that Redis has."""
    with stage.server.client(decode_responses=True) as client:
        return {it["name"].partition("-")[0] for it in client.client_list()} - {"", "producer"}


def lives(pid: str) -> bool:
    stat = Path(f"/proc/{pid}/stat")
    # A process that nobody has waited for yet is not alive.
    return stat.exists() and ") Z " not in stat.read_text()
