"""Run it from a shell: ``python -m tests.chaos.routing --jobs 20000 --server valkey``."""

from __future__ import annotations

import shutil
import sys
import tempfile
import time
from pathlib import Path

import click

from tests.chaos.routing.rig import Plan, run
from tests.support.servers import find_binaries


@click.command()
@click.option("--seed", type=int, default=1, show_default=True)
@click.option("--jobs", type=int, default=20_000, show_default=True)
@click.option("--server", default="", help="Part of a server's name; all that are found here.")
def main(seed: int, jobs: int, server: str) -> None:
    """Storm over jobs that require something of a worker. Exits with 1 at any violation."""
    binaries = [it for it in find_binaries() if server in it.id]
    if not binaries:
        raise click.UsageError(f"no Redis server here has {server!r} in its name")
    bad = 0
    for binary in binaries:
        folder, began = Path(tempfile.mkdtemp(prefix="tm-routing-")), time.monotonic()
        verdict = run(Plan(binary, seed, jobs), folder)
        click.echo(f"{binary.id} seed={seed}: {time.monotonic() - began:.0f} s, {verdict}")
        if verdict.violations:
            bad += 1
            click.echo(f"records and output are in {folder}")
        else:
            shutil.rmtree(folder)
    sys.exit(1 if bad else 0)


if __name__ == "__main__":
    main()
