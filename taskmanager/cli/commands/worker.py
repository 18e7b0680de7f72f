"""``worker``: run an app's handlers until told to stop."""

from __future__ import annotations

import contextlib
import gc
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal

import click

from taskmanager.cli import addresses
from taskmanager.cli.exits import USAGE, Exit, end_at_sigterm, ending_within, on_signals, reported
from taskmanager.cli.front import divide, in_terminal
from taskmanager.cli.units import duration

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop

    from taskmanager.cli.supervisor import Start
    from taskmanager.manager import TaskManager
    from taskmanager.worker.logs import LogLevel

# For threads of handlers that go on after the worker has stopped.
LAST_SECONDS = 5.0
PARENT_CHECK_SECONDS = 1.0
_ONE_PROCESS = (
    "an embedded:// server belongs to one process, so -p is not allowed: leave it out, or start "
    "a Redis for all processes and name it, as in --url redis://localhost:6379/0"
)
# Before any app was imported; and how many new objects bring a collection in a worker.
_THRESHOLDS = gc.get_threshold()
_YOUNG = 20_000


@click.command()
@click.argument("target", metavar="[MODULE:ATTR]", required=False)
@click.option(
    "-c",
    "--concurrency",
    type=int,
    help="Jobs at a time in each process.  [default: the app's, else 1]",
)
@click.option("-q", "--queues", help="Comma separated.  [default: all that have a handler]")
@click.option("-p", "--processes", type=click.IntRange(1), default=1, show_default=True)
@click.option("--name", help="A stable name; -1, -2 ... are appended with several processes.")
@click.option("--burst", is_flag=True, help="Exit with 0 as soon as there is nothing left to do.")
@click.option(
    "--connect-timeout",
    type=duration,
    metavar="DURATION",
    help="How long to wait for Redis, in seconds or as 500ms, 30s, 5m.  [default: 30]",
)
@click.option(
    "--log-level",
    type=click.Choice(["debug", "info", "warning", "error"]),
    help="Of the task manager's own lines.  [default: info, with a line for each job]",
)
@click.option("-v", "--verbose", is_flag=True, help="As --log-level debug.")
@click.option("--quiet", is_flag=True, help="As --log-level warning: no line for each job.")
@click.option(
    "--log-format", type=click.Choice(["console", "json"]), default="console", show_default=True
)
@click.option("--index", type=int, hidden=True)
@click.option("--again", is_flag=True, hidden=True)
@click.option("--ready-fd", type=int, hidden=True)
@click.option("--parent", type=int, hidden=True)
@click.pass_context
def worker(
    context: click.Context,
    /,
    target: str | None,
    processes: int,
    name: str | None,
    burst: bool,
    log_level: LogLevel | None,
    verbose: bool,
    quiet: bool,
    log_format: Literal["console", "json"],
    index: int | None,
    again: bool,
    ready_fd: int | None,
    parent: int | None,
    **settings: Any,
) -> None:
    """Run the handlers of an app: a TaskManager, or a function without arguments returning one.

    The first SIGTERM or SIGINT (Ctrl-C) lets running jobs finish, the second
    cancels them and hands them back, the third exits with 4.
    """
    end_at_sigterm()
    from taskmanager.worker import logs

    target = addresses.needed_app(context, target)
    logs.configure(log_format, level=_level(log_level, verbose=verbose, quiet=quiet))
    if processes > 1 and index is None:
        context.exit(_supervise(processes))
    aside = index is None and in_terminal()
    if aside:
        parent = _put_front_before(context)
    _end_with_parent(parent)
    settings |= addresses.settings(context) | {"name": _own_name(name, index)}
    with reported():
        tm = _load(target, settings, is_one_of_several=index is not None)
        if index is None or (index == 1 and not again):
            _say(_banner(tm, processes))
        _leave_foreground(aside)
        _run(tm, burst=burst, ready_fd=ready_fd)


def _level(given: LogLevel | None, *, verbose: bool, quiet: bool) -> LogLevel:
    if [given is not None, verbose, quiet].count(True) > 1:
        raise click.UsageError("give one of --log-level, --verbose and --quiet")
    return given or ("debug" if verbose else "warning" if quiet else "info")


def _supervise(processes: int) -> int:
    import asyncio

    from taskmanager.cli.supervisor import Supervisor

    supervisor = Supervisor(_own_command, processes=processes)
    with asyncio.Runner() as runner:
        loop = runner.get_loop()
        on_signals(lambda *_: loop.call_soon_threadsafe(supervisor.stop))
        code = runner.run(supervisor.run())
        on_signals(signal.SIG_IGN)
    return code


def _put_front_before(context: click.Context) -> int:
    """Go on as the child of a process that stays in the foreground; return its id."""
    front = os.getpid()
    code = divide()
    if code is not None:
        context.exit(code)
    return front


def _leave_foreground(aside: bool) -> None:
    if not aside:
        return
    # Imported late: it brings the debugger.
    from taskmanager.cli import terminal

    terminal.leave()


def _own_command(start: Start) -> list[str]:
    """Return the command line that we were given, with which of the processes it is for."""
    own = ["--index", str(start.index), "--ready-fd", str(start.ready)]
    own += ["--parent", str(os.getpid())]
    own += ["--again"] if start.count > 1 else []
    return [sys.executable, "-m", "taskmanager", *sys.argv[1:], *own]


def _own_name(name: str | None, index: int | None) -> str | None:
    if index is None:
        return name
    from consumers.terms import worker_name

    return worker_name(index) if name is None else f"{name}-{index}"


def _load(target: str, settings: dict[str, Any], *, is_one_of_several: bool) -> TaskManager[Any]:
    from taskmanager.cli.loading import import_handlers, load
    from taskmanager.worker import logs

    tm = load(target)
    import_handlers(tm)
    # Until the worker has started too: that may take its time, and say why.
    logs.unmute()
    if not tm.handlers:
        imported = ", ".join([target.partition(":")[0], *tm.included])
        raise Exit(
            f"{target} has no handlers, so there is nothing to run; imported was: {imported}. "
            "Name the modules that register handlers in TaskManager(include=[...])",
            USAGE,
        )
    tm.configure(**settings)
    if is_one_of_several and tm.is_embedded:
        raise Exit(_ONE_PROCESS, USAGE)
    return tm


def _say(banner: str) -> None:
    # A worker works on without a reader of its log, or room for it; from the start on too.
    with contextlib.suppress(OSError):
        click.echo(banner, err=True)


def _banner(tm: TaskManager[Any], processes: int) -> str:
    from taskmanager.cli.banner import Banner

    return str(
        Banner(
            redis=tm.connector.where,
            queues=tm.queues,
            handlers=[name for name in tm.handlers if name[0] in tm.queues],
            slots=tm.settings.concurrency,
            processes=processes,
        )
    )


def _run(tm: TaskManager[Any], *, burst: bool, ready_fd: int | None) -> None:
    import asyncio

    relieve_collector()
    with asyncio.Runner(loop_factory=_fastest_loop()) as runner, ending_within(LAST_SECONDS):
        runner.run(tm.run(burst=burst, on_start=lambda: _say_ready(ready_fd)))


def relieve_collector() -> None:
    """Have the garbage collector of a worker's process look at less, and less often.

    What was imported is there for good. A job makes some twenty objects, nearly all gone
    with it: by default a collection comes each 50 jobs and finds nothing, which is a tenth
    of the time of a job that does nothing. An app that set thresholds keeps its own.
    """
    gc.collect()
    gc.freeze()
    if gc.get_threshold() == _THRESHOLDS:
        gc.set_threshold(max(_YOUNG, _THRESHOLDS[0]), *_THRESHOLDS[1:])


def _say_ready(ready_fd: int | None) -> None:
    """Tell the supervisor that what kills us from now on is not the start."""
    if ready_fd is not None:
        # Nobody reads it any more.
        with contextlib.suppress(OSError):
            os.write(ready_fd, b"1")
            os.close(ready_fd)


def _fastest_loop() -> Callable[[], AbstractEventLoop] | None:
    try:
        import uvloop
    except ImportError:
        return None
    return uvloop.new_event_loop


def _end_with_parent(parent: int | None) -> None:
    """Stop, as at a first SIGTERM, when the supervisor is gone without having said so.

    Its id comes from itself: it may be gone before we look for it. None: there is none.
    """
    if parent is None:
        return

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(PARENT_CHECK_SECONDS)
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=watch, name="parent-watch", daemon=True).start()
