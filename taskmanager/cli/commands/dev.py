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
a private Redis, which ends with this command; in other terminals, for emits and a web app:
  export TASKMANAGER_REDIS_URL={}"""
_NOT_USED = (
    "TASKMANAGER_REDIS_URL is set and not used here, so that no other worker's jobs are run: "
    "give it as --url to use it"
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
    """Run an app while you write it: Redis, worker, reload.

    A private Redis runs beside the worker and ends with it, whatever Redis the app and the
    environment name. The worker is restarted when a .py file has changed: running jobs
    have a second to finish, then they are handed back and run again.
    """
    assignment = accept(context, target, options)
    if not assignment.reloaded:
        context.exit(_develop(folders, addresses.settings(context)["redis_url"]))
    work(context, assignment)


dev.params.append(
    addresses.option(
        "--url", "URL", "The Redis to use; embedded://FOLDER keeps its data.  [default: a new one]"
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
