"""The command `workers`: the live workers of a queue, and what they can do."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from taskmanager.cli import parameters
from taskmanager.cli.exits import FAILURE, Exit
from taskmanager.cli.objects import as_json, worker_object
from taskmanager.cli.output import brief, fields, table
from taskmanager.cli.session import answer

if TYPE_CHECKING:
    from consumers.admin.workers import WorkerInfo
    from taskmanager.manager import TaskManager

_COLUMNS = (
    "name", "type", "capabilities", "levels", "region", "running", "slots", "events", "stopping",
)  # fmt: skip
# The width of a list of names, which shares a line with eight columns.
_NAMES = 40


@click.group()
def workers() -> None:
    """List and show the live workers of a queue."""


@workers.command("ls")
@parameters.queue
@parameters.as_array
@click.pass_context
def ls(context: click.Context, queue: str, as_array: bool) -> None:
    """List live workers: what they can do, and how busy they are.

    A worker that was killed is listed for up to a minute.
    """
    found = answer(context, lambda tm: tm.workers(queue))
    if as_array:
        click.echo(as_json([worker_object(info) for info in found]))
    elif found:
        click.echo(table(_COLUMNS, [_line(info) for info in found]))
    else:
        click.echo(f"there are no live workers in queue {queue!r}", err=True)


@workers.command("show")
@click.argument("name", metavar="NAME-OR-ID")
@parameters.queue
@parameters.as_object
@click.pass_context
def show(context: click.Context, name: str, queue: str, as_object: bool) -> None:
    """Show everything known about a live worker."""
    info = answer(context, lambda tm: _one(tm, name, queue))
    click.echo(as_json(worker_object(info)) if as_object else _shown(info))


async def _one(tm: TaskManager[Any], name: str, queue: str) -> WorkerInfo:
    there = await tm.workers(queue)
    found = [it for it in there if name in (it.id, it.name)]
    if len(found) > 1:
        ids = ", ".join(it.id for it in found)
        raise Exit(
            f"{len(found)} workers have the name {name!r}: give the id of one: {ids}", FAILURE
        )
    if not found:
        raise Exit(_no_worker(name, queue, there), FAILURE)
    return found[0]


def _no_worker(name: str, queue: str, there: list[WorkerInfo]) -> str:
    names = ", ".join(dict.fromkeys(it.name for it in there))
    known = f"its workers are: {names}" if names else "it has none"
    return (
        f"there is no live worker {name!r} in queue {queue!r}; {known}. "
        "-q QUEUE selects another queue"
    )


def _line(info: WorkerInfo) -> tuple[object, ...]:
    return (
        info.name,
        info.type,
        _brief(info.capabilities),
        _levels(info),
        info.region,
        info.running,
        info.slots,
        _brief(info.events),
        _stopping(info),
    )


def _shown(info: WorkerInfo) -> str:
    return fields(
        [
            ("id", info.id),
            ("name", info.name),
            ("type", info.type),
            ("capabilities", ", ".join(info.capabilities) or None),
            ("levels", _levels(info)),
            ("region", info.region),
            ("slots", info.slots),
            ("running", info.running),
            ("events", ", ".join(info.events) or None),
            ("stopping", _stopping(info)),
            ("host", info.host),
            # A number with commas would be no process id.
            ("pid", None if info.pid is None else str(info.pid)),
            ("version", info.version),
            ("started_at", info.started_at),
            ("seen_at", info.seen_at),
        ]
    )


def _brief(names: tuple[str, ...]) -> str | None:
    return brief(", ".join(names), _NAMES) if names else None


def _levels(info: WorkerInfo) -> str:
    return "all" if info.levels is None else ", ".join(map(str, info.levels))


def _stopping(info: WorkerInfo) -> str | None:
    return "yes" if info.stopping else None
