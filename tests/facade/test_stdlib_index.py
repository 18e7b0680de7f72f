from __future__ import annotations

import ast
import importlib.util
import re
import shlex
import signal
import subprocess
import sysconfig
import warnings
from collections import Counter
from pathlib import Path
from types import ModuleType

import pytest

from tests.support.processes import A_WHOLE_RUN, Child, Spawner
from tests.support.waiting import eventually

pytestmark = pytest.mark.timeout(2 * A_WHOLE_RUN)

ROOT = Path(__file__).resolve().parents[2]
EXAMPLE = str(ROOT / "examples" / "stdlib_index.py")
BROKEN = ROOT / "examples" / "broken"
LIBRARY = Path(sysconfig.get_path("stdlib"))
# A third of the library, which every Python has; `make demo` indexes all of it.
PACKAGES = (
    "(top level)",
    "asyncio",
    "email",
    "idlelib",
    "importlib",
    "multiprocessing",
    "unittest",
)

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


def in_one_process() -> Table:
    """Return the table of PACKAGES from one plain pass."""
    totals = {package: Counter[str]() for package in PACKAGES}
    for path in LIBRARY.rglob("*.py"):
        *folders, _ = path.relative_to(LIBRARY).parts
        total = totals.get(folders[0] if folders else "(top level)")
        if total is not None and path.is_file():
            found, lines = definitions(path), len(path.read_bytes().splitlines())
            total.update(files=1, lines=lines, functions=found.functions, classes=found.classes)
    return {package: as_row(total) for package, total in totals.items()}


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


def dead_letters(text: str) -> set[str]:
    return set(re.findall(r"^  (\S+\.py)  \w+Error: ", text, re.MULTILINE))


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


def test_the_table_is_that_of_a_single_process(spawn: Spawner, tmp_path: Path) -> None:
    example = spawn.python(EXAMPLE, *PACKAGES, "broken", cwd=tmp_path)
    table = in_one_process()

    code = example.wait(within=A_WHOLE_RUN)

    assert code == 0, example.text
    shown = read_table(example.text)
    assert shown.pop("total") == tuple(map(sum, zip(*shown.values(), strict=True)))
    assert shown == {**table, "broken": (0, 0, 0, 0)}
    assert dead_letters(example.text) == set(map(str, BROKEN.glob("*.py")))
    # One a second, whichever process fired it, in the order of their fire times.
    snapshots = re.findall(
        r"^snapshot \S+Z  [\d,]+ waiting, \d+ active, ([\d,]+) completed",
        example.text,
        re.MULTILINE,
    )
    completed = [int(number.replace(",", "")) for number in snapshots]
    assert completed
    assert completed == sorted(completed)


def test_a_package_alone_is_indexed_from_any_folder(spawn: Spawner, tmp_path: Path) -> None:
    example = spawn.python(EXAMPLE, "json", "concurrent", cwd=tmp_path)

    assert example.wait(within=A_WHOLE_RUN) == 0, example.text
    assert set(read_table(example.text)) == {"json", "concurrent", "total"}
    assert "0 files did not parse" in example.text


def test_broken_files_are_shown_as_dead_letters_with_their_errors(
    spawn: Spawner, tmp_path: Path
) -> None:
    example = spawn.python(EXAMPLE, "broken", "json", cwd=tmp_path)

    assert example.wait(within=A_WHOLE_RUN) == 0, example.text
    assert "3 files did not parse and are dead letters after 3 attempts" in example.text
    assert dead_letters(example.text) == set(map(str, BROKEN.glob("*.py")))
    assert "unclosed_bracket.py  SyntaxError: '[' was never closed" in example.text


def test_what_it_says_to_type_next_works(spawn: Spawner, tmp_path: Path) -> None:
    first = spawn.python(EXAMPLE, "broken", cwd=tmp_path)
    assert first.wait(within=A_WHOLE_RUN) == 0, first.text
    (again,) = commands_after(first.text, "To keep Redis and the workers")
    assert again.endswith("--keep broken")

    kept = spawn.python(*shlex.split(again)[1:], cwd=tmp_path)
    kept.wait_for_line("dlq replay", within=A_WHOLE_RUN)
    setting, *commands = commands_after(kept.text, "Redis and the workers keep running")
    shown = [typed(f"{setting}; {command}", tmp_path) for command in commands]
    kept.interrupt()

    assert kept.wait(within=A_WHOLE_RUN) == 0, kept.text
    assert len(shown) == 5
    assert re.search(r"^default +0 +0 +0 +3 ", shown[0], re.MULTILINE)
    assert shown[1].count("index-file") == 3
    assert "attempt 3, delivery 3" in shown[2]
    assert commands[3].endswith(shown[3].strip())
    assert re.search(r"^snapshot +snapshots +snapshot +(\* ){6}", shown[4], re.MULTILINE)


def commands_after(text: str, title: str) -> list[str]:
    return re.findall(r"^  (.+)$", text.partition(title)[2], re.MULTILINE)


def typed(command: str, folder: Path) -> str:
    """Return what a shell prints for a command."""
    done = subprocess.run(
        ["/bin/sh", "-ec", command],
        cwd=folder, env={"PYTHONPATH": str(ROOT)}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture
def example() -> ModuleType:
    spec = importlib.util.spec_from_file_location("stdlib_index_tested", EXAMPLE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_without_the_librarys_tests_installed_packages_and_broken_files_are_added(
    example: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    library, installed = tmp_path / "library", tmp_path / "installed"
    for file in (
        library / "json" / "tool.py",
        installed / "click" / "core.py",
        installed / "six.py",
    ):
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()
    monkeypatch.setattr(example, "LIBRARY", library)
    monkeypatch.setattr(example, "INSTALLED", installed)

    without = [it["package"] for it in example.find_sources([])]
    (library / "test").mkdir()
    (library / "test" / "test_json.py").touch()

    assert without == ["json", "site-packages/click", "site-packages/six", *["broken"] * 3]
    assert [it["package"] for it in example.find_sources([])] == ["json", "test"]
    assert [it["package"] for it in example.find_sources(["broken"])] == ["broken"] * 3


@pytest.mark.parametrize("path", sorted(BROKEN.glob("*.py")), ids=lambda path: path.name)
def test_the_broken_files_parse_on_no_python(path: Path) -> None:
    with pytest.raises(SyntaxError):
        ast.parse(path.read_bytes())


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

    assert example.wait(within=A_WHOLE_RUN) == 130, example.text
    assert "Traceback" not in example.text
    eventually(lambda: not processes_of(example.pid))
    assert not list(tmp_path.glob("stdlib-index-*"))


def test_an_index_in_the_background_of_a_script_can_be_terminated(
    spawn: Spawner, tmp_path: Path
) -> None:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        example = spawn.python(EXAMPLE, env={"TMPDIR": str(tmp_path)})
    finally:
        signal.signal(signal.SIGINT, before)
    example.wait_for_line("0 of ")

    example.terminate()

    assert example.wait(within=A_WHOLE_RUN) == 130, example.text
