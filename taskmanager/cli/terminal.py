"""The worker's side of a terminal: it leaves the foreground, and returns to it for debugging."""

from __future__ import annotations

import contextlib
import os
import pdb
import signal
import sys
import threading
from collections.abc import Iterator
from typing import Any

_STDIN = 0


def leave() -> None:
    """Leave the foreground, along with everything that is started from now on.

    Standard input is empty from here on, as with several processes: the kernel stops everything
    outside the foreground that reads the terminal.
    """
    foreground = os.getpgrp()
    os.setpgid(0, 0)
    for number in (signal.SIGTTIN, signal.SIGTTOU):
        # For code that opens the terminal itself: an error is better than a stopped worker.
        signal.signal(number, signal.SIG_IGN)
    terminal = os.dup(_STDIN)
    with open(os.devnull) as nothing:
        os.dup2(nothing.fileno(), _STDIN)
    if sys.breakpointhook is sys.__breakpointhook__ and "PYTHONBREAKPOINT" not in os.environ:
        sys.breakpointhook = Breakpoint(terminal, foreground)


class Breakpoint:
    """`breakpoint()` in a process that is not in the foreground of its terminal."""

    def __init__(self, terminal: int, foreground: int) -> None:
        self._terminal = terminal
        self._foreground = foreground
        self._turn = threading.RLock()

    def __call__(self, *, header: str | None = None, **options: Any) -> None:
        # Not pdb.set_trace(), which would stop in this frame instead of the caller's.
        debugger = _Debugger(self)
        if header is not None:
            debugger.message(header)
        debugger.set_trace(sys._getframe(1), **options)

    @contextlib.contextmanager
    def in_foreground(self) -> Iterator[None]:
        """Within the block, have the terminal as standard input and receive its signals."""
        with self._turn, contextlib.ExitStack() as restored:
            before = os.dup(_STDIN)
            restored.callback(os.close, before)
            restored.callback(os.dup2, before, _STDIN)
            restored.callback(os.tcsetpgrp, self._terminal, self._await_foreground())
            os.tcsetpgrp(self._terminal, os.getpgrp())
            os.dup2(self._terminal, _STDIN)
            yield

    def _await_foreground(self) -> int:
        """Return which of our groups has the terminal; stopped until the shell gives it to one."""
        while (group := os.tcgetpgrp(self._terminal)) not in (self._foreground, os.getpgrp()):
            os.kill(0, signal.SIGSTOP)
        return group


class _Debugger(pdb.Pdb):
    def __init__(self, breakpoint: Breakpoint) -> None:
        super().__init__()
        self._breakpoint = breakpoint

    def interaction(self, *where: Any) -> None:
        with self._breakpoint.in_foreground():
            super().interaction(*where)
