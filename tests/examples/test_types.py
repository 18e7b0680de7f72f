"""The examples that are folders pass mypy --strict where their readers have them."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from tests.support.deployed import EXAMPLES, ROOT


# Each folder has a module jobs of its own, so each is a run of its own.
@pytest.mark.timeout(300)
@pytest.mark.parametrize("folder", ["fastapi_app", "flask_app", "scripts"])
def test_a_folder_passes_mypy_strict(folder: str) -> None:
    files = sorted(it.name for it in (EXAMPLES / folder).glob("*.py"))
    config = str(ROOT / "pyproject.toml")
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "--config-file", config, *files],
        cwd=EXAMPLES / folder,
        env={**os.environ, "MYPYPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stdout + done.stderr
