"""The command `schedules`: what fires when, and how to change it."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click

from taskmanager.cli import parameters
from taskmanager.cli.asking import confirm, needs_a_person
from taskmanager.cli.exits import FAILURE, Exit
from taskmanager.cli.objects import as_json, schedule_object
from taskmanager.cli.output import table, time_of
from taskmanager.cli.session import answer
from taskmanager.escapes import escaped

if TYPE_CHECKING:
    from taskmanager.handles.handle import JobHandle
    from taskmanager.handles.info import ScheduleInfo
    from taskmanager.manager import TaskManager

_COLUMNS = ("name", "queue", "event", "pattern", "tz", "next", "last", "paused")
_MOST_FIRES = 1000


@click.group()
def schedules() -> None:
    """List, run, pause, resume and remove schedules."""


@schedules.command("ls")
@click.option("-q", "--queue", help="Only the schedules of this queue.")
@parameters.as_array
@click.pass_context
def ls(context: click.Context, queue: str | None, as_array: bool) -> None:
    """List schedules with their fire times, and why one is paused."""
    found = answer(context, lambda tm: tm.schedules(queue))
    if as_array:
        click.echo(as_json([schedule_object(info) for info in found]))
    elif found:
        click.echo(table(_COLUMNS, [_line(info) for info in found]))
    else:
        where = "" if queue is None else f" in queue {queue!r}"
        click.echo(f"there are no schedules{where}", err=True)


@schedules.command("next")
@click.argument("name")
@parameters.queue
@click.option(
    "-n",
    "count",
    type=click.IntRange(1, _MOST_FIRES),
    default=5,
    show_default=True,
    help="How many fire times to print.",
)
@parameters.as_array
@click.pass_context
def next_(context: click.Context, name: str, queue: str, count: int, as_array: bool) -> None:
    """Print the next fire times of a schedule.

    Each is printed in UTC and in the time zone of the schedule.
    """
    info = answer(context, lambda tm: _one(tm, name, queue))
    fires = _fires(info, count)
    if as_array:
        click.echo(as_json(fires))
        return
    for fire in fires:
        click.echo(_by_both_clocks(fire, info.tz))
    if info.paused is not None:
        click.echo(f"the schedule is paused and does not fire ({escaped(info.paused)})", err=True)


@schedules.command("run")
@click.argument("name")
@parameters.queue
@click.option(
    "--json", "as_object", is_flag=True, help="Print a JSON object with id, queue and created."
)
@click.pass_context
def run(context: click.Context, name: str, queue: str, as_object: bool) -> None:
    """Emit the job of a schedule now, even if it is paused. Its fire times do not change."""
    handle = answer(context, lambda tm: _run(tm, name, queue), storing=True)
    if as_object:
        found = {"id": handle.id, "queue": handle.queue, "created": handle.created}
        click.echo(as_json(found))
    else:
        click.echo(escaped(handle.id))


@schedules.command("pause")
@click.argument("name")
@parameters.queue
@click.pass_context
def pause(context: click.Context, name: str, queue: str) -> None:
    """Stop a schedule from firing until it is resumed. Jobs it has emitted still run."""
    answer(context, lambda tm: _pause(tm, name, queue))
    click.echo(f"schedule {name!r} of queue {queue!r} is paused")


@schedules.command("resume")
@click.argument("name")
@parameters.queue
@click.pass_context
def resume(context: click.Context, name: str, queue: str) -> None:
    """Resume a schedule at its next fire time. Fire times that passed in the pause are skipped."""
    info = answer(context, lambda tm: _resume(tm, name, queue))
    click.echo(f"schedule {name!r} of queue {queue!r} is resumed")
    for fire in info.next_fires[:1]:
        click.echo(f"it next fires at {_by_both_clocks(fire, info.tz)}", err=True)


@schedules.command("rm")
@click.argument("name")
@parameters.queue
@parameters.yes
@click.pass_context
def rm(context: click.Context, name: str, queue: str, yes: bool) -> None:
    """Remove a schedule. To stop the schedule of a handler, pause it: workers register it again."""
    needs_a_person(yes)
    info = answer(context, lambda tm: _one(tm, name, queue))
    confirm(f"Remove schedule {name!r} of queue {queue!r} ({info.pattern})?", yes)
    if not answer(context, lambda tm: tm.schedule(name, queue).remove()):
        raise _no_schedule(name, queue)
    click.echo(f"schedule {name!r} of queue {queue!r} is removed")
    if info.source == "handler":
        click.echo("its handler's workers will register it again: to stop it, pause it", err=True)


async def _one(tm: TaskManager[Any], name: str, queue: str) -> ScheduleInfo:
    info = await tm.schedule(name, queue).info()
    if info is None:
        raise _no_schedule(name, queue)
    return info


async def _run(tm: TaskManager[Any], name: str, queue: str) -> JobHandle:
    await _one(tm, name, queue)
    return await tm.schedule(name, queue).run()


async def _pause(tm: TaskManager[Any], name: str, queue: str) -> None:
    if not await tm.schedule(name, queue).pause():
        raise _no_schedule(name, queue)


async def _resume(tm: TaskManager[Any], name: str, queue: str) -> ScheduleInfo:
    if not await tm.schedule(name, queue).resume():
        raise _no_schedule(name, queue)
    return await _one(tm, name, queue)


def _no_schedule(name: str, queue: str) -> Exit:
    return Exit(
        f"there is no schedule {name!r} in queue {queue!r}: 'schedules ls' lists them, "
        "-q QUEUE selects another queue",
        FAILURE,
    )


def _fires(info: ScheduleInfo, count: int) -> list[datetime]:
    """Return the next fire times: the first few are known, the pattern gives the rest."""
    from processors.schedules.spec import spec_of

    fires = info.next_fires[:count]
    if not fires:
        return []
    last = round(fires[-1].timestamp() * 1000)
    more = spec_of(info.pattern, info.tz).upcoming(last, count - len(fires))
    return [*fires, *(datetime.fromtimestamp(ms / 1000, UTC) for ms in more)]


def _by_both_clocks(fire: datetime, tz: str) -> str:
    from zoneinfo import ZoneInfo

    if tz == "UTC":
        return time_of(fire)
    return f"{time_of(fire)}  {fire.astimezone(ZoneInfo(tz)):%Y-%m-%d %H:%M:%S %z} {tz}"


def _line(info: ScheduleInfo) -> tuple[object, ...]:
    return (
        info.name,
        info.queue,
        info.event,
        info.pattern,
        info.tz,
        info.next_fires[0] if info.next_fires else None,
        info.last_fired,
        info.paused,
    )
