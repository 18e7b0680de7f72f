"""The command `queues`: what is in the queues, and whether their jobs start."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from taskmanager.cli import parameters
from taskmanager.cli.exits import FAILURE, Exit
from taskmanager.cli.objects import as_json, plain, queue_object
from taskmanager.cli.output import age_of, brief, fields, table
from taskmanager.cli.session import answer

if TYPE_CHECKING:
    from consumers.admin.explanation import ReasonCount
    from consumers.admin.figures import QueueStats
    from taskmanager.manager import TaskManager

_COLUMNS = ("queue", "waiting", "delayed", "active", "dead", "completed", "oldest", "paused")
_REASON_COLUMNS = ("reason", "jobs", "example", "why")
_LANE_COLUMNS = ("lane", "waiting", "active", "oldest")
# The width of the names of paused events, which share a line with eight columns.
_EVENTS = 40


@click.group()
def queues() -> None:
    """List, show, explain, pause and resume queues."""


@queues.command("ls")
@parameters.as_array
@click.pass_context
def ls(context: click.Context, as_array: bool) -> None:
    """List queues: job counts, and how long the oldest job waits."""
    found = answer(context, _all)
    if as_array:
        click.echo(as_json([queue_object(name, stats) for name, stats in found]))
    elif found:
        click.echo(table(_COLUMNS, [_line(name, stats) for name, stats in found]))
    else:
        click.echo("there are no queues yet", err=True)


@queues.command("show")
@click.argument("queue")
@parameters.as_object
@click.pass_context
def show(context: click.Context, queue: str, as_object: bool) -> None:
    """Show the job counts of one queue and of its lanes."""
    stats = answer(context, lambda tm: _one(tm, queue))
    click.echo(as_json(queue_object(queue, stats)) if as_object else _shown(queue, stats))


@queues.command("explain")
@click.argument("queue", default="default")
@parameters.as_object
@click.pass_context
def explain(context: click.Context, queue: str, as_object: bool) -> None:
    """Explain why the jobs of a queue wait.

    Lists each reason with the number of jobs and one of them as an example. At most 500 waiting
    and delayed jobs are looked at.
    """
    found = answer(context, lambda tm: tm.explain_queue(queue))
    if as_object:
        click.echo(as_json({"queue": queue, **plain(found)}))
        return
    if found.reasons:
        click.echo(table(_REASON_COLUMNS, [_reason(it) for it in found.reasons]))
    else:
        click.echo(f"no job of queue {queue!r} waits", err=True)
    if found.looked_at < found.jobs:
        click.echo(f"looked at {found.looked_at:,} of {found.jobs:,} jobs", err=True)
    if found.more_lanes:
        click.echo(f"did not look at the jobs in {found.more_lanes:,} other lanes", err=True)


@queues.command("pause")
@click.argument("queue")
@click.option("--event", metavar="EVENT", help="Pause only the jobs of this event.")
@click.option("--wait", is_flag=True, help="Return once every live worker has paused.")
@click.pass_context
def pause(context: click.Context, queue: str, event: str | None, wait: bool) -> None:
    """Pause a queue or an event.

    Running jobs finish, emits are accepted, and no other job starts. With --wait, no job starts
    once the command has returned. It may have to wait for a worker that is suspended or cut off:
    such a worker counts as dead one minute after its last heartbeat.
    """
    known = answer(context, lambda tm: _pause(tm, queue, event, wait=wait))
    click.echo(f"{_named(queue, event)} is paused")
    if not known:
        click.echo(f"queue {queue!r} does not exist yet: it will start paused", err=True)


@queues.command("resume")
@click.argument("queue")
@click.option("--event", metavar="EVENT", help="Resume only this event.")
@click.pass_context
def resume(context: click.Context, queue: str, event: str | None) -> None:
    """Resume a paused queue or event. Events that were paused on their own stay paused."""
    stats = answer(context, lambda tm: _resume(tm, queue, event))
    click.echo(f"{_named(queue, event)} is resumed")
    for note in _still_paused(stats, queue, event):
        click.echo(note, err=True)


async def _all(tm: TaskManager[Any]) -> list[tuple[str, QueueStats]]:
    return [(name, await tm.stats(name)) for name in await tm.queue_names()]


async def _one(tm: TaskManager[Any], queue: str) -> QueueStats:
    stats = await tm.stats(queue)
    names = await tm.queue_names()
    if queue not in names:
        there = f"the queues are: {', '.join(names)}" if names else "there are no queues yet"
        raise Exit(f"there is no queue {queue!r}; {there}", FAILURE)
    return stats


async def _pause(tm: TaskManager[Any], queue: str, event: str | None, *, wait: bool) -> bool:
    """Pause; return whether there is such a queue."""
    await tm.pause(queue, event=event, wait=wait)
    return queue in await tm.queue_names()


async def _resume(tm: TaskManager[Any], queue: str, event: str | None) -> QueueStats:
    await tm.resume(queue, event=event)
    return await tm.stats(queue)


def _named(queue: str, event: str | None) -> str:
    return f"queue {queue!r}" if event is None else f"event {event!r} of queue {queue!r}"


def _still_paused(stats: QueueStats, queue: str, event: str | None) -> list[str]:
    if event is not None:
        return [f"the whole queue {queue!r} is still paused"] if stats.paused else []
    return [f"event {name!r} is still paused" for name in stats.paused_events]


def _paused(stats: QueueStats) -> str | None:
    return "all" if stats.paused else ", ".join(stats.paused_events) or None


def _line(name: str, stats: QueueStats) -> tuple[object, ...]:
    return (
        name,
        stats.waiting,
        stats.delayed,
        stats.active,
        stats.dead,
        stats.completed_total,
        age_of(stats.oldest_waiting_ms),
        None if (paused := _paused(stats)) is None else brief(paused, _EVENTS),
    )


def _reason(count: ReasonCount) -> tuple[object, ...]:
    return count.reason, count.jobs, count.example, count.sentence


def _shown(queue: str, stats: QueueStats) -> str:
    figures = queue_object(queue, stats)
    lanes, oldest = figures.pop("lanes"), figures.pop("oldest_waiting_ms")
    figures["paused"] = "all" if stats.paused else None
    figures["paused_events"] = ", ".join(stats.paused_events) or None
    text = fields([*figures.items(), ("oldest waiting", age_of(oldest))])
    if not lanes:
        return text
    rows = [(it.name, it.waiting, it.active, age_of(it.oldest_waiting_ms)) for it in stats.lanes]
    return f"{text}\n\n{table(_LANE_COLUMNS, rows)}"
