from __future__ import annotations

import ast
import re
import sysconfig
import warnings
from collections import Counter
from pathlib import Path

import pytest

from tests.support.processes import Child, Spawner
from tests.support.waiting import eventually

ROOT = Path(__file__).resolve().parents[2]
EXAMPLE = str(ROOT / "examples" / "stdlib_index.py")
LIBRARY = Path(sysconfig.get_path("stdlib"))

Table = dict[str, tuple[int, int, int, int]]


class Definitions(ast.NodeVisitor):
    """Counts what the example counts, in another way."""

    def __init__(self) -> None:
        self.functions = 0
        self.classes = 0

    def visit_FunctionDef(self, node: ast.AST) -> None:
        self.functions += 1
        self.generic_visit(node)

    visit_AsyncFunctionDef = visit_FunctionDef

    def visit_ClassDef(self, node: ast.ClassDef) -> None:
        self.classes += 1
        self.generic_visit(node)


def in_one_process() -> tuple[Table, set[str]]:
    """Return the table and the files that do not parse, from one plain pass."""
    totals: dict[str, Counter[str]] = {}
    unparsed = set()
    for path in LIBRARY.rglob("*.py"):
        file = path.relative_to(LIBRARY)
        if "site-packages" in file.parts or "dist-packages" in file.parts or not path.is_file():
            continue
        total = totals.setdefault(
            file.parts[0] if len(file.parts) > 1 else "(top level)", Counter()
        )
        try:
            found = definitions(path)
        except (SyntaxError, ValueError):
            unparsed.add(str(file))
            continue
        lines = len(path.read_bytes().splitlines())
        total.update(files=1, lines=lines, functions=found.functions, classes=found.classes)
    return {package: as_row(total) for package, total in totals.items()}, unparsed


def definitions(path: Path) -> Definitions:
    found = Definitions()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found.visit(ast.parse(path.read_bytes()))
    return found


def as_row(total: Counter[str]) -> tuple[int, int, int, int]:
    return total["files"], total["lines"], total["functions"], total["classes"]


def read_table(text: str) -> Table:
    rows = re.findall(r"^(\S.*?) +([\d,]+) +([\d,]+) +([\d,]+) +([\d,]+)$", text, re.MULTILINE)
    return {name: tuple(int(n.replace(",", "")) for n in numbers) for name, *numbers in rows}


def processes_of(session: int) -> list[str]:
    """Return the command lines that run in a session; /proc is there on Linux only."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            # "pid (name) state ppid pgrp session ...": a name may hold anything but is closed last.
            if int(stat.read_text().rpartition(")")[2].split()[3]) == session:
                found.append((stat.parent / "cmdline").read_text().replace("\0", " "))
        except OSError:
            continue  # It has just ended.
    return found


@pytest.mark.timeout(240)
def test_the_table_of_the_whole_library_is_that_of_a_single_process(spawn: Spawner) -> None:
    example = spawn.python(EXAMPLE)
    table, unparsed = in_one_process()

    code = example.wait(within=180)

    assert code == 0, example.text
    shown = read_table(example.text)
    assert shown.pop("total") == tuple(map(sum, zip(*table.values(), strict=True)))
    assert shown == table
    assert f"{len(unparsed)} files did not parse" in example.text
    assert set(re.findall(r"^  (\S+\.py)  \w+Error: ", example.text, re.MULTILINE)) == unparsed


def test_a_package_alone_is_indexed_from_any_folder(spawn: Spawner, tmp_path: Path) -> None:
    example = spawn.python(EXAMPLE, "json", "concurrent", cwd=tmp_path)

    assert example.wait(within=50) == 0, example.text
    assert set(read_table(example.text)) == {"json", "concurrent", "total"}
    assert "0 files did not parse" in example.text


def test_an_unknown_package_is_wrong_usage(spawn: Spawner) -> None:
    example = spawn.python(EXAMPLE, "no_such_package")

    assert example.wait() == 2
    assert "no source files" in example.text


@pytest.mark.parametrize("end", [Child.interrupt, Child.terminate], ids=["Ctrl-C", "SIGTERM"])
def test_an_interrupted_index_leaves_nothing_behind(
    spawn: Spawner, tmp_path: Path, end: object
) -> None:
    example = spawn.python(EXAMPLE, env={"TMPDIR": str(tmp_path)})
    example.wait_for_line("0 of ")

    end(example)  # type: ignore[operator]

    assert example.wait(within=30) == 130, example.text
    assert "Traceback" not in example.text
    eventually(lambda: not processes_of(example.pid))
    assert not list(tmp_path.glob("stdlib-index-*"))
