"""The process that stays in a terminal's foreground while its worker runs outside of it.

The terminal sends its signals (Ctrl-C, Ctrl-Z, Ctrl-\\, hang-up) to every process in the
foreground. If the worker were there, programs started by its handlers would get them as well.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from collections.abc import Callable, Iterator

# Signals for the worker alone. Ctrl-C reaches it as SIGTERM, as with several processes: while
# it is still in the foreground, it has received the SIGINT already.
_FOR_THE_WORKER = {
    signal.SIGTERM: signal.SIGTERM,
    signal.SIGINT: signal.SIGTERM,
    signal.SIGUSR1: signal.SIGUSR1,
    signal.SIGUSR2: signal.SIGUSR2,
}
# Signals that a terminal means for everything that runs in it.
_FOR_ALL = (signal.SIGHUP, signal.SIGQUIT, signal.SIGTSTP)
_PASSED_ON = (*_FOR_THE_WORKER, *_FOR_ALL)
_ENDS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT)


def in_terminal() -> bool:
    """Return whether standard input is the terminal that sends this process its signals."""
    try:
        return sys.stdin.isatty() and _foreground() is not None
    except (AttributeError, ValueError):
        return False  # Standard input is closed.


def divide() -> int | None:
    """Fork. Return None in the new process, which becomes the worker.

    In the original process, return the worker's exit code once it has ended.
    """
    with held_back():
        worker = os.fork()
        if worker:
            front = Front(worker)
    if not worker:
        return None
    code = front.wait()
    for number in _PASSED_ON:
        signal.signal(number, signal.SIG_IGN)
    return end_as(code)


@contextlib.contextmanager
def held_back() -> Iterator[None]:
    """Hold signals back: one that arrives between a start and our handlers would be lost.

    Threads started within the block never receive one.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _PASSED_ON)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


class Front:
    """Passes signals on to the worker, and stops when the worker is stopped.

    There may be no worker for a while. `on_end` is called for each signal that asks to end.
    """

    def __init__(
        self, worker: int | None = None, *, on_end: Callable[[], object] = lambda: None
    ) -> None:
        self.worker = worker
        self._on_end = on_end
        for number in _PASSED_ON:
            if signal.getsignal(number) is not signal.SIG_IGN:  # As nohup sets it.
                signal.signal(number, self._pass_on)
        # A process that takes the terminal back is not in its foreground, and would be stopped.
        signal.signal(signal.SIGTTOU, signal.SIG_IGN)

    @property
    def debugs(self) -> bool:
        """Whether a debugger prompt of the worker has the terminal."""
        return self.worker is not None and _foreground() == self.worker

    def wait(self) -> int:
        """Wait for the worker to end; return its exit code, or the negative signal that killed it.

        After that there is no worker.
        """
        assert self.worker is not None, "there is no worker"
        while os.WIFSTOPPED(status := os.waitpid(self.worker, os.WUNTRACED)[1]):
            self._stop_as_well(self.worker)
        if self.debugs:  # It was killed at its prompt.
            _hand_terminal_to(os.getpgrp())
        self.worker = None
        return os.waitstatus_to_exitcode(status)

    def send(self, number: int) -> None:
        """Send a signal to the worker alone, if there is one."""
        if self.worker is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.worker, number)

    def _pass_on(self, number: int, frame: object) -> None:
        if number in _ENDS:
            self._on_end()
        if number not in _FOR_ALL:
            self.send(_FOR_THE_WORKER[signal.Signals(number)])
        elif self.worker is not None:
            _send_all(self.worker, number)
        elif number == signal.SIGTSTP:
            _stop()

    def _stop_as_well(self, worker: int) -> None:
        """Show the shell that the job is stopped, and continue the worker when we are continued."""
        debugged = self.debugs
        _stop()
        if debugged and _foreground() == os.getpgrp():
            _hand_terminal_to(worker)
        _send_all(worker, signal.SIGCONT)


def end_as(code: int) -> int:
    """Return the exit code of an ended worker; a signal that killed it kills this process, too."""
    if code < 0:
        if -code not in (signal.SIGKILL, signal.SIGSTOP):
            signal.signal(-code, signal.SIG_DFL)
        os.kill(os.getpid(), -code)
    return code


def _send_all(worker: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        try:
            os.killpg(worker, number)
        except ProcessLookupError:  # It is still in our own group.
            os.kill(worker, number)


def _stop() -> None:
    ours = signal.signal(signal.SIGTSTP, signal.SIG_DFL)
    # If no shell could continue us, as in a container, the kernel drops this signal.
    os.kill(0, signal.SIGTSTP)
    signal.signal(signal.SIGTSTP, ours)


def _foreground() -> int | None:
    try:
        return os.tcgetpgrp(0)
    except OSError:
        return None  # It is gone, or was never ours.


def _hand_terminal_to(group: int) -> None:
    with contextlib.suppress(OSError):
        os.tcsetpgrp(0, group)
