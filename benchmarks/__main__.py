"""Measure this project and the peers that are installed: ``python -m benchmarks``."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

import click

from benchmarks.chart import chart, drains
from benchmarks.machine import Machine, this_machine
from benchmarks.report import progress, report
from benchmarks.results import Measurement, Results
from benchmarks.roster import ROOT, Contender, roster
from benchmarks.rounds import run
from benchmarks.servers import choose, find, left_out, why
from benchmarks.setting import prepare
from benchmarks.sizing import Sizes
from benchmarks.workloads import WORKLOADS, Workload
from tests.support.servers import Binary

# What a shell makes of SIGINT.
_INTERRUPTED = 130


@click.command()
@click.option("--rounds", type=click.IntRange(min=1), default=5, show_default=True)
@click.option(
    "--workload",
    "workloads",
    type=click.Choice(list(WORKLOADS)),
    multiple=True,
    help="Repeat it to name several; all of them.",
)
@click.option(
    "--contender",
    "names",
    type=click.Choice([who.name for who in roster()]),
    multiple=True,
    help="Repeat it to name several; all that are installed.",
)
@click.option("--quick", is_flag=True, help="One round of few jobs: a try, not a measurement.")
@click.option("--jobs", type=click.IntRange(min=10), help="At most so many jobs a measurement.")
@click.option(
    "--server",
    type=click.Path(path_type=Path),
    help="The redis-server; the newest that all contenders run on.",
)
@click.option("--pin", is_flag=True, help="Keep Redis on the last core.")
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    default=ROOT / "benchmarks" / "results",
    help="Where to put results.json and drains.svg; benchmarks/results.",
)
@click.option("--list", "listing", is_flag=True, help="Show workloads and contenders, and end.")
def main(
    rounds: int,
    workloads: Sequence[str],
    names: Sequence[str],
    quick: bool,
    jobs: int | None,
    server: Path | None,
    pin: bool,
    out: Path,
    listing: bool,
) -> None:
    """Measure this project beside its peers, interleaved, on a Redis of its own.

    Exits with 1 when a contender has failed in a workload; a slow one is no failure. Ctrl-C
    ends it with what was measured until then, and with exit code 130.
    """
    if listing:
        click.echo(_listed())
        return
    if pin and not hasattr(os, "sched_setaffinity"):
        raise click.UsageError("--pin needs a system that can keep a process on a core: Linux")
    binary, contenders = _on_one_server(server, _contenders(names), named=bool(names))
    wanted = [WORKLOADS[name] for name in workloads or WORKLOADS]
    machine = this_machine(binary.id, contenders, pinned=pin)
    results, sizes = Results(), Sizes(quick=quick, most=jobs)
    with _ended_early(), prepare(binary, sizes, pin=pin) as setting:
        run(setting, 1 if quick else rounds, wanted, contenders, results=results, seen=_tell)
    machine = machine.at_end()
    click.echo(report(machine, results, wanted, contenders))
    _write(out, machine, results, wanted, contenders)
    sys.exit(_exit_code(results))


@contextlib.contextmanager
def _ended_early() -> Iterator[None]:
    """Let somebody who has waited long enough have what was measured until then."""
    try:
        yield
    except KeyboardInterrupt:
        click.echo("interrupted: these are the figures until now", err=True)


def _exit_code(results: Results) -> int:
    if not results.complete:
        return _INTERRUPTED
    return 1 if results.failures else 0


def _on_one_server(
    server: Path | None, contenders: list[Contender], *, named: bool
) -> tuple[Binary, list[Contender]]:
    """Return the server of the run and the contenders that work on it; name the others."""
    found = find(server)
    if not found:
        which = f"{server} is no redis-server that runs" if server else "no redis-server was found"
        raise click.UsageError(f"{which}: install one, or name it with --server /path/to/it")
    binary = choose(found, contenders)
    if binary is not found[0]:
        click.echo(why(found[0], left_out(found[0], contenders)), err=True)
    absent = left_out(binary, contenders)
    if absent:
        what = f"{why(binary, absent)}: make bench-peers ARGS=redis builds one"
        if named:
            raise click.UsageError(what)
        click.echo(f"left out: {what}", err=True)
    click.echo(f"all on {binary.id}, {binary.path}", err=True)
    return binary, [who for who in contenders if who not in absent]


def _contenders(names: Sequence[str]) -> list[Contender]:
    wanted = [who for who in roster() if not names or who.name in names]
    absent = [who.name for who in wanted if not who.installed]
    if absent:
        what = f"not installed: {', '.join(absent)} (make bench-peers installs all)"
        if names:
            raise click.UsageError(what)
        click.echo(what, err=True)
    return [who for who in wanted if who.installed]


def _listed() -> str:
    lines = ["workloads:"]
    lines += [f"  {it.name:<16} {it.about}" for it in WORKLOADS.values()]
    lines += ["contenders:"]
    lines += [
        f"  {who.name:<20} {'installed' if who.installed else 'not installed: make bench-peers'}"
        for who in roster()
    ]
    return "\n".join(lines)


def _tell(measurement: Measurement, workload: Workload) -> None:
    click.echo(progress(measurement, workload), err=True)


def _write(
    out: Path,
    machine: Machine,
    results: Results,
    workloads: Sequence[Workload],
    contenders: Sequence[Contender],
) -> None:
    out.mkdir(parents=True, exist_ok=True)
    at = datetime.now(UTC).isoformat(timespec="seconds")
    everything = {
        "ended_at": at,
        "machine": machine.as_json(),
        **results.as_json(workloads, contenders),
    }
    written = [out / "results.json"]
    written[0].write_text(json.dumps(everything, indent=2) + "\n")
    if bars := drains(results):
        written.append(out / "drains.svg")
        subtitle = f"{machine.cpu}, {machine.cores} cores, {machine.redis}"
        ours = frozenset(who.name for who in contenders if who.ours)
        title = "No-op jobs drained by one worker process"
        written[1].write_text(chart(bars, title=title, subtitle=subtitle, ours=ours))
    click.echo("written: " + ", ".join(map(str, written)), err=True)


if __name__ == "__main__":
    # Told to end, it ends what it has started as well.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    main()
