"""What makes a reload, and what becomes of a worker that does not stop for it."""

from __future__ import annotations

import importlib.util
import os
import sys
import threading
from pathlib import Path

import pytest

from taskmanager.cli.changes import fault_of, forget_compiled, watching
from taskmanager.cli.exits import Exit
from tests.support.processes import Spawner
from tests.support.waiting import eventually

OTHERS = (
    ".git/a.py", ".#a.py", "__pycache__/a.py", "node_modules/x/a.py", "shop/a.pyc", "shop/a.txt",
    "venv/lib/site-packages/a.py",
)  # fmt: skip


def test_python_files_outside_hidden_and_installed_folders_count(tmp_path: Path) -> None:
    for name in (*OTHERS, "shop/a.py"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
    stopping, seen = threading.Event(), set()

    def look() -> None:
        for paths in watching([tmp_path])(stopping):
            seen.update(paths)

    looking = threading.Thread(target=look)
    looking.start()

    def last_is_seen() -> bool:
        # Again and again: it may not watch yet.
        for name in (*OTHERS, "shop/a.py"):
            (tmp_path / name).touch()
        return bool(seen)

    try:
        eventually(last_is_seen)
    finally:
        stopping.set()
        looking.join()
    assert seen == {tmp_path / "shop" / "a.py"}


def test_without_its_library_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "watchfiles", None)

    with pytest.raises(Exit, match=r"pip install 'taskmanager-streams\[dev-server\]'") as caught:
        watching([])

    assert caught.value.exit_code == 2


@pytest.mark.parametrize(
    ("source", "fault"),
    [
        (b"x = = 1\n", "SyntaxError: invalid syntax, at {}:1: x = = 1"),
        (b"x = '\xff'\n", "SyntaxError: (unicode error) 'utf-8' codec can't decode"),
        (b"x = 1\0\n", "Error: source code "),
        (b"(" * 10_000, "Error"),
        (b"x = '\\d'\nassert (x, 1)\n", None),
        (b"", None),
    ],
)
def test_what_does_not_parse_is_said_in_a_line(
    tmp_path: Path, source: bytes, fault: str | None
) -> None:
    path = tmp_path / "app.py"
    path.write_bytes(source)

    found = fault_of(path)

    assert (found is None) == (fault is None)
    assert found is None or fault is None or (fault.format(path) in found and "\n" not in found)


def test_a_file_that_is_gone_has_no_fault_and_no_bytecode(tmp_path: Path) -> None:
    path = tmp_path / "app.py"
    compiled = Path(importlib.util.cache_from_source(str(path)))
    compiled.parent.mkdir()
    compiled.touch()

    assert fault_of(path) is None
    forget_compiled(path)
    forget_compiled(path)

    assert not compiled.exists()


# Its first worker ignores SIGTERM, and says so; a second one ends everything.
STUBBORN = """
import os, sys
from pathlib import Path
from taskmanager.cli.reloader import Reloader
from taskmanager.worker import logs

IGNORE = ("import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); "
          "print('ignoring', flush=True); time.sleep(60)")

def start(starts):
    program = IGNORE if starts == 0 else "print('second')"
    return os.posix_spawn(sys.executable, [sys.executable, "-c", program], os.environ)

def changes(stopping):
    open("gate").read()
    yield [Path("app.py")]

logs.configure()
sys.exit(Reloader(changes, stuck=0.1).run(start))
"""


def test_a_worker_that_does_not_stop_is_killed_and_replaced(spawn: Spawner, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "gate")
    reloader = spawn.python("-c", STUBBORN, cwd=tmp_path)
    reloader.wait_for_line("ignoring")

    (tmp_path / "gate").write_text("change")

    reloader.wait_for_line("app.py changed")
    reloader.wait_for_line("it did not stop within 0.1 s")
    reloader.wait_for_line("second")
    assert reloader.wait() == 0


def test_a_worker_that_does_not_stop_at_ctrl_c_is_said_and_killed(
    spawn: Spawner, tmp_path: Path
) -> None:
    os.mkfifo(tmp_path / "gate")
    reloader = spawn.python("-c", STUBBORN, cwd=tmp_path)
    reloader.wait_for_line("ignoring")

    reloader.terminate()

    reloader.wait_for_line("has not stopped yet; .* or at once on a third Ctrl-C or SIGTERM")
    reloader.wait_for_line("it did not stop within 0.1 s")
    assert reloader.wait() == 4


# Its parent is gone from the start, and SIGTERM is for its loop to handle.
ORPHAN = """
import asyncio, signal, time
from taskmanager.cli.orphans import ParentWatch

async def main():
    told = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, told.set)
    watch = ParentWatch(0, patience=0.1)
    watch.loop = asyncio.get_running_loop()
    await told.wait()
    print("told", flush=True)
    time.sleep(60)

asyncio.run(main())
"""


def test_an_orphan_ends_even_if_its_loop_is_blocked(spawn: Spawner) -> None:
    orphan = spawn.python("-c", ORPHAN)

    assert orphan.wait() == 4
    assert "told" in orphan.text
