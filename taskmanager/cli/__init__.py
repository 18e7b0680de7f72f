"""The command line: ``python -m taskmanager``, also installed as ``taskmanager``.

The exit codes are in exits.py. Commands import what they need when they run,
so that ``--help`` is quick.
"""

from __future__ import annotations

import click

from taskmanager.cli.commands.dlq import dlq
from taskmanager.cli.commands.emit import emit
from taskmanager.cli.commands.jobs import jobs
from taskmanager.cli.commands.queues import queues
from taskmanager.cli.commands.schedules import schedules
from taskmanager.cli.commands.worker import worker
from taskmanager.cli.exits import FAILURE, LastWord, check_packages
from taskmanager.cli.streams import arriving


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.option("--url", help="Where Redis is; TASKMANAGER_REDIS_URL and the app's own otherwise.")
@click.option("--namespace", help="What every key starts with.  [default: tm]")
@click.option("--app", metavar="MODULE:ATTR", help="The TaskManager, or what returns one.")
@click.version_option(package_name="taskmanager-streams", prog_name="taskmanager")
@click.pass_context
def cli(context: click.Context, url: str | None, namespace: str | None, app: str | None) -> None:
    """Background jobs on Redis Streams."""
    check_packages()
    # Under the settings' names, as the commands hand them on.
    context.obj = {"redis_url": url, "namespace": namespace}
    context.meta["app"] = app


cli.add_command(worker)
cli.add_command(emit)
cli.add_command(queues)
cli.add_command(jobs)
cli.add_command(schedules)
cli.add_command(dlq)


def main() -> None:
    """Run the command line of this process; ends it with one of the exit codes."""
    last_word = LastWord()
    try:
        with arriving():
            cli(prog_name="taskmanager")
    except SystemExit as end:
        last_word.code = end.code if isinstance(end.code, int) else FAILURE
        raise
    except BaseException:
        last_word.code = FAILURE
        raise
