"""What the first lines of modules say of all the others is so."""

from __future__ import annotations

import ast
import importlib
import inspect
import re
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import pytest

from consumers.jobs.texts import describe, message_of, named, shown
from taskmanager import JobHandle, SyncJobHandle, TaskManager, TaskManagerError
from taskmanager.admin.dlq import DeadLetterQueue
from taskmanager.sync import Sync, SyncDeadLetterQueue

ROOT = Path(__file__).parents[2]
FACADE = ROOT / "taskmanager"
ENGINE = ROOT / "consumers"
PACKAGES = ("consumers", "processors", "taskmanager")


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


def files_that_import(name: str, folder: Path) -> set[str]:
    """The files below a folder that import a module like this."""
    pattern = re.compile(name)
    return {file for file, tree in sources(folder) if any(map(pattern.fullmatch, imported(tree)))}


def files_that_say(text: str, folder: Path) -> set[str]:
    """The files below a folder in whose code, not in docstrings, a text like this stands."""
    pattern = re.compile(text)
    return {
        file
        for file, tree in sources(folder)
        if any(pattern.search(found) for found in _texts(tree))
    }


def everywhere(find: Callable[[Path], set[str]]) -> set[str]:
    """What is found below the three packages, by its path from the root."""
    return {f"{package}/{file}" for package in PACKAGES for file in find(ROOT / package)}


def _texts(tree: ast.AST) -> Iterator[str]:
    docstrings = {
        id(node.body[0].value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
        and node.body
        and isinstance(node.body[0], ast.Expr)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and id(node) not in docstrings:
            if isinstance(node.value, str):
                yield node.value
            elif isinstance(node.value, bytes):
                yield node.value.decode("latin-1")


def imported(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (it.name for it in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module is not None:
            yield node.module


def test_settings_alone_reads_settings_from_the_environment() -> None:
    # One asks whether the user has chosen a debugger, one where tests cut the process.
    others = {"taskmanager/cli/terminal.py", "consumers/cuts.py"}

    found = everywhere(lambda folder: files_that(r"environb?|getenvb?", folder))

    assert found == {"taskmanager/settings.py", *others}


def test_one_file_starts_servers() -> None:
    assert files_that("Popen") == {"embedded/process.py"}


def test_one_file_sets_up_logging() -> None:
    setting_up = "basicConfig|dictConfig|fileConfig|setLevel|addHandler|captureWarnings"

    found = everywhere(lambda folder: files_that(setting_up, folder))

    assert found == {"taskmanager/worker/logs.py"}


def test_every_logger_is_one_of_those_that_the_docs_list() -> None:
    table = (ROOT / "docs" / "cli.md").read_text().partition("| logger |")[2].partition("\n\n")[0]
    listed = re.findall(r"^\| `([a-z.]+)` \|", table, re.MULTILINE)
    used = {
        call.args[0].value if isinstance(call.args[0], ast.Constant) else ast.unparse(call.args[0])
        for package in PACKAGES
        for file, tree in sources(ROOT / package)
        if f"{package}/{file}" != "taskmanager/worker/logs.py"
        for call in ast.walk(tree)
        if isinstance(call, ast.Call) and _called(call) in ("getLogger", "getChild", "Logger")
    }

    assert sorted(used) == sorted(listed)
    assert all(it.startswith("taskmanager.") for it in listed)


def test_one_file_of_the_command_line_imports_the_users_code() -> None:
    # Names of our own are imported late; a worker that no command line starts imports include=.
    # So does the first emit of a task whose Tasks names its app.
    # Django's app imports a module of Django's.
    others = {"__init__.py", "handlers/modules.py", "tasks/tasks.py", "contrib/django/apps.py"}

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


# The errors of the facade, of emits, of results, of tasks.
ERROR_FILES = (
    "taskmanager.errors",
    "taskmanager.emit.errors",
    "taskmanager.handles.errors",
    "taskmanager.tasks.errors",
)


def test_errors_are_in_the_files_for_them_and_in_their_trees() -> None:
    for file, _ in sources(FACADE):
        # What is in contrib/ needs its framework, and has no errors of its own.
        if file not in ("__main__.py", "cli/terminal.py") and not file.startswith("contrib/"):
            importlib.import_module(f"taskmanager.{_dotted(file)}".removesuffix("."))
    ours = {it for it in _below(TaskManagerError) if it.__module__.startswith("taskmanager")}

    assert {it.__name__ for it in ours if it.__module__ not in ERROR_FILES} == set()
    for name in ERROR_FILES:
        drawn = set(re.findall(r"[├└]── (\w+)", importlib.import_module(name).__doc__ or ""))
        in_file = {it.__name__ for it in ours if it.__module__ == name}
        assert in_file <= drawn <= in_file | {"InvalidInput", "InvalidPayload"}, name


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
        (TaskManager, Sync, {"connect", "start", "stop", "run", "until_idle"}),
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


# The engine


def test_every_key_is_built_in_one_file() -> None:
    def builds(folder: Path) -> set[str]:
        return {
            file
            for file, tree in sources(folder)
            for node in ast.walk(tree)
            if isinstance(node, ast.FormattedValue)
            and next(_names(node.value), "") in ("base", "namespace")
        }

    assert everywhere(builds) == {"consumers/store/keys.py"}


def test_one_file_sends_scripts() -> None:
    assert everywhere(lambda folder: files_that_say(r"^EVAL", folder)) == {
        "consumers/store/scripts.py"
    }


def test_one_file_says_what_a_scripts_refusal_means() -> None:
    found = everywhere(lambda folder: files_that_say(r"LAYOUT|WRONGTYPE|OOM", folder))

    assert found == {"consumers/store/refusals.py"}


def test_one_file_decides_which_names_are_allowed() -> None:
    def raises(folder: Path) -> set[str]:
        return {
            file
            for file, tree in sources(folder)
            for node in ast.walk(tree)
            if isinstance(node, ast.Call) and _called(node) == "InvalidName"
        }

    assert everywhere(raises) == {"consumers/jobs/names.py"}


def test_heads_are_read_in_one_file() -> None:
    naming = files_that_say(r"^head$", ENGINE)

    assert naming <= files_that_import(r"consumers\.jobs\.clauses", ENGINE)
    assert files_that_say(r"^head$", ROOT / "processors") == set()


def test_the_connector_alone_reads_urls_and_credentials() -> None:
    assert files_that_say(r"^(password|username)$", ENGINE) == {"connections/connector.py"}
    assert files_that("urlsplit|urlparse|parse_qsl", ENGINE) == {"connections/connector.py"}


def test_one_file_knows_croniter() -> None:
    assert everywhere(lambda folder: files_that_import("croniter", folder)) == {
        "processors/schedules/cron.py"
    }


def test_one_file_draws_from_chance_and_none_from_the_applications_generator() -> None:
    assert everywhere(lambda folder: files_that_import("random", folder)) == {"consumers/chance.py"}
    assert everywhere(lambda folder: files_that(r"wait_random.*|wait_\w*jitter", folder)) == set()


def test_schedules_are_read_in_one_file() -> None:
    def asks(folder: Path) -> set[str]:
        return {
            file
            for file, tree in sources(folder)
            for node in ast.walk(tree)
            if isinstance(node, ast.Attribute)
            and node.attr in ("schedule", "schedules", "schedule_names")
            and next(_names(node.value), "") in ("keys", "_keys")
        }

    assert everywhere(asks) == {
        "consumers/store/scheduling.py",
        "processors/schedules/timetable.py",
    }


def test_no_shared_connection_is_blocked() -> None:
    assert files_that_say(r"^BLOCK$", ENGINE) == {"fetch/reader.py"}
    reader = ast.parse((ENGINE / "fetch" / "reader.py").read_text("utf-8"))
    assert "consumers.connections.wire" not in set(imported(reader))


_IO = r"(asyncio|redis|socket|subprocess|threading)(\..*)?|consumers\.(connections|store)(\..*)?"


@pytest.mark.parametrize(
    ("folder", "files"),
    [
        (ENGINE / "jobs", r".*"),
        (ENGINE, r"(policy|errors)\.py"),
        (ROOT / "processors", r"processor\.py|retries/.*"),
    ],
)
def test_what_a_job_is_and_what_becomes_of_it_is_told_without_io(folder: Path, files: str) -> None:
    # An exception is no I/O.
    others = {"retries/retry.py"}

    assert {it for it in files_that_import(_IO, folder) if re.fullmatch(files, it)} <= others


def test_the_inspector_asks_only() -> None:
    tree = ast.parse((ENGINE / "admin" / "inspector.py").read_text("utf-8"))
    steps = {it for it in imported(tree) if it.startswith("consumers.store.")}

    assert steps <= {
        f"consumers.store.{it}"
        for it in ("asking", "entries", "fleet", "keys", "pause_state", "scripts")
    }
    commands = {it for it in _texts(tree) if re.fullmatch(r"[A-Z]{3,}", it)}
    assert commands == {
        "GET", "HGETALL", "HMGET", "LRANGE", "SCARD", "SMEMBERS", "XINFO", "GROUPS", "XLEN",
        "ZCARD", "ZCOUNT", "ZRANGE",
    }  # fmt: skip


def test_errors_of_the_engine_are_in_one_file_and_in_its_tree() -> None:
    for file, _ in sources(ENGINE):
        importlib.import_module(f"consumers.{_dotted(file)}".removesuffix("."))
    ours = {it for it in _below(TaskManagerError) if it.__module__.startswith("consumers")}

    assert {it.__module__ for it in ours} == {"consumers.errors"}
    drawn = set(re.findall(r"[├└]── (\w+)", sys.modules["consumers.errors"].__doc__ or ""))
    assert drawn == {it.__name__ for it in ours}


@pytest.mark.parametrize("tell", [describe, message_of, named, lambda it: shown(it, 100)])
def test_no_text_for_people_raises_whatever_it_is_about(tell: Callable[..., str]) -> None:
    assert tell(_Rude())


class _Rude(Exception):
    """Raises wherever it is looked at."""

    def __str__(self) -> str:
        raise RuntimeError("no text")

    __repr__ = __str__
