"""Whatever way a run of the tests ends, nothing that it has started stays behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.waiting import eventually

ROOT = Path(__file__).resolve().parents[2]
LEFT_ALONE = Path(__file__).parent / "apps" / "left_alone.py"

pytestmark = pytest.mark.skipif(not Path("/proc").exists(), reason="finds processes in /proc")


@pytest.mark.parametrize("end", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_an_interrupted_run_of_the_tests_leaves_no_process_behind(
    end: signal.Signals, tmp_path: Path
) -> None:
    run = start_tests(tmp_path)
    eventually(lambda: len(list(tmp_path.glob("ready-*"))) == 2 or run.poll() is not None, 120.0)
    assert len(started_below(tmp_path)) > 8, (tmp_path / "output").read_text()

    run.send_signal(end)

    assert run.wait(60) != 0
    # A test process that its parent has left waits 5 s for the running test, then interrupts it.
    eventually(lambda: not started_below(tmp_path), within=120.0)


def start_tests(folder: Path) -> subprocess.Popen[bytes]:
    """Run two tests that never end in two processes; all that they start knows of this folder."""
    command = ["-m", "pytest", "-n", "2", "-p", "no:cacheprovider", str(LEFT_ALONE)]
    with (folder / "output").open("wb") as output:
        return subprocess.Popen(
            [sys.executable, *command, f"--basetemp={folder / 'pytest'}"],
            cwd=ROOT,
            env={**os.environ, "TMPDIR": str(folder)},
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )


def started_below(folder: Path) -> list[str]:
    """Return the processes that have this folder in their environment or as working directory.

    A server writes its title over its environment, but works in a folder of its own.
    """
    return [pid.name for pid in Path("/proc").glob("[0-9]*") if str(folder) in "".join(told(pid))]


def told(pid: Path) -> Iterator[str]:
    try:
        if " Z " in (pid / "stat").read_text().rpartition(")")[2]:
            return
        yield (pid / "environ").read_text(errors="replace")
        yield str((pid / "cwd").readlink())
    except OSError:
        return
