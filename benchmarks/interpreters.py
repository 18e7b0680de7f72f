"""Find a Python of this machine that is new enough for a peer."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

# As in the Makefile: each is tried, because a shim may exist and not run.
_NAMES = ("python3", "python3.13", "python3.12", "python3.14")
_PYENV = Path.home() / ".pyenv" / "versions"
_SECONDS = 60.0


def find(least: tuple[int, int]) -> str | None:
    """Return the first interpreter that runs, is new enough and can make environments."""
    return next((it for it in _candidates() if _works(it, least)), None)


def _candidates() -> Iterator[str]:
    yield sys.executable
    yield from filter(None, [os.environ.get("PYTHON")])
    yield from _NAMES
    yield from map(str, sorted(_PYENV.glob("3.*/bin/python3")))


def _works(python: str, least: tuple[int, int]) -> bool:
    ask = f"import sys, venv, ensurepip; sys.exit(sys.version_info < {least})"
    try:
        done = subprocess.run(
            [python, "-c", ask], capture_output=True, timeout=_SECONDS, check=False
        )
    except (OSError, subprocess.SubprocessError):
        return False
    return done.returncode == 0
