"""What type checkers say about applications that use the public API, the README's among them."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from textwrap import indent

import pytest

from tests.pages.steps import steps

ROOT = Path(__file__).parents[3]
APPS = sorted((ROOT / "tests" / "typing").glob("*.py"))
README = ROOT / "README.md"

# What the README's lines without a program around them stand in.
_AROUND = """
from app import greet, tm
from taskmanager import Context, Job


async def example() -> None:
"""
_MARK = re.compile(r"# error: ([a-z-]+)$")
_REPORT = re.compile(r"^(?P<file>[^:]+):(?P<line>\d+): error: .*\[(?P<code>[a-z-]+)\]$")


# Without a cache mypy reads the types of redis and pydantic first.
@pytest.mark.timeout(300)
def test_mypy_refuses_exactly_the_marked_lines_and_none_of_the_readme(tmp_path: Path) -> None:
    examples = dict(_examples())
    assert "app" in examples
    for name, code in examples.items():
        (tmp_path / f"{name}.py").write_text(code)

    assert _said_by_mypy(tmp_path) == _marked()


def _examples() -> Iterator[tuple[str, str]]:
    """Yield the README's Python with the name of its file, or a number."""
    for number, step in enumerate(steps(README.read_text())):
        if step.verb == "file":
            yield Path(step.title).stem, step.text
        elif step.verb == "run":
            yield f"example_{number}", _AROUND + indent(step.text, "    ")


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


def _said_by_mypy(examples: Path) -> set[tuple[str, int, str]]:
    # One run for all: most of it is spent on what they import.
    files = map(str, [*APPS, *sorted(examples.iterdir())])
    command = [sys.executable, "-m", "mypy", "--follow-imports=silent", "--no-pretty", *files]
    environment = {**os.environ, "MYPYPATH": str(examples)}
    done = subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )
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
