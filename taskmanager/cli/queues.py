"""``queues``: what is in the queues."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from taskmanager.cli.exits import FAILURE, Exit
from taskmanager.cli.objects import as_json, queue_object
from taskmanager.cli.output import age_of, fields, table
from taskmanager.cli.session import answer

if TYPE_CHECKING:
    from consumers.inspector import QueueStats
    from taskmanager.manager import TaskManager

_COLUMNS = ("queue", "waiting", "delayed", "active", "dead", "completed", "oldest")
_LANE_COLUMNS = ("lane", "waiting", "active", "oldest")


@click.group()
def queues() -> None:
    """Look at queues."""


@queues.command("ls")
@click.option("--json", "as_array", is_flag=True, help="Print one array.")
@click.pass_context
def ls(context: click.Context, as_array: bool) -> None:
    """List the queues with how many jobs are where, and since when the oldest waits."""
    found = answer(context, _all)
    if as_array:
        click.echo(as_json([queue_object(name, stats) for name, stats in found]))
    elif found:
        click.echo(table(_COLUMNS, [_line(name, stats) for name, stats in found]))
    else:
        click.echo("there are no queues yet", err=True)


@queues.command("show")
@click.argument("queue")
@click.option("--json", "as_object", is_flag=True, help="Print one object.")
@click.pass_context
def show(context: click.Context, queue: str, as_object: bool) -> None:
    """Show the figures of one queue and of its lanes."""
    stats = answer(context, lambda tm: _one(tm, queue))
    click.echo(as_json(queue_object(queue, stats)) if as_object else _shown(queue, stats))


async def _all(tm: TaskManager[Any]) -> list[tuple[str, QueueStats]]:
    return [(name, await tm.stats(name)) for name in await tm.queue_names()]


async def _one(tm: TaskManager[Any], queue: str) -> QueueStats:
    stats = await tm.stats(queue)
    names = await tm.queue_names()
    if queue not in names:
        there = f"there are: {', '.join(names)}" if names else "there are none yet"
        raise Exit(f"there is no queue {queue!r}; {there}", FAILURE)
    return stats


def _line(name: str, stats: QueueStats) -> tuple[object, ...]:
    return (
        name,
        stats.waiting,
        stats.delayed,
        stats.active,
        stats.dead,
        stats.completed_total,
        age_of(stats.oldest_waiting_ms),
    )


def _shown(queue: str, stats: QueueStats) -> str:
    figures = queue_object(queue, stats)
    lanes, oldest = figures.pop("lanes"), figures.pop("oldest_waiting_ms")
    text = fields([*figures.items(), ("oldest waiting", age_of(oldest))])
    if not lanes:
        return text
    rows = [(it.name, it.waiting, it.active, age_of(it.oldest_waiting_ms)) for it in stats.lanes]
    return f"{text}\n\n{table(_LANE_COLUMNS, rows)}"
