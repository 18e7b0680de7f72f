"""Import the user's code: find the TaskManager that MODULE:ATTR names, and its handlers.

Nothing else in the command line imports it.
"""

from __future__ import annotations

import importlib
import inspect
import os
import sys
import traceback
from collections.abc import Callable
from types import ModuleType
from typing import TYPE_CHECKING, Any, TypeVar

from taskmanager.cli.exits import USAGE, Exit, check_packages
from taskmanager.options.signatures import signature_of

if TYPE_CHECKING:
    from taskmanager.manager import TaskManager

T = TypeVar("T")

_ROOT = os.path.dirname(os.path.dirname(os.path.dirname(__file__)))
# Lines of these say nothing about a fault of the user, such as a misspelt option.
_NOT_THEIRS = (
    "<frozen importlib",
    importlib.__file__,
    *(os.path.join(_ROOT, it, "") for it in ("consumers", "processors", "taskmanager")),
)


def load(target: str) -> TaskManager[Any]:
    """Return the TaskManager at MODULE:ATTR, or the one that a function there returns.

    The working directory is searched first. Any failure is an Exit with code 2 that names the cause
    and its place.
    """
    module_name, attribute = _split(target)
    _search_working_directory()
    check_packages()
    module = _imported(module_name, importlib.import_module)
    return _manager(_attribute(module, attribute), target)


def import_handlers(tm: TaskManager[Any]) -> None:
    """Import the modules that the TaskManager includes; a failure is an Exit as above."""
    for name in tm.included:
        _imported(name, tm.import_handlers)


def import_what_is_here(tm: TaskManager[Any]) -> list[str]:
    """Import the modules that the TaskManager includes; return why some of them cannot be."""
    reasons = []
    for name in tm.included:
        try:
            _imported(name, tm.import_handlers)
        except Exit as error:
            reasons.append(error.message)
    return reasons


def _split(target: str) -> tuple[str, str]:
    module, _, attribute = target.partition(":")
    if not module or not attribute or module.endswith(".py") or "/" in module:
        raise Exit(
            f"{target!r} does not name an app: give MODULE:ATTR, for example "
            "shop.jobs:tm for the variable tm in shop/jobs.py",
            USAGE,
        )
    return module, attribute


def _search_working_directory() -> None:
    here = os.getcwd()
    # `python -m` puts it on the path, the installed command does not.
    if here not in sys.path and "" not in sys.path:
        sys.path.insert(0, here)


def _imported(name: str, how: Callable[[str], T]) -> T:
    """Import a module by calling how, and return the result. Any failure becomes an Exit."""
    try:
        return how(name)
    except ModuleNotFoundError as error:
        if error.name is not None and f"{name}.".startswith(f"{error.name}."):
            raise Exit(
                f"there is no module {error.name!r} in {os.getcwd()} or on sys.path. "
                "Run the command in the folder that contains it",
                USAGE,
            ) from error
        raise Exit(f"cannot import {name!r}: {cause(error)}", USAGE) from error
    except (Exception, SystemExit) as error:
        raise Exit(f"cannot import {name!r}: {cause(error)}", USAGE) from error


def _attribute(module: ModuleType, path: str) -> Any:
    found: Any = module
    for name in path.split("."):
        try:
            found = getattr(found, name)
        except AttributeError:
            raise Exit(
                f"module {module.__name__!r} ({_file(module)}) has no {path!r}. "
                + _there_is(module),
                USAGE,
            ) from None
    return found


def _manager(found: Any, target: str) -> TaskManager[Any]:
    from taskmanager.manager import TaskManager
    from taskmanager.tasks.task import Task

    # A task would run here, in place of a worker.
    if callable(found) and not isinstance(found, type | Task):
        found = _call(found, target)
    if isinstance(found, TaskManager):
        return found
    if inspect.iscoroutine(found):
        found.close()
    what = "a task" if isinstance(found, Task) else f"of type {type(found).__name__}"
    raise Exit(
        f"{target!r} is {what}: it must be a TaskManager, "
        "or a function without arguments that returns one",
        USAGE,
    )


def _call(factory: Any, target: str) -> Any:
    try:
        signature_of(factory).bind()
    except TypeError as error:
        raise Exit(f"{target!r} cannot be called without arguments: {error}", USAGE) from error
    try:
        return factory()
    except (Exception, SystemExit) as error:
        raise Exit(f"{target!r} failed: {cause(error)}", USAGE) from error


def _there_is(module: ModuleType) -> str:
    from taskmanager.manager import TaskManager

    names = [name for name, value in vars(module).items() if isinstance(value, TaskManager)]
    if not names:
        return "No variable of the module is a TaskManager"
    return "Its TaskManagers: " + ", ".join(sorted(names))


def cause(error: BaseException) -> str:
    """Return the error in one line, with the last line of the user's code in its traceback."""
    if isinstance(error, SyntaxError) and error.filename:
        return f"{type(error).__name__}: {error.msg}" + _place(
            error.filename, error.lineno, error.text
        )
    text = " ".join("".join(traceback.format_exception_only(error)).split())
    frames = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if not frame.filename.startswith(_NOT_THEIRS)
    ]
    return text + (
        _place(frames[-1].filename, frames[-1].lineno, frames[-1].line) if frames else ""
    )


def _place(file: str, line: int | None, source: str | None) -> str:
    return f", at {file}:{line}" + (f": {source.strip()}" if source and source.strip() else "")


def _file(module: ModuleType) -> str:
    return getattr(module, "__file__", None) or "built in"
