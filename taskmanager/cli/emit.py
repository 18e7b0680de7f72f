"""``emit``: put a job into a queue from a shell."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

import click

from taskmanager.cli.exits import USAGE, Exit, reported

if TYPE_CHECKING:
    from taskmanager.handle import JobHandle
    from taskmanager.manager import TaskManager

# A person is waiting: two seconds tell a slow Redis from none.
EMIT_TIMEOUT_S = 2.0


@click.command()
@click.argument("event")
@click.option("--data", metavar="JSON", help="The payload; - reads it from stdin.  [default: {}]")
@click.option("-q", "--queue", default="default", show_default=True)
@click.option("--id", "job_id", help="The job's id.  [default: a hash of event and data]")
@click.option("--priority", type=int, help="-100 to 100, higher runs first.  [default: 0]")
@click.option("--partition", default="default", show_default=True)
@click.option("--json", "as_json", is_flag=True, help="Print id, queue and created as one object.")
@click.pass_context
def emit(
    context: click.Context,
    event: str,
    data: str | None,
    queue: str,
    job_id: str | None,
    priority: int | None,
    partition: str,
    as_json: bool,
) -> None:
    """Emit a job and print its id.

    A job whose id is live already is not added again: its id is printed, and a
    note on stderr. No app is needed; with --app its settings are used.
    """
    options: dict[str, Any] = {
        "queue": queue,
        "id": job_id,
        "priority": priority,
        "partition": partition,
    }
    if data is not None:
        options["data"] = _parse(data)
    import asyncio

    with reported():
        handle = asyncio.run(_emit(_manager(context), event, options))
    click.echo(_shown(handle, as_json))
    if not handle.created and not as_json:
        click.echo("a job with this id was live already; nothing was added", err=True)


def _parse(data: str) -> Any:
    text = sys.stdin.read() if data == "-" else data
    try:
        return json.loads(text)
    except ValueError as error:
        raise Exit(
            f"--data is not JSON: {error}. Give for example --data '{{\"n\": 1}}'", USAGE
        ) from None


def _manager(context: click.Context) -> TaskManager[Any]:
    from taskmanager.cli.loading import load
    from taskmanager.manager import TaskManager

    app = context.meta["app"]
    tm = load(app) if app else TaskManager()
    tm.configure(**context.obj, emit_timeout=EMIT_TIMEOUT_S)
    return tm


async def _emit(tm: TaskManager[Any], event: str, options: dict[str, Any]) -> JobHandle:
    async with tm:
        return await tm.emit(event, **options)


def _shown(handle: JobHandle, as_json: bool) -> str:
    if as_json:
        return json.dumps({"id": handle.id, "queue": handle.queue, "created": handle.created})
    return handle.id
