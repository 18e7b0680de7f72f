"""The command `dlq`: read, replay and purge dead letters."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from taskmanager.cli import parameters, units
from taskmanager.cli.asking import confirm, needs_a_person
from taskmanager.cli.commands.jobs import errors_of
from taskmanager.cli.exits import FAILURE, Exit
from taskmanager.cli.objects import as_json, letter_object
from taskmanager.cli.output import age_of, brief, data, fields, section, table
from taskmanager.cli.session import answer, manager
from taskmanager.escapes import escaped

if TYPE_CHECKING:
    from consumers.admin.dead_letters import DeadLetter
    from taskmanager.admin.dlq import ReplayedAll
    from taskmanager.manager import TaskManager

_COLUMNS = ("died at", "id", "event", "reason", "attempts", "data", "error")
_FIELDS = ("id", "queue", "event", "reason", "attempts", "deliveries", "run", "died_at")
# The widths of two texts that share a line with five columns.
_DATA, _ERROR = 40, 60


@click.group()
def dlq() -> None:
    """List, show, replay and purge dead letters."""


@dlq.command("ls")
@parameters.queue
@click.option(
    "--limit",
    type=click.IntRange(1),
    default=100,
    show_default=True,
    help="Show at most this many.",
)
@parameters.as_array
@click.pass_context
def ls(context: click.Context, queue: str, limit: int, as_array: bool) -> None:
    """List dead letters, newest first."""
    letters, total = answer(context, lambda tm: _newest(tm, queue, limit))
    if as_array:
        click.echo(as_json([letter_object(letter) for letter in letters]))
    elif letters:
        click.echo(table(_COLUMNS, [_line(letter) for letter in letters]))
    else:
        click.echo(f"there are no dead letters in queue {queue!r}", err=True)
    if total > len(letters) and not as_array:
        newest = f"these are the newest {len(letters):,} of {total:,}; --limit N shows more"
        click.echo(newest, err=True)


@dlq.command("show")
@parameters.job_id
@parameters.queue
@parameters.as_object
@click.pass_context
def show(context: click.Context, job_id: str, queue: str, as_object: bool) -> None:
    """Show the latest dead letter of a job.

    It has the data of the job, its last ten errors and the last traceback.
    """
    letter = answer(context, lambda tm: tm.dlq.get(job_id, queue))
    if letter is None:
        raise Exit(
            f"job {job_id!r} has no dead letter in queue {queue!r}: 'dlq ls' lists them, "
            "-q QUEUE selects another queue",
            FAILURE,
        )
    click.echo(as_json(letter_object(letter)) if as_object else _shown(letter))


@dlq.command("replay")
@click.argument("job_ids", metavar="[ID]...", nargs=-1)
@parameters.queue
@click.option("--all", "everything", is_flag=True, help="All current dead letters.")
@click.option(
    "--rate", type=units.rate, metavar="N/s", help="With --all: at most this many jobs per second."
)
@parameters.yes
@parameters.as_object
@click.pass_context
def replay(
    context: click.Context,
    job_ids: tuple[str, ...],
    queue: str,
    everything: bool,
    rate: float | None,
    yes: bool,
    as_object: bool,
) -> None:
    """Turn dead letters back into jobs, with all their retries.

    If a job with the same id is live, its dead letter stays. Repeating a replay adds nothing, and
    an interrupted replay continues where it stopped.
    """
    if bool(job_ids) == everything:
        raise click.UsageError("give the ids of the jobs to replay, or --all")
    if rate is not None and not everything:
        raise click.UsageError("--rate works only with --all")
    if everything:
        _replay_all(context, queue, rate, yes=yes, as_object=as_object)
    else:
        _replay(context, queue, dict.fromkeys(job_ids), as_object=as_object)


@dlq.command("purge")
@parameters.queue
@click.option(
    "--older-than",
    type=units.duration,
    default=0.0,
    metavar="7d",
    help="Only dead letters older than this.",
)
@parameters.yes
@parameters.as_object
@click.pass_context
def purge(
    context: click.Context, queue: str, older_than: float, yes: bool, as_object: bool
) -> None:
    """Permanently delete the dead letters of a queue.

    With --older-than, only those are deleted that are older than the duration.
    """
    needs_a_person(yes)
    age = age_of(round(older_than * 1000))
    which = f"the ones older than {age} among the " if older_than else ""
    _confirm(context, queue, f"Permanently delete {which}{{}}?", yes)
    purged = answer(context, lambda tm: tm.dlq.purge(queue, older_than=older_than))
    if as_object:
        click.echo(as_json({"queue": queue, "purged": purged}))
    else:
        click.echo(f"purged {purged:,}")


def _replay_all(
    context: click.Context, queue: str, rate: float | None, *, yes: bool, as_object: bool
) -> None:
    needs_a_person(yes)
    _confirm(context, queue, "Replay {}?", yes)
    progress = _Progress()
    done: ReplayedAll = answer(
        context, lambda tm: tm.dlq.replay_all(queue, rate=rate, progress=progress)
    )
    progress.end()
    if as_object:
        click.echo(as_json({"queue": queue, "replayed": done.replayed, "kept": done.kept}))
    else:
        click.echo(f"replayed {done.replayed:,}" + (f", kept {done.kept:,}" if done.kept else ""))


def _replay(
    context: click.Context, queue: str, job_ids: Sequence[str] | dict[str, None], *, as_object: bool
) -> None:
    replayed, live, refused = answer(context, lambda tm: _each(tm, queue, job_ids))
    if as_object:
        kept = len(live) + len(refused)
        click.echo(as_json({"queue": queue, "replayed": len(replayed), "kept": kept}))
    for job_id in () if as_object else replayed:
        click.echo(escaped(job_id))
    for job_id in live:
        click.echo(f"job {job_id!r} is already live: its dead letter stays", err=True)
    if refused:
        raise Exit("; ".join(refused), FAILURE)


async def _each(
    tm: TaskManager[Any], queue: str, job_ids: Sequence[str] | dict[str, None]
) -> tuple[list[str], list[str], list[str]]:
    """Replay jobs; return the ids that run again, those already live, and why others did not."""
    from taskmanager.errors import NotReplayable

    replayed: list[str] = []
    live: list[str] = []
    refused: list[str] = []
    for job_id in job_ids:
        try:
            handle = await tm.dlq.replay(job_id, queue)
        except NotReplayable as error:
            refused.append(str(error))
        else:
            (replayed if handle.created else live).append(job_id)
    return replayed, live, refused


async def _newest(tm: TaskManager[Any], queue: str, limit: int) -> tuple[Sequence[DeadLetter], int]:
    letters = await tm.dlq.list(queue, limit)
    full = len(letters) == limit
    return letters, (await tm.stats(queue)).dead if full else len(letters)


def _confirm(context: click.Context, queue: str, question: str, yes: bool) -> None:
    """Ask, naming how many dead letters there are and where."""
    if yes:
        return
    dead = answer(context, lambda tm: tm.stats(queue)).dead
    what = f"{dead:,} dead letters in queue {queue!r} on {manager(context).connector.where}"
    confirm(question.format(what), yes)


def _line(letter: DeadLetter) -> tuple[object, ...]:
    payload = letter.raw.decode("utf-8", "backslashreplace") if letter.raw else data(letter.data)
    return (
        letter.died_at,
        letter.id,
        letter.event or None,
        letter.reason,
        letter.attempts,
        brief(payload, _DATA),
        brief(_summary(letter), _ERROR),
    )


def _summary(letter: DeadLetter) -> str:
    """Return the error in one line; the cause is at the end of a traceback."""
    if letter.errors:
        return str(letter.errors[-1]["error"])
    return letter.error.strip().rpartition("\n")[2]


def _shown(letter: DeadLetter) -> str:
    shown = [fields((name, getattr(letter, name)) for name in _FIELDS)]
    if letter.raw is None:
        shown.append(section("data", data(letter.data)))
    else:
        shown.append(section("raw", letter.raw.decode("utf-8", "backslashreplace")))
    if letter.errors:
        shown.append(section("errors", errors_of(letter.errors)))
    return "\n".join([*shown, section("error", letter.error)])


class _Progress:
    """A counter on a terminal, a few lines anywhere else; on stderr."""

    def __init__(self) -> None:
        self._quarter = 0
        self._on_terminal = sys.stderr.isatty()
        self._shown = False

    def __call__(self, done: int, total: int) -> None:
        quarter = 4 * done // max(total, 1)
        text = f"{done:,} of {total:,}"
        if self._on_terminal:
            self._shown = True
            click.echo(f"\r{text}", nl=False, err=True)
        elif quarter > self._quarter:
            self._quarter = quarter
            click.echo(text, err=True)

    def end(self) -> None:
        """Leave the line of the counter."""
        if self._shown:
            click.echo(err=True)
