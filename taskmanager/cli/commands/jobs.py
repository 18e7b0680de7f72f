"""The command `jobs`: what became of a job, why it waits, what it wrote, and how to cancel it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

import click

from taskmanager.cli import parameters
from taskmanager.cli.exits import FAILURE, Exit
from taskmanager.cli.objects import as_json, happened, job_object, line_object, plain
from taskmanager.cli.output import age_of, data, fields, section, table, time_of
from taskmanager.cli.session import answer
from taskmanager.escapes import escaped

if TYPE_CHECKING:
    from taskmanager.handles.info import JobInfo, LogLine, Progress
    from taskmanager.manager import TaskManager

_FIELDS = (
    "id", "queue", "event", "state", "reason", "run", "priority", "partition", "attempts",
    "deliveries", "worker", "created_at", "due_at", "started_at", "last_started_at",
    "finished_at",
)  # fmt: skip


@click.group()
def jobs() -> None:
    """Show jobs and their logs, explain why they wait, and cancel jobs."""


@jobs.command("show")
@parameters.job_id
@parameters.queue
@parameters.as_object
@click.pass_context
def show(context: click.Context, job_id: str, queue: str, as_object: bool) -> None:
    """Show everything known about a job.

    That is its state, times, data, errors, result and progress. A finished job is kept for
    result_ttl (300 s), a dead one as long as its dead letter. The data of a finished job is kept
    only if its handler has keep_data=True.
    """
    info, progress = answer(context, lambda tm: _job(tm, queue, job_id))
    click.echo(as_json(job_object(info, progress)) if as_object else _shown(info, progress))


@jobs.command("explain")
@parameters.job_id
@parameters.queue
@parameters.as_object
@click.pass_context
def explain(context: click.Context, job_id: str, queue: str, as_object: bool) -> None:
    """Explain why a job is not running, or what it is doing.

    The first line is the reason; the others are what else applies to the job. The exit code is 1
    if the job is not known.
    """
    found = answer(context, lambda tm: tm.explain(job_id, queue))
    if as_object:
        click.echo(as_json({"id": job_id, "queue": queue, **plain(found)}))
    elif found.reason != "unknown":
        rows = [(it.reason, it.sentence) for it in (found, *found.details)]
        click.echo(table(("reason", "why"), rows))
    if found.reason == "unknown":
        raise Exit(f"job {job_id!r} {found.sentence}. -q QUEUE selects another queue", FAILURE)


@jobs.command("logs")
@parameters.job_id
@parameters.queue
@parameters.as_array
@click.pass_context
def logs(context: click.Context, job_id: str, queue: str, as_array: bool) -> None:
    """Print the last 1,000 lines that a job wrote, oldest first.

    A handler writes them with job.logger.
    """
    lines = answer(context, lambda tm: _lines(tm, queue, job_id))
    if as_array:
        click.echo(as_json([line_object(line) for line in lines]))
        return
    for line in lines:
        click.echo(f"{time_of(line.at)}  {escaped(line.message)}")


_WHY = {
    "too_late": "it has ended or does not exist. -q QUEUE selects another queue",
    "newer_version": "a newer version of taskmanager holds it; cancel it with that version",
}


@jobs.command("cancel")
@parameters.job_id
@parameters.queue
@parameters.as_object
@click.pass_context
def cancel(context: click.Context, job_id: str, queue: str, as_object: bool) -> None:
    """Cancel a job that has not ended, and print the outcome.

    cancelled: the job was waiting and will not run. requested: the job is running, and its worker
    was asked to stop it; it can only end as cancelled. too_late: the job has ended or does not
    exist. newer_version: only a newer version of taskmanager can reach the job. The exit code is 1
    for the last two.
    """
    outcome = answer(context, lambda tm: tm.handle(job_id, queue).cancel())
    if as_object:
        click.echo(as_json({"id": job_id, "queue": queue, "outcome": str(outcome)}))
    else:
        click.echo(str(outcome))
    if not outcome:
        raise Exit(
            f"job {job_id!r} of queue {queue!r} was not cancelled: {_WHY[str(outcome)]}", FAILURE
        )


async def _job(tm: TaskManager[Any], queue: str, job_id: str) -> tuple[JobInfo, Progress | None]:
    info = await tm.get_job(job_id, queue)
    if info is None:
        raise _no_job(job_id, queue)
    return info, await tm.handle(job_id, queue).progress()


async def _lines(tm: TaskManager[Any], queue: str, job_id: str) -> Sequence[LogLine]:
    lines = await tm.handle(job_id, queue).logs()
    # A log is kept longer than its job: an unknown job is an error only without a log.
    if not lines and await tm.get_job(job_id, queue) is None:
        raise _no_job(job_id, queue)
    return lines


def _no_job(job_id: str, queue: str) -> Exit:
    return Exit(
        f"job {job_id!r} is not known in queue {queue!r}: it never existed, or it ended and its "
        "result has expired. -q QUEUE selects another queue",
        FAILURE,
    )


def _shown(info: JobInfo, progress: Progress | None) -> str:
    pairs: list[tuple[str, object]] = [(name, getattr(info, name)) for name in _FIELDS]
    if info.last_started_at == info.started_at:
        pairs = [it for it in pairs if it[0] != "last_started_at"]
    pairs += [("took", _between(info.last_started_at, info.finished_at))]
    if info.letter is None and info.state == "dead":
        # Its dead letter was purged, so this is all that is left of the reason.
        pairs.append(("error_type", info.error_type))
    if len(set(info.workers)) > 1:
        pairs.append(("workers", ", ".join(info.workers)))
    if info.options:
        pairs.append(("options", data(info.options)))
    if progress is not None:
        pairs.append(("progress", _progress(progress)))
    shown = [fields(pairs)]
    if info.data is not None or (info.event is not None and info.finished_at is None):
        shown.append(section("data", data(info.data)))
    if info.errors:
        shown.append(section("errors", errors_of(info.errors)))
    if info.state == "completed":
        shown.append(section("result", data(info.result)))
    if info.letter is not None:
        shown.append(section(f"reason: {info.letter.reason}", info.letter.error))
    return "\n".join(shown)


def errors_of(errors: Sequence[dict[str, Any]]) -> str:
    """Return one line per error of a job's history."""
    return "\n".join(
        f"{_when(it)}  attempt {it.get('attempt')}, delivery {it.get('delivery')}"
        f"{_where(it)}  {escaped(str(it.get('error')))}"
        for it in errors
    )


def _when(error: dict[str, Any]) -> str:
    # Any program that can write to Redis may have written the list.
    return time_of(happened(error)) if isinstance(error.get("at"), int) else "at an unknown time"


def _where(error: dict[str, Any]) -> str:
    worker = error.get("worker")
    return f" on {escaped(str(worker))}" if worker else ""


def _between(start: datetime | None, end: datetime | None) -> str | None:
    """Return how long the last run took, from its start to the record of its outcome."""
    if start is None or end is None:
        return None
    ms = max(0, round((end - start).total_seconds() * 1000))
    return f"{ms}ms" if ms < 1000 else age_of(ms)


def _progress(progress: Progress) -> str:
    of = "" if progress.total is None else f" of {progress.total:g}"
    note = "" if progress.note is None else f", {progress.note}"
    return f"{progress.done:g}{of}{note} ({time_of(progress.at)})"
