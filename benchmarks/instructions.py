"""Count what each step of a job takes in Redis: ``python -m benchmarks.instructions``.

Instructions are counted, which a busy machine does not change. Beside each step stands
what a plain loop on a stream takes for the same; see benchmarks/steps.py.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

import click

from benchmarks.callgrind import Counted, counted, missing
from benchmarks.failures import Failed
from benchmarks.report import number, table
from benchmarks.servers import find
from benchmarks.steps import EMIT, READ, SETTLE, both_sides, parts

_STEPS = {
    "emit": f"emit, {EMIT} together",
    "read": f"read, {READ} together",
    "settle": f"settle, {SETTLE} together",
    "single_emit": "emit, one",
    "single_settle": "settle, one",
}
_WHOLE = ("emit", "read", "settle")


@click.command()
@click.option("--rounds", type=click.IntRange(min=1), default=8, show_default=True)
@click.option("--server", type=click.Path(path_type=Path), help="The redis-server; the newest.")
def main(rounds: int, server: Path | None) -> None:
    """Print the instructions per job of each step, beside a plain loop, and the ratio."""
    if why := missing():
        raise click.ClickException(why)
    found = find(server)
    if not found:
        raise click.ClickException(f"no redis-server that runs was found{_at(server)}")
    click.echo(f"instructions per job, {found[0].id}, {found[0].path}")
    try:
        with counted(found[0]) as redis:
            click.echo(table(_rows(_per_job(redis, rounds))))
    except Failed as error:
        raise click.ClickException(str(error)) from error


def _at(server: Path | None) -> str:
    return f" at {server}" if server else ""


def _per_job(redis: Counted, rounds: int) -> dict[str, int]:
    counts = {}
    with both_sides(redis.server.port) as sides:
        for prefix, steps in sides.items():
            for part in parts(rounds):
                total = redis.count(partial(part.do, steps))
                counts[f"{prefix}{part.name}"] = round(total / part.all_jobs)
    return counts


def _rows(counts: dict[str, int]) -> list[list[str]]:
    rows = [["step", "taskmanager", "plain", "ratio"]]
    rows += [_row(title, counts[it], counts[f"plain_{it}"]) for it, title in _STEPS.items()]
    ours, plain = (sum(counts[f"{side}{it}"] for it in _WHOLE) for side in ("", "plain_"))
    return [*rows, _row("a job, all steps together", ours, plain)]


def _row(title: str, ours: int, plain: int) -> list[str]:
    return [title, f"{ours:,}", f"{plain:,}", number(ours / plain)]


if __name__ == "__main__":
    main()
