"""Run the nemesis from a shell: ``python -m tests.chaos --seconds 60 --seed 7``."""

from __future__ import annotations

import shutil
import signal
import sys
import tempfile
import traceback
from collections.abc import Sequence
from pathlib import Path

import click

from tests.chaos import mutants
from tests.chaos.plan import PROFILES
from tests.chaos.report import explanation, figures, headline
from tests.chaos.rig import Plan, Result, run
from tests.support.servers import find_binaries

SEEDS = (1, 2, 3)


@click.command()
@click.option("--seed", type=int, multiple=True, help="Repeat it to run several; 1, 2 and 3.")
@click.option("--seconds", type=float, default=60.0, show_default=True, help="Of the nemesis.")
@click.option("--server", default="", help="Part of a server's name; all that are found here.")
@click.option(
    "--profile",
    type=click.Choice(sorted(PROFILES)),
    help="Which faults; storm, and loss with the first seed. Of a mutant, those it is for.",
)
@click.option(
    "--mutant", type=click.Choice(sorted(mutants.PROFILES)), help="Take a guarantee away."
)
@click.option("--keep", is_flag=True, help="Keep records and output also of a good run.")
def main(
    seed: tuple[int, ...],
    seconds: float,
    server: str,
    profile: str | None,
    mutant: str | None,
    keep: bool,
) -> None:
    """Break it, and say whether anything was lost. Exits with 1 at any violation."""
    binaries = [it for it in find_binaries() if server in it.id]
    if not binaries:
        raise click.UsageError(f"no Redis server here has {server!r} in its name")
    if mutant is not None and profile is None:
        profile = mutants.PROFILES[mutant]
    plans = [
        Plan(binary, number, seconds, name, mutant or "")
        for binary in binaries
        for name, number in _storms(seed or SEEDS, profile)
    ]
    sys.exit(1 if sum(not _good(plan, keep) for plan in plans) else 0)


def _storms(seeds: Sequence[int], profile: str | None) -> list[tuple[str, int]]:
    """Return the profiles and seeds to run on each server."""
    if profile is not None:
        return [(profile, seed) for seed in seeds]
    return [*(("storm", seed) for seed in seeds), ("loss", seeds[0])]


def _good(plan: Plan, keep: bool) -> bool:
    """Run it and tell; whatever happens in the rig itself, the later seeds are run as well."""
    folder = Path(tempfile.mkdtemp(prefix="tm-chaos-"))
    click.echo(f"{named(plan)}: running for {plan.seconds:g} s", err=True)
    try:
        result = run(plan, folder)
    except Exception:
        click.echo(f"{named(plan)}: the rig itself failed\n{traceback.format_exc()}")
        click.echo("\n".join(["schedule of faults:", *(f"  {it}" for it in plan.steps())]))
        _tell_folder(plan, folder)
        return False
    click.echo(f"{headline(result)}\n{figures(result)}\n{hits(result)}")
    if result.violations:
        click.echo(explanation(result))
    if keep or not result.good:
        _tell_folder(plan, folder)
    else:
        shutil.rmtree(folder)
    return result.good


def named(plan: Plan) -> str:
    """Return which run it is, as its headline says it too."""
    return f"{plan.binary.id} seed={plan.seed} {plan.profile}"


def hits(result: Result) -> str:
    """Return what really hit, where the figures tell what was tried."""
    dropped = ", ".join(f"{it} {number}" for it, number in sorted(result.dropped.items()))
    said = f"  replies lost: {dropped or 'none'}"
    if result.unproven:
        said += f"\n  NO PROOF: this run has met with no {' and no '.join(result.unproven)}"
    return said


def _tell_folder(plan: Plan, folder: Path) -> None:
    click.echo(f"records and output are in {folder}; to run it again:")
    again = f"  python -m tests.chaos --profile {plan.profile} --seed {plan.seed}"
    mutant = f" --mutant {plan.mutant}" * bool(plan.mutant)
    click.echo(f"{again} --seconds {plan.seconds:g} --server {plan.binary.id}{mutant}")


def _end(number: int, frame: object) -> None:
    # Told to end, or left by its terminal, it ends what it has started as well.
    sys.exit(128 + number)


if __name__ == "__main__":
    for ends in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(ends, _end)
    main()
