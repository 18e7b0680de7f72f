"""The command `worker`: run an app's handlers until told to stop."""

from __future__ import annotations

import signal
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from taskmanager.cli import parameters
from taskmanager.cli.assignment import accept, own_command
from taskmanager.cli.exits import on_signals
from taskmanager.cli.work import work

if TYPE_CHECKING:
    from taskmanager.cli.supervisor import Start


@click.command()
@parameters.of_a_worker
@click.option(
    "-p",
    "--processes",
    type=click.IntRange(1),
    default=1,
    show_default=True,
    help="Number of worker processes.",
)
@click.option(
    "--burst",
    is_flag=True,
    help="Exit with 0 once no job is waiting or running. Delayed jobs and retries stay.",
)
@click.option("--reload", is_flag=True, help="Restart when a .py file changes.")
@parameters.watch
@click.pass_context
def worker(
    context: click.Context,
    /,
    target: str | None,
    processes: int,
    burst: bool,
    reload: bool,
    folders: Sequence[Path],
    **options: Any,
) -> None:
    """Run the handlers of an app.

    MODULE:ATTR names a TaskManager, or a function without arguments that returns one.

    On the first SIGTERM or SIGINT (Ctrl-C), running jobs may finish. The second one cancels them
    and returns them to the queue. The third one exits at once with code 4.
    """
    _refuse_what_does_not_go_together(processes, burst=burst, reload=reload, folders=folders)
    assignment = accept(context, target, options)
    if reload and not assignment.reloaded:
        context.exit(_reload(folders))
    if processes > 1 and assignment.index is None:
        context.exit(_supervise(processes))
    work(context, assignment, processes=processes, burst=burst)


def _refuse_what_does_not_go_together(
    processes: int, *, burst: bool, reload: bool, folders: Sequence[Path]
) -> None:
    if reload and processes > 1:
        raise click.UsageError("--reload works with one process only: remove -p or --reload")
    if reload and burst:
        raise click.UsageError("--reload runs until it is stopped: remove --burst")
    if folders and not reload:
        raise click.UsageError("--watch works only with --reload")


def _reload(folders: Sequence[Path]) -> int:
    from taskmanager.cli.changes import watching
    from taskmanager.cli.reloader import Reloader, start_worker

    return Reloader(watching(folders)).run(start_worker)


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


def _own_command(start: Start) -> list[str]:
    """Return our own command line, with the number of the process it is for."""
    again = ["--again"] if start.count > 1 else []
    return own_command("--index", str(start.index), "--ready-fd", str(start.ready), *again)
