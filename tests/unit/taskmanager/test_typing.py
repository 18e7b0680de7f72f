"""What mypy says about an application that uses the public API."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
APP = ROOT / "tests" / "typing" / "app.py"

_MARK = re.compile(r"# error: ([a-z-]+)$")
_REPORT = re.compile(r"^(?P<file>[^:]+):(?P<line>\d+): error: .*\[(?P<code>[a-z-]+)\]$")


# Without a cache mypy reads the types of redis and pydantic first.
@pytest.mark.timeout(300)
def test_mypy_refuses_exactly_the_marked_lines() -> None:
    assert _reported() == _marked()


def _marked() -> set[tuple[int, str]]:
    lines = enumerate(APP.read_text().splitlines(), start=1)
    return {(number, match[1]) for number, line in lines if (match := _MARK.search(line))}


def _reported() -> set[tuple[int, str]]:
    command = [sys.executable, "-m", "mypy", "--follow-imports=silent", "--no-pretty", str(APP)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode in (0, 1), done.stdout + done.stderr
    matches = [match for line in done.stdout.splitlines() if (match := _REPORT.match(line))]
    assert {match["file"] for match in matches} <= {str(APP.relative_to(ROOT))}, done.stdout
    return {(int(match["line"]), match["code"]) for match in matches}
