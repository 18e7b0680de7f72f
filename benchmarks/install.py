"""Install the peers, each into a virtual environment of its own.

    python -m benchmarks.install [--into FOLDER] [NAME ...]

Without names all are installed; one that is there already is brought up to date. A
peer that cannot be installed is told at the end and does not keep others from it; the
exit code is then 1. BullMQ for Node needs npm and is left out where there is none.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

FOLDER = Path(__file__).resolve().parent.parent / ".peers"

# hiredis and uvloop are what each of them recommends or takes by itself when it is there;
# pydantic reads the typed payload.
EXTRAS = ("hiredis", "uvloop", "pydantic")
PYTHON: Mapping[str, Sequence[str]] = {
    "taskiq": ("taskiq[orjson]", "taskiq-redis"),
    "streaq": ("streaq",),
    "saq": ("saq[redis]", "orjson", "typing_extensions"),
    "arq": ("arq",),
    "dramatiq": ("dramatiq[redis]",),
    "rq": ("rq",),
    "celery": ("celery[redis]",),
    "bullmq": ("bullmq",),
}
# ioredis 5 is what BullMQ itself is tested with, and a few percent faster here than 6.
NODE: Mapping[str, Sequence[str]] = {"bullmq_node": ("bullmq", "ioredis@5")}
NAMES = (*PYTHON, *NODE)


class CannotInstall(Exception):
    """Raised when a peer cannot be installed; the message says why."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Install the peers that are named, or all; return the exit code."""
    given = _read(arguments)
    outcomes = {name: _install(name, given.into / name) for name in given.names or NAMES}
    print()
    for name, why_not in outcomes.items():
        print(f"  {name:<12} {why_not or 'installed'}")
    print(f"  in {given.into}")
    return 1 if any(outcomes.values()) else 0


def _read(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.install", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(NAMES)}")
    parser.add_argument("--into", type=Path, default=FOLDER, metavar="FOLDER", help=str(FOLDER))
    given = parser.parse_args(arguments)
    if unknown := [name for name in given.names if name not in NAMES]:
        parser.error(f"no such peer: {', '.join(unknown)}; there are {', '.join(NAMES)}")
    return given


def _install(name: str, folder: Path) -> str:
    """Return why a peer was not installed; empty when it was."""
    print(f"{name} ...", flush=True)
    steps: Callable[[str, Path], None] = _with_npm if name in NODE else _with_pip
    try:
        steps(name, folder)
    except (CannotInstall, OSError) as error:
        return f"not installed: {error}"
    return ""


def _with_pip(name: str, folder: Path) -> None:
    python = folder / "bin" / "python"
    if not python.exists():
        _run([sys.executable, "-m", "venv", str(folder)])
    pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    _run([*pip, "--upgrade", *PYTHON[name], *EXTRAS])


def _with_npm(name: str, folder: Path) -> None:
    npm = shutil.which("npm")
    if npm is None:
        raise CannotInstall("npm is not on the PATH")
    folder.mkdir(parents=True, exist_ok=True)
    # Without a package.json of its own npm would look for one further up.
    manifest = folder / "package.json"
    if not manifest.exists():
        manifest.write_text('{"private": true}\n')
    _run([npm, "install", "--silent", "--no-audit", "--no-fund", *NODE[name]], folder)


def _run(command: Sequence[str], folder: Path | None = None) -> None:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        said = (done.stderr or done.stdout).strip().splitlines()
        raise CannotInstall(said[-1] if said else f"{command[0]} exited with {done.returncode}")


if __name__ == "__main__":
    sys.exit(main())
