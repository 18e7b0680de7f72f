"""The exit codes, which error leads to which, and the end of the process.

      0  ok
      1  failure
      2  usage or import error
      3  Redis unreachable
      4  forced stop (the third signal, which taskmanager.worker.stop_signals handles; or a handler
         blocked the event loop of a worker that was to stop)
    130  interrupted (Ctrl-C) before a worker listens, or in another command

Everywhere else, the command line uses their names.
"""

from __future__ import annotations

import atexit
import contextlib
import logging
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, NoReturn

import click

from taskmanager.escapes import escaped
from taskmanager.shadows import refuse_shadows

if TYPE_CHECKING:
    from consumers.errors import TaskManagerError

OK = 0
FAILURE = 1
USAGE = 2
UNREACHABLE = 3
FORCED = 4
INTERRUPTED = 128 + signal.SIGINT
# A worker whose first start ends like this has logged the reason, and would fail again.
VERDICTS = (USAGE, UNREACHABLE)
# More than a stop takes: one second for running jobs, two for cancelled ones, one for the
# last outcomes and one for threads.
STUCK_S = 10.0

logger = logging.getLogger("taskmanager.cli")


class Exit(click.ClickException):
    """Ends the command with one message on stderr and a code from the table above."""

    def __init__(self, message: str, code: int) -> None:
        super().__init__(escaped(message))
        self.exit_code: int = code  # type: ignore[misc]


@contextlib.contextmanager
def reported() -> Iterator[None]:
    """Turn the project's errors into an Exit. Any other error is a bug and keeps its traceback."""
    # Imported late, so that --help does not wait for it.
    from consumers.errors import TaskManagerError

    try:
        yield
    except TaskManagerError as error:
        raise Exit(" ".join(_sentence(error).split()), code_of(error)) from error


def _sentence(error: TaskManagerError) -> str:
    """Return the text of the error for a person at a command line."""
    from taskmanager.errors import NotConfigured

    if isinstance(error, NotConfigured):
        return (
            "no Redis is configured: add --url redis://localhost:6379/0, or --app MODULE:ATTR to "
            "use the Redis of an app, or set TASKMANAGER_REDIS_URL or TASKMANAGER_APP"
        )
    return str(error)


def check_packages() -> None:
    """End the command if a module of the user's has the name of one of our packages."""
    try:
        refuse_shadows()
    except ImportError as error:
        raise Exit(str(error), USAGE) from error


def code_of(error: BaseException) -> int:
    """Return the exit code of a command that ends with this error."""
    from consumers.errors import InvalidInput, RedisUnavailable
    from taskmanager.errors import MissingCapabilities, NoHandlers, NotConfigured

    if isinstance(error, click.ClickException):
        return error.exit_code
    if isinstance(error, RedisUnavailable):
        return UNREACHABLE
    of_usage = InvalidInput | NoHandlers | MissingCapabilities | NotConfigured
    return USAGE if isinstance(error, of_usage) else FAILURE


@contextlib.contextmanager
def ending_within(seconds: float) -> Iterator[None]:
    """From the end of the block on, let nothing keep the process alive longer than this.

    On its way out, Python waits for threads twice: when it closes the event loop and when it ends.
    A thread cannot be stopped from outside.
    """
    code = OK
    try:
        yield
    except BaseException as error:
        code = code_of(error)
        raise
    finally:
        # A signal that comes while the process ends on its own must not change its exit code.
        on_signals(signal.SIG_IGN)
        timer = threading.Timer(seconds, _give_up, (code,))
        timer.name = "end"
        timer.daemon = True
        timer.start()


def on_signals(action: Callable[..., object] | signal.Handlers) -> None:
    """Set what the signals that ask a process to stop do."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, action)


def end_at_sigterm() -> None:
    """Make SIGTERM end the process with 0 for as long as it has nothing to finish.

    The kernel sends process 1, as in a container, no signal that it does not handle. Without this,
    an app could not be stopped while it is being imported.
    """
    signal.signal(signal.SIGTERM, lambda *_: os._exit(OK))


def leave_sigint_to_parent() -> None:
    """Do nothing at Ctrl-C, which a terminal sends to its whole foreground; the parent handles it.

    The parent passes it on as a SIGTERM. Programs that this process starts still receive it. They
    would not if this process ignored it.
    """
    signal.signal(signal.SIGINT, lambda *_: None)


class LastWord:
    """Ends the process without the interpreter's own shutdown if threads are still running.

    That shutdown would abort if a daemon thread holds a lock, such as the lock of stdout while it
    prints. Made before anything else is imported, this is called after all other atexit functions.
    """

    def __init__(self) -> None:
        self.code = OK
        atexit.register(self)

    def __call__(self) -> None:
        if threading.active_count() > 1:
            _leave(self.code)


def _give_up(code: int) -> None:
    running = [
        thread.name
        for thread in threading.enumerate()
        if thread not in (threading.main_thread(), threading.current_thread())
    ]
    names = ", ".join(running) or "the main thread"
    logger.warning("exiting although threads are still running: %s", names)
    _leave(code)


def _leave(code: int) -> NoReturn:
    logging.shutdown()
    for stream in (sys.stdout, sys.stderr):
        # Closed, or its reader is gone.
        with contextlib.suppress(OSError, ValueError):
            stream.flush()
    os._exit(code)
