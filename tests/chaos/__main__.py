"""Run the nemesis from a shell: ``python -m tests.chaos --seconds 60 --seed 7``."""

from __future__ import annotations

import shutil
import signal
import sys
import tempfile
from pathlib import Path

import click

from tests.chaos import mutants
from tests.chaos.plan import PROFILES
from tests.chaos.report import explanation, figures, headline
from tests.chaos.rig import Plan, run
from tests.support.servers import find_binaries

SEEDS = (1, 2, 3)


@click.command()
@click.option("--seed", type=int, multiple=True, help="Repeat it to run several; 1, 2 and 3.")
@click.option("--seconds", type=float, default=60.0, show_default=True, help="Of the nemesis.")
@click.option("--server", default="", help="Part of a server's name; all that are found here.")
@click.option("--profile", type=click.Choice(sorted(PROFILES)), default="storm", show_default=True)
@click.option(
    "--mutant", type=click.Choice(sorted(mutants.PROFILES)), help="Take a guarantee away."
)
@click.option("--keep", is_flag=True, help="Keep records and output also of a good run.")
def main(
    seed: tuple[int, ...], seconds: float, server: str, profile: str, mutant: str | None, keep: bool
) -> None:
    """Break it, and say whether anything was lost. Exits with 1 at any violation."""
    binaries = [it for it in find_binaries() if server in it.id]
    if not binaries:
        raise click.UsageError(f"no Redis server here has {server!r} in its name")
    plans = [
        Plan(binary, number, seconds, profile, mutant or "")
        for binary in binaries
        for number in seed or SEEDS
    ]
    sys.exit(1 if sum(not _good(plan, keep) for plan in plans) else 0)


def _good(plan: Plan, keep: bool) -> bool:
    folder = Path(tempfile.mkdtemp(prefix="tm-chaos-"))
    click.echo(f"{plan.binary.id} seed={plan.seed}: running for {plan.seconds:g} s", err=True)
    result = run(plan, folder)
    click.echo(f"{headline(result)}\n{figures(result)}")
    if result.violations:
        click.echo(explanation(result))
    if result.violations or keep:
        click.echo(f"records and output are in {folder}")
    else:
        shutil.rmtree(folder)
    return not result.violations


if __name__ == "__main__":
    # Told to end, it ends what it has started as well.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    main()
