"""What the package offers by name."""

from __future__ import annotations

import subprocess
import sys

import consumers.errors
import processors.schedules.pattern
import taskmanager
import taskmanager.emit.errors
import taskmanager.errors
import taskmanager.handles.errors
import taskmanager.tasks.errors
from taskmanager import TaskManagerError


def _errors_of(module: object) -> set[str]:
    return {
        name
        for name, value in vars(module).items()
        if isinstance(value, type) and issubclass(value, TaskManagerError)
    }


def test_every_name_can_be_imported() -> None:
    for name in taskmanager.__all__:
        assert getattr(taskmanager, name) is not None
    assert set(taskmanager.__all__) <= set(dir(taskmanager))
    assert len(set(taskmanager.__all__)) == len(taskmanager.__all__)


def test_every_error_is_exported() -> None:
    modules = (
        consumers.errors,
        processors.schedules.pattern,
        taskmanager.errors,
        taskmanager.emit.errors,
        taskmanager.handles.errors,
        taskmanager.tasks.errors,
    )

    assert set().union(*map(_errors_of, modules)) <= set(taskmanager.__all__)


def test_importing_the_package_imports_nothing_else() -> None:
    script = "import sys, taskmanager; print(sorted({'redis', 'pydantic'} & sys.modules.keys()))"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )

    assert done.stdout == "[]\n"


def test_the_package_can_be_imported_where_there_is_no_fork() -> None:
    """As on Windows."""
    script = "import os; del os.fork, os.register_at_fork; from taskmanager import TaskManager"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False
    )

    assert (done.returncode, done.stderr) == (0, "")
