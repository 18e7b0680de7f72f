"""The command `routes`: what jobs require of workers, and which workers may run them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from taskmanager.cli import parameters
from taskmanager.cli.exits import FAILURE, Exit
from taskmanager.cli.objects import as_json, route_object
from taskmanager.cli.output import brief, fields, table
from taskmanager.cli.session import answer

if TYPE_CHECKING:
    from consumers.admin.routes import RouteInfo
    from taskmanager.manager import TaskManager

_COLUMNS = ("name", "event", "requires", "waiting", "running", "able")
# The width of requirements, and of names of workers, which share a line with four columns.
_NAMES = 40
_UNKNOWN = "unknown"
_WHY_UNKNOWN = "its definition is missing, or another program or a newer version wrote it"


@click.group()
def routes() -> None:
    """List and show the routes of a queue.

    Jobs have a route if they require more of a worker than its type.
    """


@routes.command("ls")
@parameters.queue
@parameters.as_array
@click.pass_context
def ls(context: click.Context, queue: str, as_array: bool) -> None:
    """List routes: requirements, job counts, and workers that may run them."""
    found = answer(context, lambda tm: tm.routes(queue))
    if as_array:
        click.echo(as_json([route_object(info) for info in found]))
    elif found:
        click.echo(table(_COLUMNS, [_line(info) for info in found]))
    else:
        click.echo(f"there are no routes in queue {queue!r}", err=True)


@routes.command("show")
@click.argument("name")
@parameters.queue
@parameters.as_object
@click.pass_context
def show(context: click.Context, name: str, queue: str, as_object: bool) -> None:
    """Show a route: requirements, lanes, and workers that may run its jobs."""
    info = answer(context, lambda tm: _one(tm, name, queue))
    click.echo(as_json(route_object(info)) if as_object else _shown(info))


async def _one(tm: TaskManager[Any], name: str, queue: str) -> RouteInfo:
    there = await tm.routes(queue)
    for info in there:
        if info.name == name:
            return info
    names = ", ".join(it.name for it in there)
    known = f"its routes are: {names}" if names else "it has none"
    raise Exit(
        f"there is no route {name!r} in queue {queue!r}; {known}. -q QUEUE selects another queue",
        FAILURE,
    )


def _line(info: RouteInfo) -> tuple[object, ...]:
    return (
        info.name,
        _UNKNOWN if info.event is None else info.event,
        _brief(_requirements(info)),
        info.waiting,
        info.running,
        _brief(", ".join(info.able)),
    )


def _requirements(info: RouteInfo) -> str:
    """Return all that a route requires beside the type, in one line."""
    parts = [
        ", ".join(info.requires),
        f"region {info.region}" if info.region else "",
        f"only {', '.join(info.only)}" if info.only else "",
        f"not {', '.join(info.anti_affinity)}" if info.anti_affinity else "",
    ]
    return "; ".join(filter(None, parts))


def _shown(info: RouteInfo) -> str:
    return fields(
        [
            ("name", info.name),
            ("type", info.type),
            ("event", f"{_UNKNOWN}: {_WHY_UNKNOWN}" if info.event is None else info.event),
            ("requires", ", ".join(info.requires) or None),
            ("only", ", ".join(info.only) or None),
            ("anti_affinity", ", ".join(info.anti_affinity) or None),
            ("region", info.region),
            ("waiting", info.waiting),
            ("running", info.running),
            ("able", ", ".join(info.able) or "no live worker"),
            ("lanes", ", ".join(info.lanes) or None),
        ]
    )


def _brief(text: str) -> str | None:
    return brief(text, _NAMES) if text else None
