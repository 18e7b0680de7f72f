"""Ctrl-C in a terminal goes to every process in its foreground, not to the worker alone."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

import pytest

from tests.support.processes import Spawner
from tests.support.servers import RedisServer
from tests.support.waiting import eventually

# The program ends when somebody has opened the other end of the gate and closed it again. It is
# in no session that the test would end, so it also ends by itself.
APP = """
import asyncio, subprocess, sys
from taskmanager import TaskManager

tm = TaskManager()
WAIT = "import signal; signal.alarm(60); print('began', flush=True); open('gate').read()"
PROGRAM = [sys.executable, "-c", WAIT]

@tm.registerHandler(event="thread", max_retries=0)
def thread(job):
    subprocess.run(PROGRAM, check=True, start_new_session=True)
    print("done")

@tm.registerHandler(event="loop", max_retries=0)
async def loop(job):
    program = await asyncio.create_subprocess_exec(*PROGRAM, start_new_session=True)
    assert await program.wait() == 0
    print("done")
"""


def opened(gate: Path) -> bool:
    """Let the program at the other end go on; False when there is none."""
    with contextlib.suppress(OSError):
        os.close(os.open(gate, os.O_WRONLY | os.O_NONBLOCK))
        return True
    return False


@pytest.mark.parametrize("event", ["thread", "loop"])
def test_a_program_in_a_session_of_its_own_outlives_ctrl_c_and_its_job_is_done(
    spawn: Spawner, server: RedisServer, tmp_path: Path, event: str
) -> None:
    (tmp_path / "app.py").write_text(APP)
    os.mkfifo(tmp_path / "gate")
    worker = spawn("--url", server.url, "worker", "app:tm", cwd=tmp_path)
    worker.wait_for_line(" started", within=30.0)
    assert spawn("--url", server.url, "emit", event).wait(30.0) == 0
    worker.wait_for_line("began", within=30.0)

    worker.interrupt()
    eventually(lambda: opened(tmp_path / "gate"), within=30.0)

    worker.wait_for_line("done", within=30.0)
    assert worker.wait(30.0) == 0
