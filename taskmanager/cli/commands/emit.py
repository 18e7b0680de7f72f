"""The command `emit`: put a job into a queue from a shell."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import click

from taskmanager.cli import parameters
from taskmanager.cli.exits import USAGE, Exit, reported
from taskmanager.cli.session import manager
from taskmanager.cli.units import duration, milliseconds
from taskmanager.escapes import escaped

F = TypeVar("F", bound=Callable[..., Any])

if TYPE_CHECKING:
    from taskmanager.handles.handle import JobHandle
    from taskmanager.manager import TaskManager


def _names(option: str, *, help: str) -> Callable[[F], F]:
    return click.option(
        option,
        multiple=True,
        callback=parameters.names_in,
        metavar="NAMES",
        help=f"{help} Separated by commas; may be repeated.",
    )


@click.command()
@click.argument("event")
@click.option("--data", metavar="JSON", help="The payload. - reads it from stdin.  [default: {}]")
@parameters.queue
@click.option("--id", "job_id", help="The job's id.  [default: a hash of event and data]")
@click.option("--priority", type=int, help="-100 to 100; higher runs first.  [default: 0]")
@click.option(
    "--partition",
    default="default",
    show_default=True,
    help="Partition of the queue; every partition has its own lane.",
)
@click.option("--type", metavar="NAME", help="Type of worker to run it.  [default: workers]")
@_names("--requires", help="Capabilities that its worker must have.")
@_names("--only", help="Workers that may run it, by name.")
@_names("--anti-affinity", help="Workers that may not run it, by name.")
@click.option("--region", metavar="NAME", help="Region of its worker.  [default: any]")
@click.option(
    "--reject-unroutable", is_flag=True, help="Fail if no live worker may run the job now."
)
@click.option("--delay", type=duration, metavar="DURATION", help="Delay before the job may start.")
@click.option("--max-retries", type=int, metavar="N", help="Maximum number of retries.")
@click.option("--timeout", type=duration, metavar="DURATION", help="Longest duration of one run.")
@click.option(
    "--idempotency-key",
    metavar="TEXT",
    help="Add at most one job per key, until 24 h after it ends.",
)
@click.option(
    "--debounce",
    type=milliseconds,
    metavar="DURATION",
    help="Combine emits within this window into one run: 500ms, or 2 for two seconds.",
)
@click.option(
    "--debounce-key", metavar="TEXT", help="Combine emits with the same key.  [default: the id]"
)
@click.option(
    "--debounce-max-wait",
    type=duration,
    metavar="DURATION",
    help="Run no later than this after the first emit.  [default: 10 windows]",
)
@click.option(
    "--debounce-mode",
    type=click.Choice(["trailing", "leading"]),
    help="Run after the last emit, or run the first emit at once.  [default: trailing]",
)
@click.option("--no-deduplicate", is_flag=True, help="Add the job even if an equal one is live.")
@click.option(
    "--json", "as_json", is_flag=True, help="Print a JSON object with id, queue and created."
)
@click.pass_context
def emit(
    context: click.Context,
    /,
    event: str,
    data: str | None,
    queue: str,
    job_id: str | None,
    no_deduplicate: bool,
    as_json: bool,
    **given: Any,
) -> None:
    """Emit a job and print its id.

    If an existing job takes its place (the id is live, the idempotency key is taken, or the emit
    is debounced), the command prints the id of that job, and a note on stderr. A DURATION is in
    seconds, or has a unit: 500ms, 5s, 5m, 2h, 7d.

    No app is needed. If you name one, its settings apply, its handlers check the data, and the
    command warns you if none of them handles the event.
    """
    # The remaining options have the names of emit's arguments; None is not given.
    options: dict[str, Any] = {"queue": queue, "id": job_id, **given}
    if no_deduplicate:
        options["deduplicate"] = False
    if data is not None:
        options["data"] = _parse(data)
    import asyncio

    with reported():
        handle = asyncio.run(_emit(_with_handlers(manager(context)), event, options))
    click.echo(_shown(handle, as_json))
    if not handle.created and not as_json:
        click.echo(_why_not_added(job_id, given), err=True)


def _why_not_added(job_id: str | None, given: dict[str, Any]) -> str:
    if given["debounce"] is not None:
        return "the emit was debounced; this job runs once for the whole burst of emits"
    if given["idempotency_key"] is not None:
        return "a job with this idempotency key or id already exists; nothing was added"
    if job_id is None:
        return "an equal job is live; nothing was added. --no-deduplicate adds another one"
    return "a job with this id is live; nothing was added"


def _parse(data: str) -> Any:
    text = sys.stdin.read() if data == "-" else data
    try:
        return json.loads(text)
    except ValueError as error:
        raise Exit(
            f"--data is not JSON: {error}. Write for example --data '{{\"n\": 1}}'", USAGE
        ) from None


def _with_handlers(tm: TaskManager[Any]) -> TaskManager[Any]:
    """Import the handlers' modules. One that only workers can import is skipped."""
    from taskmanager.cli.loading import import_what_is_here

    for reason in import_what_is_here(tm):
        click.echo(
            "some handlers could not be imported, so data for their events is not checked: "
            + reason,
            err=True,
        )
    return tm


async def _emit(tm: TaskManager[Any], event: str, options: dict[str, Any]) -> JobHandle:
    async with tm:
        return await tm.emit(event, **options)


def _shown(handle: JobHandle, as_json: bool) -> str:
    if as_json:
        return json.dumps({"id": handle.id, "queue": handle.queue, "created": handle.created})
    return escaped(handle.id)
