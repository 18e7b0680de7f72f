"""The command line: `python -m taskmanager`, also installed as `taskmanager`.

The exit codes are in exits.py. Commands import what they need when they run, so that `--help` is
fast.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

import click

from taskmanager.cli import addresses
from taskmanager.cli.commands.dev import dev
from taskmanager.cli.commands.dlq import dlq
from taskmanager.cli.commands.emit import emit
from taskmanager.cli.commands.jobs import jobs
from taskmanager.cli.commands.queues import queues
from taskmanager.cli.commands.routes import routes
from taskmanager.cli.commands.schedules import schedules
from taskmanager.cli.commands.worker import worker
from taskmanager.cli.commands.workers import workers
from taskmanager.cli.exits import FAILURE, INTERRUPTED, LastWord, check_packages
from taskmanager.cli.streams import arriving


class _CommandLine(click.Group):
    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except click.NoSuchOption as error:
            raise _without_hidden(error) from None
        except KeyboardInterrupt:
            # click would print "Aborted!" and exit with 1, as if the answer to a question were no.
            ctx.exit(INTERRUPTED)


def _without_hidden(error: click.NoSuchOption) -> click.NoSuchOption:
    """Return the error without options that are between our own processes."""
    parameters = error.ctx.command.params if error.ctx else []
    hidden = {it for option in parameters if getattr(option, "hidden", False) for it in option.opts}
    shown = [it for it in error.possibilities or () if it not in hidden]
    return click.NoSuchOption(error.option_name, possibilities=shown, ctx=error.ctx)


@click.group(
    cls=_CommandLine,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(package_name="taskmanager-streams", prog_name="taskmanager")
def cli() -> None:
    """Background jobs on Redis Streams.

    MODULE:ATTR names a TaskManager, or a function without arguments that returns one. You can put
    --url, --namespace and --app before the command or after it.
    """
    check_packages()


cli.add_command(dev)
cli.add_command(worker)
cli.add_command(emit)
cli.add_command(queues)
cli.add_command(jobs)
cli.add_command(workers)
cli.add_command(routes)
cli.add_command(schedules)
cli.add_command(dlq)
addresses.add_to(cli)


def main(arguments: Sequence[str] | None = None, *, prog_name: str = "taskmanager") -> None:
    """Run the command line of this process, or `arguments`, and end with one of the exit codes."""
    last_word = LastWord()
    try:
        with arriving():
            cli(arguments, prog_name=prog_name)
    except SystemExit as end:
        last_word.code = end.code if isinstance(end.code, int) else FAILURE
        raise
    except KeyboardInterrupt:
        last_word.code = INTERRUPTED
        sys.exit(INTERRUPTED)
    except BaseException:
        last_word.code = FAILURE
        raise
