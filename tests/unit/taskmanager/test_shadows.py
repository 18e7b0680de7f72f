"""A module of the user's that has the name of a package of ours is found, and nothing else is."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

from taskmanager.shadows import refuse_shadows

ROOT = Path(__file__).resolve().parents[3]
APP = """
from taskmanager import TaskManager

tm = TaskManager()
"""
# As pip writes it.
SCRIPT = """
from taskmanager.cli import main

if __name__ == "__main__":
    main()
"""
LATE = """
import sys
import taskmanager

sys.path.insert(0, sys.argv[1])
taskmanager.TaskManager
"""


def python(*arguments: str, cwd: Path) -> tuple[int, list[str]]:
    """Return the exit code of an interpreter and the lines that it wrote to stderr."""
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, done.stderr.splitlines()


@pytest.mark.parametrize("name", ["consumers", "processors"])
def test_the_command_line_says_in_one_line_which_file_hides_a_package(
    name: str, tmp_path: Path
) -> None:
    for file, text in {
        "app.py": APP,
        f"{name}.py": "print('never run')",
        "bin/taskmanager": SCRIPT,
    }.items():
        (tmp_path / file).parent.mkdir(exist_ok=True)
        (tmp_path / file).write_text(text)
    told = (
        f"Error: {tmp_path}/{name}.py has the same name as the package '{name}' of taskmanager "
        f"({ROOT}/{name}), and only one of them can be imported: rename yours, for example to "
        f"my_{name}.py, or move it into a package, for example as my_app.{name} (my_app/{name}.py)"
    )

    for command in (["-m", "taskmanager"], ["bin/taskmanager"]):
        assert python(*command, "worker", "app:tm", cwd=tmp_path) == (2, [told])
    assert python("-m", "taskmanager", "--help", cwd=tmp_path) == (0, [])
    code, lines = python("app.py", cwd=tmp_path)
    assert (code, lines[-1]) == (1, told.replace("Error:", "ImportError:"))


def test_a_file_that_comes_onto_the_path_after_the_import_is_found(tmp_path: Path) -> None:
    for file, text in {"late.py": LATE, "shop/processors/__init__.py": ""}.items():
        (tmp_path / file).parent.mkdir(exist_ok=True, parents=True)
        (tmp_path / file).write_text(text)

    code, lines = python("late.py", "shop", cwd=tmp_path)

    assert code == 1
    assert lines[-1].startswith(f"ImportError: {tmp_path}/shop/processors has the same name as ")
    assert lines[-1].endswith(
        "to my_processors, or move it into a package, for example as "
        "my_app.processors (my_app/processors)"
    )


def test_what_was_imported_under_that_name_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    module = ModuleType("consumers")
    module.__file__ = "/shop/consumers.py"
    monkeypatch.setitem(sys.modules, "consumers", module)

    for on_path in (True, False):
        with pytest.raises(ImportError, match=r"^/shop/consumers\.py has the same name as"):
            refuse_shadows(on_path=on_path)


def folder_without_init(tmp_path: Path) -> Path:
    (tmp_path / "consumers").mkdir()
    (tmp_path / "consumers" / "figures.csv").touch()
    return tmp_path


def inside_a_package(tmp_path: Path) -> Path:
    (tmp_path / "shop").mkdir()
    for name in ("__init__", "consumers", "processors"):
        (tmp_path / "shop" / f"{name}.py").touch()
    return tmp_path


def link_to_this(tmp_path: Path) -> Path:
    """As the root of a clone beside an installed copy of the packages."""
    for name in ("consumers", "processors", "taskmanager"):
        (tmp_path / name).symlink_to(ROOT / name)
    return tmp_path


def archive(tmp_path: Path) -> Path:
    with zipfile.ZipFile(tmp_path / "all.zip", "w") as into:
        for name in ("consumers", "processors", "taskmanager"):
            for file in (ROOT / name).rglob("*"):
                if file.suffix in (".py", ".lua"):
                    into.write(file, file.relative_to(ROOT))
    return tmp_path / "all.zip"


@pytest.mark.parametrize("made", [folder_without_init, inside_a_package, link_to_this, archive])
def test_what_hides_nothing_is_let_be(
    made: Callable[[Path], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(made(tmp_path))

    refuse_shadows()


def test_an_archive_of_the_packages_can_be_imported(tmp_path: Path) -> None:
    script = (
        f"import sys; sys.path[:] = [{str(archive(tmp_path))!r}, *sys.path]; import taskmanager"
    )

    assert python("-c", f"{script}; taskmanager.InvalidName", cwd=tmp_path) == (0, [])
