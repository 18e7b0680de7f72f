"""Run the handlers of an app in this process, until it is told to stop."""

from __future__ import annotations

import contextlib
import gc
import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from taskmanager.cli.assignment import Assignment
from taskmanager.cli.exits import USAGE, Exit, ending_within, reported
from taskmanager.cli.front import divide, in_terminal
from taskmanager.cli.orphans import ParentWatch

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop

    from taskmanager.manager import TaskManager
    from taskmanager.settings import Settings

# For threads of handlers that continue after the worker has stopped.
LAST_SECONDS = 5.0
# The same, and the time for running jobs, if the next worker waits for this one to end.
RELOAD_SECONDS = 1.0
_ONE_PROCESS = (
    "an embedded:// server serves one process only: remove -p, or start a Redis for all "
    "processes and give its URL, for example --url redis://localhost:6379/0"
)
_ONE_RELOAD = (
    "an embedded:// server would stop with every reload: use 'taskmanager dev', which keeps its "
    "Redis, or give the URL of another one, for example --url redis://localhost:6379/0"
)
# The thresholds before any app was imported; and how many new objects trigger a collection.
_THRESHOLDS = gc.get_threshold()
_YOUNG = 20_000


def work(
    context: click.Context, assignment: Assignment, *, processes: int = 1, burst: bool = False
) -> None:
    """Return when the worker has stopped. In a terminal, another process stays in front of it."""
    aside = assignment.index is None and in_terminal()
    parent = assignment.parent
    if aside and not assignment.reloaded:
        parent = _put_front_before(context)
    watch = ParentWatch(parent)
    with reported():
        tm = _load(assignment)
        if not assignment.again and assignment.index in (None, 1):
            say(_banner(tm, processes))
        _leave_foreground(aside)
        watch.patience += tm.settings.shutdown_timeout
        _run(tm, assignment, watch, burst=burst)


def say(text: str) -> None:
    """Write to stderr, if possible.

    A worker keeps working without a reader of its log, or room for it, from the start on.
    """
    with contextlib.suppress(OSError):
        click.echo(text, err=True)


def relieve_collector() -> None:
    """Make the garbage collector of a worker process examine less, and less often.

    Imported objects stay forever. A job makes some twenty objects, and nearly all are gone when it
    ends. By default, a collection runs every 50 jobs and finds nothing, which costs a tenth of the
    time of a job that does nothing. An app that set thresholds keeps its own.
    """
    gc.collect()
    gc.freeze()
    if gc.get_threshold() == _THRESHOLDS:
        gc.set_threshold(max(_YOUNG, _THRESHOLDS[0]), *_THRESHOLDS[1:])


def _put_front_before(context: click.Context) -> int:
    """Continue as the child of a process that stays in the foreground; return its id."""
    front = os.getpid()
    code = divide()
    if code is not None:
        context.exit(code)
    return front


def _leave_foreground(aside: bool) -> None:
    if not aside:
        return
    # Imported late, since it brings the debugger.
    from taskmanager.cli import terminal

    terminal.leave()


def _load(assignment: Assignment) -> TaskManager[Any]:
    from taskmanager.cli.loading import import_handlers, load
    from taskmanager.worker import logs

    tm = load(assignment.target)
    import_handlers(tm)
    # For the time until the worker has started, too: the start may take a while and log why.
    logs.unmute()
    if not tm.handlers:
        imported = ", ".join([assignment.target.partition(":")[0], *tm.included])
        raise Exit(
            f"{assignment.target} has no handlers, so there is nothing to run. Imported modules: "
            f"{imported}. Name the modules that register handlers in TaskManager(include=[...])",
            USAGE,
        )
    _configure(tm, assignment)
    return tm


def _configure(tm: TaskManager[Any], assignment: Assignment) -> None:
    tm.configure(**assignment.settings)
    if tm.is_embedded and (assignment.reloaded or assignment.index is not None):
        raise Exit(_ONE_RELOAD if assignment.reloaded else _ONE_PROCESS, USAGE)
    if assignment.reloaded:
        tm.configure(shutdown_timeout=min(tm.settings.shutdown_timeout, RELOAD_SECONDS))


def _banner(tm: TaskManager[Any], processes: int) -> str:
    from taskmanager.cli.banner import Banner

    left_out = {name: lacks for name, lacks in tm.left_out.items() if name[0] in tm.queues}
    return str(
        Banner(
            redis=tm.connector.where,
            queues=tm.queues,
            handlers=[it for it in tm.handlers if it[0] in tm.queues and it not in left_out],
            slots=tm.settings.concurrency,
            processes=processes,
            worker=_what_was_set(tm.settings),
            left_out=left_out,
        )
    )


def _what_was_set(settings: Settings) -> dict[str, str]:
    """Return what kind of worker it is, as text, without the settings that were left out."""
    from consumers.jobs.lanes import DEFAULT_TYPE

    values = {
        "type": None if settings.type == DEFAULT_TYPE else settings.type,
        "capabilities": ", ".join(settings.capabilities) or None,
        "levels": settings.levels and ", ".join(map(str, settings.levels)),
        "region": settings.region,
        "prefetch": settings.prefetch,
    }
    return {name: str(value) for name, value in values.items() if value is not None}


def _run(tm: TaskManager[Any], assignment: Assignment, watch: ParentWatch, *, burst: bool) -> None:
    import asyncio

    relieve_collector()
    last_seconds = RELOAD_SECONDS if assignment.reloaded else LAST_SECONDS
    with asyncio.Runner(loop_factory=_fastest_loop()) as runner, ending_within(last_seconds):
        watch.loop = runner.get_loop()
        runner.run(tm.run(burst=burst, on_start=lambda: _say_ready(assignment.ready_fd)))


def _say_ready(ready_fd: int | None) -> None:
    """Tell the supervisor that the start has succeeded: a later death is not the start's fault."""
    if ready_fd is not None:
        # Its reader may be gone.
        with contextlib.suppress(OSError):
            os.write(ready_fd, b"1")
            os.close(ready_fd)


def _fastest_loop() -> Callable[[], AbstractEventLoop] | None:
    try:
        import uvloop
    except ImportError:
        return None
    return uvloop.new_event_loop
