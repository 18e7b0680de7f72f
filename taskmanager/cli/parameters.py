"""Arguments and options that several commands share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import click

from taskmanager.cli.units import duration

F = TypeVar("F", bound=Callable[..., Any])

job_id = click.argument("job_id", metavar="ID")
queue = click.option(
    "-q", "--queue", default="default", show_default=True, help="Name of the queue."
)
yes = click.option("--yes", is_flag=True, help="Do not ask for confirmation.")
as_object = click.option("--json", "as_object", is_flag=True, help="Print a JSON object.")
as_array = click.option("--json", "as_array", is_flag=True, help="Print a JSON array.")
watch = click.option(
    "--watch",
    "folders",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    multiple=True,
    help="Watch this folder; may be repeated.  [default: the working directory]",
)


def names_in(
    context: click.Context, parameter: click.Parameter, given: Sequence[str]
) -> list[str] | None:
    """Return the names in an option that may be repeated, or None if it was not used."""
    if not given:
        return None
    return [name for text in given for part in text.split(",") if (name := part.strip())]


_OF_A_WORKER = (
    click.argument("target", metavar="[MODULE:ATTR]", required=False),
    click.option(
        "-c",
        "--concurrency",
        type=int,
        help="Jobs to run at a time, per process.  [default: the app's, then 1]",
    ),
    click.option(
        "-q",
        "--queues",
        help="Queues to read, separated by commas.  [default: all queues with a handler]",
    ),
    click.option("--name", help="A stable name for the worker, for logs and metrics."),
    click.option("--type", metavar="NAME", help="Type of worker.  [default: workers]"),
    click.option(
        "--capability",
        "capabilities",
        multiple=True,
        callback=names_in,
        metavar="NAMES",
        help="What this worker can do, separated by commas; may be repeated.  "
        "[default: the app's, then none]",
    ),
    click.option(
        "--level",
        "levels",
        multiple=True,
        metavar="PRIORITIES",
        help="Take jobs of these priorities only, separated by commas; may be repeated.  "
        "[default: all]",
    ),
    click.option("--region", metavar="NAME", help="Where this worker is."),
    click.option(
        "--prefetch",
        type=int,
        metavar="N",
        help="Jobs to hold per process beside those that run; 0 for none.  [default: automatic]",
    ),
    click.option(
        "--connect-timeout",
        type=duration,
        metavar="DURATION",
        help="How long to wait for Redis at startup, in seconds or as 500ms, 30s, 5m.  "
        "[default: the app's, then 30]",
    ),
    click.option(
        "--log-level",
        type=click.Choice(["debug", "info", "warning", "error"]),
        help="Level of the lines of taskmanager itself.  [default: info, with one line per job]",
    ),
    click.option("-v", "--verbose", is_flag=True, help="Same as --log-level debug."),
    click.option("--quiet", is_flag=True, help="Same as --log-level warning: no line per job."),
    click.option(
        "--log-format",
        type=click.Choice(["console", "json"]),
        default="console",
        show_default=True,
        help="Lines for people, or JSON for machines.",
    ),
    # What the process that starts a worker passes to it; assignment.py explains them.
    click.option("--index", type=int, hidden=True),
    click.option("--again", is_flag=True, hidden=True),
    click.option("--reloaded", is_flag=True, hidden=True),
    click.option("--redis", hidden=True),
    click.option("--ready-fd", type=int, hidden=True),
    click.option("--parent", type=int, hidden=True),
)


def of_a_worker(function: F) -> F:
    """Add the argument and the options that every worker command has."""
    for parameter in reversed(_OF_A_WORKER):
        function = parameter(function)
    return function
