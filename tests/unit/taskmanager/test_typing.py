"""What type checkers say about applications that use the public API."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
APPS = sorted((ROOT / "tests" / "typing").glob("*.py"))

_MARK = re.compile(r"# error: ([a-z-]+)$")
_REPORT = re.compile(r"^(?P<file>[^:]+):(?P<line>\d+): error: .*\[(?P<code>[a-z-]+)\]$")


# Without a cache mypy reads the types of redis and pydantic first.
@pytest.mark.timeout(300)
def test_mypy_refuses_exactly_the_marked_lines() -> None:
    assert _said_by_mypy() == _marked()


@pytest.mark.timeout(300)
def test_pyright_refuses_exactly_the_marked_lines_of_tasks() -> None:
    if (
        importlib.util.find_spec("pyright") is None
        and "TASKMANAGER_REQUIRE_PYRIGHT" not in os.environ
    ):
        pytest.skip("pyright is not installed: pip install 'pyright[nodejs]'")
    marked = {(file, line) for file, line, _ in _marked() if file == "tests/typing/tasks.py"}

    assert _said_by_pyright("tests/typing/tasks.py") == marked


def _marked() -> set[tuple[str, int, str]]:
    return {
        (str(file.relative_to(ROOT)), number, match[1])
        for file in APPS
        for number, line in enumerate(file.read_text().splitlines(), start=1)
        if (match := _MARK.search(line))
    }


def _said_by_mypy() -> set[tuple[str, int, str]]:
    files = map(str, APPS)
    command = [sys.executable, "-m", "mypy", "--follow-imports=silent", "--no-pretty", *files]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode in (0, 1), done.stdout + done.stderr
    matches = [match for line in done.stdout.splitlines() if (match := _REPORT.match(line))]
    return {(match["file"], int(match["line"]), match["code"]) for match in matches}


def _said_by_pyright(file: str) -> set[tuple[str, int]]:
    command = [
        sys.executable,
        "-m",
        "pyright",
        "--pythonpath",
        sys.executable,
        "--outputjson",
        file,
    ]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode in (0, 1), done.stdout + done.stderr
    found = json.loads(done.stdout)["generalDiagnostics"]
    return {(file, it["range"]["start"]["line"] + 1) for it in found if it["severity"] == "error"}
