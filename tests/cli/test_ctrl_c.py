"""Ctrl-C in a terminal goes to every process in its foreground, not to the worker alone."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.processes import Spawner
from tests.support.servers import RedisServer
from tests.support.terminal import CTRL_C, Terminal, in_terminal
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


# --- A worker in a terminal --------------------------------------------------------------

IN_TERMINAL = """
import asyncio, contextlib, os, signal, subprocess, sys
from taskmanager import TaskManager

def say_when_told(number):
    act = signal.getsignal(number)
    def told(*args):
        act(*args)
        os.write(1, b"told\\n")
    signal.signal(number, told)

@contextlib.asynccontextmanager
async def lifespan():
    for number in (signal.SIGINT, signal.SIGTERM):
        say_when_told(number)
    yield {}

tm = TaskManager(lifespan=lifespan)
WAIT = "import signal; signal.alarm(60); print('began', flush=True); open('gate').read()"
PROGRAM = [sys.executable, "-c", WAIT]

@tm.registerHandler(event="thread", max_retries=0)
def thread(job):
    subprocess.run(PROGRAM, check=True)
    print("done")

@tm.registerHandler(event="loop", max_retries=0)
async def loop(job):
    program = await asyncio.create_subprocess_exec(*PROGRAM)
    assert await program.wait() == 0
    print("done")

@tm.registerHandler(event="wait")
async def wait(job):
    print("waiting")
    try:
        await asyncio.Event().wait()
    except asyncio.CancelledError:
        print("cancelled")
        raise

@tm.registerHandler(event="stay")
async def stay(job):
    print("staying")
    while True:
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.Event().wait()
        print("cancelled")

@tm.registerHandler(event="look")
def look(job):
    answer = 41
    breakpoint()
    print("the answer is", answer + 1)

@tm.registerHandler(event="read", max_retries=0)
def read(job):
    print("read", repr(sys.stdin.read()), subprocess.run(["cat"], check=True).returncode)
"""

Emit = Callable[[str], None]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "app.py").write_text(IN_TERMINAL)
    os.mkfifo(tmp_path / "gate")
    return tmp_path


@pytest.fixture
def emit(spawn: Spawner, server: RedisServer) -> Emit:
    def emit(event: str) -> None:
        assert spawn("--url", server.url, "emit", event).wait() == 0

    return emit


@pytest.fixture
def terminal(server: RedisServer, folder: Path) -> Iterator[Terminal]:
    """Have a worker that has started in a terminal."""
    with in_terminal("--url", server.url, "worker", "app:tm", cwd=folder) as terminal:
        terminal.wait_for(" started")
        yield terminal


@pytest.mark.parametrize("event", ["thread", "loop"])
def test_ctrl_c_in_a_terminal_does_not_reach_the_programs_that_a_handler_started(
    terminal: Terminal, folder: Path, emit: Emit, event: str
) -> None:
    emit(event)
    terminal.wait_for("began")

    terminal.type(CTRL_C)
    terminal.wait_for("told")
    eventually(lambda: opened(folder / "gate"))

    terminal.wait_for("done")
    assert terminal.wait() == 0


def test_the_second_ctrl_c_in_a_terminal_cancels(terminal: Terminal, emit: Emit) -> None:
    emit("wait")
    terminal.wait_for("waiting")

    terminal.type(CTRL_C)
    terminal.wait_for("told")
    assert "cancelled" not in terminal.text
    terminal.type(CTRL_C)

    terminal.wait_for("cancelled")
    assert terminal.wait() == 0


def test_the_third_ctrl_c_in_a_terminal_ends_the_worker_with_4(
    terminal: Terminal, emit: Emit
) -> None:
    emit("stay")
    terminal.wait_for("staying")

    terminal.type(CTRL_C)
    terminal.wait_for("told")
    terminal.type(CTRL_C)
    terminal.wait_for("cancelled")
    terminal.type(CTRL_C)

    assert terminal.wait() == 4


def test_sigterm_stops_a_worker_in_a_terminal(terminal: Terminal) -> None:
    terminal.terminate()

    assert terminal.wait() == 0


def test_a_breakpoint_is_answered_in_the_terminal_and_ctrl_c_means_the_same_after_it(
    terminal: Terminal, folder: Path, emit: Emit
) -> None:
    emit("look")
    # From Python 3.13 on it stops at the call itself, before at the line behind it.
    terminal.wait_for(r"-> (breakpoint\(\)|print\(.*)\n\(Pdb\) ")
    terminal.type("answer = 99\nc\n")
    terminal.wait_for("the answer is 100")
    emit("thread")
    terminal.wait_for("began")

    terminal.type(CTRL_C)
    terminal.wait_for("told")
    eventually(lambda: opened(folder / "gate"))

    terminal.wait_for("done")
    assert terminal.wait() == 0


def test_a_handler_in_a_terminal_reads_an_empty_standard_input(
    terminal: Terminal, emit: Emit
) -> None:
    emit("read")

    terminal.wait_for("read '' 0")


def test_a_burst_in_a_terminal_shows_one_banner_and_ends_with_0(
    server: RedisServer, folder: Path
) -> None:
    arguments = ("--url", server.url, "worker", "app:tm", "--burst")
    with in_terminal(*arguments, cwd=folder) as terminal:
        assert terminal.wait() == 0
        assert terminal.text.count("processes   1") == 1


def test_an_app_that_cannot_be_imported_ends_a_worker_in_a_terminal_with_2(folder: Path) -> None:
    with in_terminal("worker", "no_such_app:tm", cwd=folder) as terminal:
        assert terminal.wait() == 2
        assert terminal.text.count("there is no module 'no_such_app'") == 1


def test_an_app_may_ask_in_the_terminal_while_it_is_imported(
    server: RedisServer, folder: Path
) -> None:
    (folder / "asking.py").write_text("name = input('who? ')\nfrom app import tm")
    arguments = ("--url", server.url, "worker", "asking:tm", "--burst")
    with in_terminal(*arguments, cwd=folder) as terminal:
        terminal.wait_for(r"who\? ")
        terminal.type("ann\n")

        assert terminal.wait() == 0
