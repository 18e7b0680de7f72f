"""Run the real command line in a terminal of its own, and type into it."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import re
import subprocess
import sys
import termios
from collections.abc import Iterator, Mapping
from pathlib import Path

from tests.support import sessions
from tests.support.processes import environment
from tests.support.waiting import eventually

CTRL_C = "\x03"


class Terminal:
    """A pseudo terminal, and ``python -m taskmanager <arguments>`` in its foreground.

    It ends with this process: its end of the terminal is closed then, which is a SIGHUP there.
    """

    def __init__(self, *arguments: str, cwd: Path, env: Mapping[str, str] | None = None) -> None:
        self._ours, theirs = pty.openpty()
        os.set_blocking(self._ours, False)
        self._text = ""
        self._read_to = 0
        self._process = subprocess.Popen(
            [sys.executable, "-m", "taskmanager", *arguments],
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            cwd=cwd,
            env=environment(env or {}),
            start_new_session=True,
            preexec_fn=_make_stdin_its_terminal,
        )
        os.close(theirs)

    @property
    def text(self) -> str:
        """Everything that was written to it so far, and what was typed into it."""
        # OSError: nothing new, or the last process that had it open is gone.
        with contextlib.suppress(OSError):
            while data := os.read(self._ours, 65_536):
                self._text += data.decode(errors="replace").replace("\r\n", "\n")
        return self._text

    def type(self, keys: str) -> None:
        os.write(self._ours, keys.encode())

    def terminate(self) -> None:
        """SIGTERM to the process that was started, and to no other."""
        self._process.terminate()

    def wait_for(self, pattern: str) -> re.Match[str]:
        """Return the next match, after the last one returned here."""
        found = eventually(lambda: re.compile(pattern).search(self.text, self._read_to))
        assert found is not None
        self._read_to = found.end()
        return found

    def wait(self) -> int:
        """Return the exit code; it goes on reading, since a full terminal holds up its writers."""

        def ended() -> bool:
            return bool(self.text) and self._process.poll() is not None

        eventually(ended)
        return self._process.returncode

    def end(self) -> None:
        """Leave nothing of it behind."""
        sessions.kill(self._process.pid)
        self._process.wait()
        os.close(self._ours)


@contextlib.contextmanager
def in_terminal(
    *arguments: str, cwd: Path, env: Mapping[str, str] | None = None
) -> Iterator[Terminal]:
    terminal = Terminal(*arguments, cwd=cwd, env=env)
    try:
        yield terminal
    finally:
        terminal.end()


def _make_stdin_its_terminal() -> None:
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)
