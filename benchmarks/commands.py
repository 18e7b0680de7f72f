"""The commands that an installation runs, and how it says that it cannot go on."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from pathlib import Path


class CannotInstall(Exception):
    """Raised when a peer cannot be installed; the message says why."""


def run(command: Sequence[str], folder: Path | None = None) -> None:
    """Run a command; CannotInstall with its last words when it fails."""
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        said = (done.stderr or done.stdout).strip().splitlines()
        raise CannotInstall(said[-1] if said else f"{command[0]} exited with {done.returncode}")
