"""The command `dev`: a private Redis and a worker that reloads, while you write an app."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from taskmanager.cli import addresses, parameters
from taskmanager.cli.assignment import accept
from taskmanager.cli.exits import reported
from taskmanager.cli.work import say, work

_PRIVATE = "embedded://"
_REACHED_BY = """\
started a private Redis, which stops with this command. To use it in another terminal:
  export TASKMANAGER_REDIS_URL={}"""
_NOT_USED = (
    "TASKMANAGER_REDIS_URL is set but ignored, so that this worker does not run the jobs of "
    "other workers. To use that Redis, give its URL as --url"
)


@click.command()
@parameters.of_a_worker
@parameters.watch
@click.pass_context
def dev(
    context: click.Context,
    /,
    target: str | None,
    folders: Sequence[Path],
    **options: Any,
) -> None:
    """Run an app during development, and reload it on changes.

    A private Redis starts and stops with the command. It is used even if the app or the
    environment names another one. When a .py file changes, the worker restarts: running jobs get
    one second to finish, the others return to the queue and run again.
    """
    assignment = accept(context, target, options)
    if not assignment.reloaded:
        context.exit(_develop(folders, addresses.settings(context)["redis_url"]))
    work(context, assignment)


dev.params.append(
    addresses.option(
        "--url", "URL", "Redis to use. embedded://FOLDER keeps its data.  [default: a new one]"
    )
)


def _develop(folders: Sequence[Path], url: str | None) -> int:
    from taskmanager.cli.changes import watching
    from taskmanager.cli.reloader import Reloader, start_worker

    # Before the server starts: from here on, Ctrl-C ends both in good order.
    reloader = Reloader(watching(folders))
    reached = _reached(url)
    return reloader.run(lambda starts: start_worker(starts, "--redis", reached, redis_url=reached))


def _reached(url: str | None) -> str:
    """Return the URL of the Redis to use, and start it if it is private."""
    from taskmanager import embedded
    from taskmanager.settings import from_process

    with reported():
        reached = embedded.resolve(url or _PRIVATE)
        if reached != url:
            say(_REACHED_BY.format(reached))
        if url is None and from_process({}, {}).redis_url is not None:
            say(_NOT_USED)
    return reached
