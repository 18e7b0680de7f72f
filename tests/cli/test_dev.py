"""``dev`` and ``worker --reload``: what has changed runs, and nothing is left behind."""

from __future__ import annotations

import contextlib
import shutil
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from taskmanager import TaskManager
from tests.support.processes import Child, Spawner
from tests.support.servers import RedisServer
from tests.support.terminal import CTRL_C, in_terminal
from tests.support.waiting import eventually

APP = """
import asyncio, os
from taskmanager import TaskManager

tm = TaskManager("redis://127.0.0.1:1/0")

@tm.registerHandler(event="greet")
async def greet(job):
    print("greeted in version 1 at", os.environ.get("TASKMANAGER_REDIS_URL"))

@tm.registerHandler(event="wait")
async def wait(job):
    print("waiting, delivery", job.delivery, "attempt", job.attempt)
    await asyncio.Event().wait()

@tm.registerHandler(event="fail", max_retries=0)
async def fail(job):
    raise ValueError("nobody there")

@tm.registerHandler(event="look")
def look(job):
    answer = 41
    breakpoint()
    print("the answer is", answer + 1)
"""
READY = "ready for jobs"


@pytest.fixture
def app(tmp_path: Path) -> Path:
    path = tmp_path / "app.py"
    path.write_text(APP)
    return path


@pytest.fixture
def develop(spawn: Spawner, app: Path) -> Callable[..., Child]:
    def develop(*arguments: str) -> Child:
        return spawn("dev", *arguments, cwd=app.parent, env={"TASKMANAGER_APP": "app:tm"})

    return develop


def rewrite(app: Path, before: str, after: str) -> None:
    source = app.read_text()
    assert before in source
    app.write_text(source.replace(before, after))


def url_of(dev: Child) -> str:
    """Return the URL that it prints for other terminals, once it runs."""
    url = dev.wait_for_line(r"  export TASKMANAGER_REDIS_URL=(unix://\S+)$")[1]
    dev.wait_for_line(READY)
    return url


def answers(url: str) -> bool:
    with socket.socket(socket.AF_UNIX) as probe:
        return probe.connect_ex(url.removeprefix("unix://")) == 0


def workers_of(child: Child) -> list[int]:
    """The processes below a reloader that are its workers: a private server is another."""
    listed = Path(f"/proc/{child.pid}/task/{child.pid}/children").read_text()
    return [pid for pid in map(int, listed.split()) if b"--reloaded" in command_of(pid)]


def command_of(pid: int) -> bytes:
    """Return the command line of a process; nothing when it has ended."""
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    return b""


def test_a_changed_handler_runs_and_what_ran_before_is_run_again(
    develop: Callable[..., Child], app: Path
) -> None:
    dev = develop("-c", "2")
    url = url_of(dev)
    jobs = TaskManager(url).sync
    jobs.emit("wait")
    dev.wait_for_line("waiting, delivery 1 attempt 1")
    jobs.emit("greet")
    dev.wait_for_line(f"greeted in version 1 at {url}$")

    # Of the same size, and maybe in the same second as the bytecode of the version before.
    rewrite(app, "version 1", "version 2")

    dev.wait_for_line("app.py changed, restarting the worker")
    dev.wait_for_line("stopping: waiting up to 1 s for 1 running job")
    dev.wait_for_line(READY)
    dev.wait_for_line("waiting, delivery 2 attempt 1")
    jobs.emit("greet")
    dev.wait_for_line("greeted in version 2")
    jobs.emit("fail")
    dev.wait_for_line("fail failed permanently: ValueError: nobody there")
    dev.wait_for_line(r'    raise ValueError\("nobody there"\)')
    assert dev.text.count("handlers    4") == 1

    dev.interrupt()

    assert dev.wait() == 0
    assert not answers(url)
    assert not Path(url.removeprefix("unix://")).parent.exists()


def test_a_file_that_does_not_parse_or_import_is_said_and_waited_for(
    develop: Callable[..., Child], app: Path
) -> None:
    dev = develop()
    jobs = TaskManager(url_of(dev)).sync

    rewrite(app, "version 1", 'version 2" =')
    dev.wait_for_line(r"not reloading until this is fixed: SyntaxError: .*app.py:9: ")
    jobs.emit("greet")
    dev.wait_for_line("greeted in version 1")
    (app.parent / "other.py").write_text("def (:")
    dev.wait_for_line(r"not reloading until this is fixed: SyntaxError: .*other.py:1: ")
    rewrite(app, 'version 2" =', "version 3")
    dev.wait_for_line(r"not reloading until this is fixed: SyntaxError: .*other.py:1: ")
    assert "restarting the worker" not in dev.text
    (app.parent / "other.py").unlink()
    dev.wait_for_line(r"other.py changed, restarting the worker")
    dev.wait_for_line(READY)

    rewrite(app, "import asyncio, os", "import asyncio, os, no_such_module")
    dev.wait_for_line("^Error: cannot import 'app': ModuleNotFoundError: No module named 'no_such")
    dev.wait_for_line("the worker ended with exit code 2; it restarts when a .py file changes")
    rewrite(app, ", no_such_module", "")
    dev.wait_for_line(READY)
    jobs.emit("greet")
    dev.wait_for_line("greeted in version 3")

    rewrite(app, "import asyncio, os", "import asyncio, os, no_such_module")
    dev.wait_for_line("the worker ended with exit code 2")
    dev.interrupt()

    assert dev.wait() == 0


def test_nothing_is_left_of_what_a_killed_dev_had_started(
    develop: Callable[..., Child],
) -> None:
    dev = develop()
    url = url_of(dev)
    (worker,) = workers_of(dev)

    dev.kill()

    eventually(lambda: not answers(url) and not command_of(worker))
    # Nobody is left to do it.
    shutil.rmtree(Path(url.removeprefix("unix://")).parent)


# --- worker --reload -----------------------------------------------------------------------


def test_a_worker_is_reloaded_on_the_redis_that_it_was_given(
    spawn: Spawner, server: RedisServer, app: Path
) -> None:
    jobs = TaskManager(server.url).sync
    (app.parent / "more").mkdir()
    worker = spawn(
        "worker", "app:tm", "--reload", "--watch", "more", "--url", server.url, cwd=app.parent
    )
    worker.wait_for_line(READY)
    jobs.emit("wait")
    worker.wait_for_line("waiting, delivery 1 attempt 1")
    rewrite(app, "version 1", "version 2")

    (app.parent / "more" / "tables.py").touch()

    worker.wait_for_line("tables.py changed")
    # A second signal: it does not wait for the job.
    worker.terminate()
    assert worker.wait() == 0
    assert "app.py changed" not in worker.text
    other = spawn("worker", "app:tm", "--url", server.url, "--burst", cwd=app.parent)
    other.wait_for_line(r"waiting, delivery \d attempt 1")


def test_an_app_that_cannot_start_at_all_is_not_waited_for(spawn: Spawner, app: Path) -> None:
    worker = spawn("worker", "app:tm", "--reload", "--url", "embedded://", cwd=app.parent)

    assert worker.wait() == 2
    assert "would stop with every reload: use 'taskmanager dev'" in worker.text


# --- In a terminal -------------------------------------------------------------------------


def test_a_handler_is_debugged_in_the_terminal_of_a_reloaded_worker(app: Path) -> None:
    with in_terminal("dev", "app:tm", cwd=app.parent) as terminal:
        url = terminal.wait_for(r"TASKMANAGER_REDIS_URL=(unix://\S+)")[1]
        terminal.wait_for(READY)
        rewrite(app, "answer = 41", "answer = 42")
        terminal.wait_for("app.py changed")
        terminal.wait_for(READY)

        TaskManager(url).sync.emit("look")
        terminal.wait_for(r"\(Pdb\) ")
        terminal.type("c\n")
        terminal.wait_for("the answer is 43")
        terminal.type(CTRL_C)

        assert terminal.wait() == 0
        assert not answers(url)
