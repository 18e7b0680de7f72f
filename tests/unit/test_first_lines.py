"""What the first lines of modules in taskmanager/ say of all the others is so."""

from __future__ import annotations

import ast
import importlib
import inspect
import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import pytest

from taskmanager import JobHandle, SyncJobHandle, TaskManager, TaskManagerError, errors
from taskmanager.admin.dlq import DeadLetterQueue
from taskmanager.sync import Sync, SyncDeadLetterQueue

ROOT = Path(__file__).parents[2]
FACADE = ROOT / "taskmanager"


def sources(folder: Path) -> Iterator[tuple[str, ast.Module]]:
    """The files below a folder, by their path from there, parsed."""
    for path in sorted(folder.rglob("*.py")):
        yield path.relative_to(folder).as_posix(), ast.parse(path.read_text("utf-8"))


def files_that(name: str, folder: Path = FACADE) -> set[str]:
    """The files below a folder whose code, not text, has a name or an attribute like this."""
    pattern = re.compile(name)
    return {
        file
        for file, tree in sources(folder)
        if any(pattern.fullmatch(found) for found in _names(tree))
    }


def _names(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Name):
            yield node.id
        elif isinstance(node, ast.Attribute):
            yield node.attr


def imported(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (it.name for it in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module is not None:
            yield node.module


def test_settings_alone_reads_settings_from_the_environment() -> None:
    # One asks whether the user has chosen a debugger, one where tests cut the process.
    others = {"taskmanager/cli/terminal.py", "consumers/cuts.py"}

    found = {
        f"{package}/{file}"
        for package in ("consumers", "processors", "taskmanager")
        for file in files_that(r"environb?|getenvb?", ROOT / package)
    }

    assert found == {"taskmanager/settings.py", *others}


def test_one_file_starts_servers() -> None:
    assert files_that("Popen") == {"embedded/process.py"}


def test_one_file_sets_up_logging() -> None:
    setting_up = "basicConfig|dictConfig|fileConfig|setLevel|addHandler|captureWarnings"
    found = {
        f"{package}/{file}"
        for package in ("consumers", "processors", "taskmanager")
        for file in files_that(setting_up, ROOT / package)
    }

    assert found == {"taskmanager/worker/logs.py"}


def test_one_file_of_the_command_line_imports_the_users_code() -> None:
    # Names of our own are imported late; a worker that no command line starts imports include=.
    others = {"__init__.py", "handlers/modules.py"}

    assert files_that("import_module|__import__") == {"cli/loading.py", *others}


def test_connections_beside_the_clients_are_a_workers_and_a_commands_question() -> None:
    opening = "Wire|Producer|Consumer|Redis|from_url"
    naming_clients_only = {"configuration.py"}

    found = files_that(opening) - naming_clients_only

    assert found == {"clients/clients.py", "assembly.py", "cli/session.py"}


def test_the_command_line_ends_with_no_exit_code_without_a_name() -> None:
    ends = {"Exit", "exit", "_exit", "_leave", "_give_up"}

    assert not [
        (file, node.lineno)
        for file, tree in sources(FACADE / "cli")
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and _called(node) in ends and any(map(_is_number, node.args))
    ]


def _called(call: ast.Call) -> str:
    return next(_names(call.func), "")


def _is_number(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and type(node.value) is int


def test_options_are_read_without_io() -> None:
    doing_io = re.compile(
        r"(asyncio|os|redis|shutil|socket|subprocess|tempfile|threading|urllib)(\..*)?"
        r"|consumers\.(?!errors|jobs\.).*"
        r"|taskmanager\.(?!errors|options).*"
    )

    assert not [
        (file, module)
        for file, tree in sources(FACADE / "options")
        for module in imported(tree)
        if doing_io.fullmatch(module)
    ]


def test_errors_are_in_one_file_and_in_its_tree() -> None:
    for file, _ in sources(FACADE):
        if file not in ("__main__.py", "cli/terminal.py"):
            importlib.import_module(f"taskmanager.{_dotted(file)}".removesuffix("."))
    ours = {it for it in _below(TaskManagerError) if it.__module__.startswith("taskmanager")}

    assert {it.__name__ for it in ours if it.__module__ != errors.__name__} == {"EmitManyError"}
    drawn = set(re.findall(r"[├└]── (\w+)", errors.__doc__ or ""))
    in_file = {it.__name__ for it in ours if it.__module__ == errors.__name__}
    assert drawn == in_file | {"InvalidInput"}


def _dotted(file: str) -> str:
    return file.removesuffix(".py").removesuffix("__init__").replace("/", ".").removesuffix(".")


def _below(kind: type) -> Iterable[type]:
    for it in kind.__subclasses__():
        yield it
        yield from _below(it)


@pytest.mark.parametrize(
    ("kind", "twin", "without"),
    [
        # A thread has no worker of its own.
        (TaskManager, Sync, {"start", "stop", "run", "until_idle"}),
        (DeadLetterQueue, SyncDeadLetterQueue, set()),
        (JobHandle, SyncJobHandle, set()),
    ],
)
def test_twins_take_what_the_awaited_methods_take(
    kind: type, twin: type, without: set[str]
) -> None:
    awaited = dict(inspect.getmembers(kind, _is_awaited_and_public))

    for name in awaited.keys() - without:
        assert _parameters(getattr(twin, name)) == _parameters(awaited[name]), name
    assert without <= awaited.keys()


def _is_awaited_and_public(it: object) -> bool:
    return inspect.iscoroutinefunction(it) and not it.__name__.startswith("_")


def _parameters(function: Callable[..., object]) -> list[tuple[str, object, object]]:
    found = inspect.signature(function).parameters.values()
    return [(it.name, it.kind, it.default) for it in found]
