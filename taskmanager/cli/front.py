"""The process that stays in a terminal's foreground while the worker runs out of it.

The terminal sends its signals (Ctrl-C, Ctrl-Z, Ctrl-\\, its end) to every process in the
foreground, so also to the programs that a handler starts, unless the worker is elsewhere.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from collections.abc import Iterator

# What is for the worker alone. Ctrl-C is a SIGTERM to it, as with several processes: while it
# still stands in the foreground, it has had the SIGINT already.
_FOR_THE_WORKER = {
    signal.SIGTERM: signal.SIGTERM,
    signal.SIGINT: signal.SIGTERM,
    signal.SIGUSR1: signal.SIGUSR1,
    signal.SIGUSR2: signal.SIGUSR2,
}
# What a terminal means for everything that runs in it.
_FOR_ALL = (signal.SIGHUP, signal.SIGQUIT, signal.SIGTSTP)
_PASSED_ON = (*_FOR_THE_WORKER, *_FOR_ALL)


def in_terminal() -> bool:
    """Whether standard input is the terminal that sends this process its signals."""
    try:
        return sys.stdin.isatty() and _foreground() is not None
    except (AttributeError, ValueError):
        return False  # Standard input is closed.


def divide() -> int | None:
    """Fork. Return None in the new process, which is to become the worker.

    In the process that was started, return the worker's exit code once it has ended.
    """
    with _held_back():
        worker = os.fork()
        if worker:
            front = Front(worker)
    return front.wait() if worker else None


@contextlib.contextmanager
def _held_back() -> Iterator[None]:
    """Let signals wait: one that comes between the fork and our handlers would be lost."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _PASSED_ON)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


class Front:
    """Passes signals on to the worker, stops when it is stopped, and ends as it ends."""

    def __init__(self, worker: int) -> None:
        self.worker = worker
        for number in _PASSED_ON:
            if signal.getsignal(number) is not signal.SIG_IGN:  # As nohup sets it.
                signal.signal(number, self._pass_on)
        # Who takes the terminal back is not in its foreground, and would be stopped for it.
        signal.signal(signal.SIGTTOU, signal.SIG_IGN)

    def wait(self) -> int:
        """Return the worker's exit code; a signal that killed it kills this process too."""
        while os.WIFSTOPPED(status := os.waitpid(self.worker, os.WUNTRACED)[1]):
            self._stop_as_well()
        for number in _PASSED_ON:
            signal.signal(number, signal.SIG_IGN)
        if _foreground() == self.worker:  # Killed while it was debugged.
            _hand_terminal_to(os.getpgrp())
        return _exit_code(os.waitstatus_to_exitcode(status))

    def _pass_on(self, number: int, frame: object) -> None:
        if number in _FOR_ALL:
            self._send_all(number)
        else:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.worker, _FOR_THE_WORKER[signal.Signals(number)])

    def _send_all(self, number: int) -> None:
        with contextlib.suppress(ProcessLookupError):
            try:
                os.killpg(self.worker, number)
            except ProcessLookupError:  # It is still in our own group.
                os.kill(self.worker, number)

    def _stop_as_well(self) -> None:
        """Have the shell see that the job is stopped, and go on with the worker when we do."""
        debugged = _foreground() == self.worker
        ours = signal.signal(signal.SIGTSTP, signal.SIG_DFL)
        # Where no shell could continue us, as in a container, the kernel drops this one.
        os.kill(0, signal.SIGTSTP)
        signal.signal(signal.SIGTSTP, ours)
        if debugged and _foreground() == os.getpgrp():
            _hand_terminal_to(self.worker)
        self._send_all(signal.SIGCONT)


def _foreground() -> int | None:
    try:
        return os.tcgetpgrp(0)
    except OSError:
        return None  # It is gone, or was never ours.


def _hand_terminal_to(group: int) -> None:
    with contextlib.suppress(OSError):
        os.tcsetpgrp(0, group)


def _exit_code(code: int) -> int:
    if code < 0:
        if -code not in (signal.SIGKILL, signal.SIGSTOP):
            signal.signal(-code, signal.SIG_DFL)
        os.kill(os.getpid(), -code)
    return code
