"""Install the peers, each into a virtual environment of its own.

    python -m benchmarks.install [--into FOLDER] [NAME ...]

Without names all are installed; one that is there already is brought up to date. A
peer that cannot be installed is told at the end and does not keep others from it; the
exit code is then 1. BullMQ for Node needs npm, ArdiQ needs Python 3.12, and each is left out
where there is none. The last name, redis, is the server that ChasquiMQ needs: where no Redis is
new enough, one is built from source, which takes some minutes.
"""

from __future__ import annotations

import argparse
import shutil
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from benchmarks import interpreters
from benchmarks.commands import CannotInstall, run
from benchmarks.redis_source import build
from benchmarks.roster import PEERS

# hiredis and uvloop are what each of them recommends or takes by itself when it is there;
# pydantic reads the typed payload.
EXTRAS = ("hiredis", "uvloop", "pydantic")
PYTHON: Mapping[str, Sequence[str]] = {
    "chasquimq": ("chasquimq",),
    "ardiq": ("ardiq",),
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
REDIS = "redis"
NAMES = (*PYTHON, *NODE, REDIS)

# Of the peers that do not run on the oldest Python that this project does.
_NEEDS_PYTHON: Mapping[str, tuple[int, int]] = {"ardiq": (3, 12)}


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
    parser.add_argument("--into", type=Path, default=PEERS, metavar="FOLDER", help=str(PEERS))
    given = parser.parse_args(arguments)
    if unknown := [name for name in given.names if name not in NAMES]:
        parser.error(f"no such peer: {', '.join(unknown)}; there are {', '.join(NAMES)}")
    return given


def _install(name: str, folder: Path) -> str:
    """Return why a peer was not installed; empty when it was."""
    print(f"{name} ...", flush=True)
    try:
        _steps(name)(name, folder)
    except (CannotInstall, OSError) as error:
        return f"not installed: {error}"
    return ""


def _steps(name: str) -> Callable[[str, Path], None]:
    if name == REDIS:
        return lambda _, folder: build(folder)
    return _with_npm if name in NODE else _with_pip


def _with_pip(name: str, folder: Path) -> None:
    python = folder / "bin" / "python"
    if not python.exists():
        run([_interpreter(name), "-m", "venv", str(folder)])
    pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    run([*pip, "--upgrade", *PYTHON[name], *EXTRAS])


def _interpreter(name: str) -> str:
    least = _NEEDS_PYTHON.get(name)
    if least is None:
        return sys.executable
    found = interpreters.find(least)
    if found is None:
        wanted = ".".join(map(str, least))
        raise CannotInstall(f"no Python {wanted} or newer was found; name one with PYTHON=")
    return found


def _with_npm(name: str, folder: Path) -> None:
    npm = shutil.which("npm")
    if npm is None:
        raise CannotInstall("npm is not on the PATH")
    folder.mkdir(parents=True, exist_ok=True)
    # Without a package.json of its own npm would look for one further up.
    manifest = folder / "package.json"
    if not manifest.exists():
        manifest.write_text('{"private": true}\n')
    run([npm, "install", "--silent", "--no-audit", "--no-fund", *NODE[name]], folder)


if __name__ == "__main__":
    sys.exit(main())
