from __future__ import annotations

import asyncio
import io
import json
import logging
import os
import re
import signal
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result

from consumers.errors import InvalidPriority, QueueFull, RedisUnavailable
from taskmanager.cli import cli
from taskmanager.cli.banner import Banner
from taskmanager.cli.exits import Exit, reported
from taskmanager.cli.loading import load
from taskmanager.cli.supervisor import Start, Supervisor
from taskmanager.cli.work import _banner
from taskmanager.manager import TaskManager
from taskmanager.worker import logs
from tests.support.waiting import PATIENCE, aeventually

ROOT = Path(__file__).resolve().parents[4]
NOWHERE = "redis://alice:s3cret@127.0.0.1:1/0"

AppWriter = Callable[[str], str]


@pytest.fixture
def write_app(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[AppWriter]:
    """Write a module into the working directory; its name is new for each test."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    before = set(sys.modules)

    def write(source: str) -> str:
        name = f"app_{tmp_path.name}"
        (tmp_path / f"{name}.py").write_text(textwrap.dedent(source))
        return name

    yield write
    for name in set(sys.modules) - before:
        if name.startswith("app_"):
            del sys.modules[name]


def refused(target: str) -> str:
    with pytest.raises(Exit) as caught:
        load(target)
    assert caught.value.exit_code == 2
    assert "\n" not in caught.value.message
    return caught.value.message


def run(*arguments: str, stdin: str | None = None) -> Result:
    return CliRunner().invoke(cli, arguments, input=stdin)


# --- MODULE:ATTR -------------------------------------------------------------------------


def test_an_app_is_found_in_the_working_directory(write_app: AppWriter) -> None:
    name = write_app("from taskmanager import TaskManager\ntm = TaskManager()")

    assert isinstance(load(f"{name}:tm"), TaskManager)


def test_a_factory_is_called(write_app: AppWriter) -> None:
    name = write_app(
        """
        from taskmanager import TaskManager
        class Apps:
            @staticmethod
            def make(namespace="shop"):
                return TaskManager(namespace=namespace)
        """
    )

    assert isinstance(load(f"{name}:Apps.make"), TaskManager)


@pytest.mark.parametrize("target", ["app", "app:", ":tm", "app.py:tm", "shop/app:tm", ""])
def test_a_target_without_module_and_attribute_is_refused(target: str) -> None:
    assert "give MODULE:ATTR" in refused(target)


def test_a_missing_module_is_named_with_the_folder_searched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)

    message = refused("no_such_app.jobs:tm")

    assert "there is no module 'no_such_app'" in message
    assert str(tmp_path) in message


def test_a_module_that_the_app_misses_is_told_from_the_app_itself(write_app: AppWriter) -> None:
    name = write_app("x = 1\nimport no_such_dependency")

    message = refused(f"{name}:tm")

    assert f"cannot import {name!r}: ModuleNotFoundError" in message
    assert f"{name}.py:2: import no_such_dependency" in message


def test_an_error_in_the_module_is_shown_as_its_cause_and_place(write_app: AppWriter) -> None:
    name = write_app("def connect():\n    return {}['HOST']\n\n\nconnect()")

    message = refused(f"{name}:tm")

    assert re.search(r"KeyError: 'HOST', at \S+\.py:2: return {}\['HOST'\]", message)


def test_a_syntax_error_is_shown_with_its_line(write_app: AppWriter) -> None:
    name = write_app("x = 1\ntm = = 2")

    message = refused(f"{name}:tm")

    assert re.search(r"SyntaxError: invalid syntax, at \S+\.py:2: tm = = 2", message)


def test_a_module_that_exits_is_an_import_error(write_app: AppWriter) -> None:
    name = write_app("import sys\nsys.exit('no licence')")

    assert "SystemExit: no licence" in refused(f"{name}:tm")


def test_a_missing_attribute_names_the_ones_that_exist(write_app: AppWriter) -> None:
    name = write_app("from taskmanager import TaskManager\njobs = TaskManager()")

    assert "has no 'tm'. Its TaskManagers: jobs" in refused(f"{name}:tm")


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("tm = 3", "is of type int: it must be a TaskManager"),
        ("def tm(): return 3", "is of type int: it must be a TaskManager"),
        ("async def tm(): return 3", "is of type coroutine: it must be a TaskManager"),
        ("def tm(url): return 3", "cannot be called without arguments: missing"),
        ("def tm(): raise OSError('no disk')", "failed: OSError: no disk, at"),
        ("from taskmanager import TaskManager as tm", "is of type type: it must be a TaskManager"),
    ],
)
def test_what_is_no_task_manager_is_refused(write_app: AppWriter, source: str, said: str) -> None:
    assert said in refused(f"{write_app(source)}:tm")


def test_a_task_in_place_of_its_app_is_refused_and_not_run(write_app: AppWriter) -> None:
    name = write_app(
        """
        from taskmanager import TaskManager
        tm = TaskManager()
        ran = []
        @tm.task
        def clean_up() -> None: ran.append(True)
        """
    )

    assert "is a task: it must be a TaskManager" in refused(f"{name}:clean_up")
    assert sys.modules[name].ran == []


# --- Exit codes --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (InvalidPriority(1000), 2),
        (RedisUnavailable("redis://h", "refused\nreally", outcome="not_sent"), 3),
        (QueueFull("mail", "full"), 1),
    ],
)
def test_each_error_has_its_exit_code_and_one_line(error: Exception, code: int) -> None:
    with pytest.raises(click.ClickException) as caught, reported():
        raise error

    assert caught.value.exit_code == code
    assert "\n" not in caught.value.message


def test_a_bug_keeps_its_traceback() -> None:
    with pytest.raises(ZeroDivisionError), reported():
        raise ZeroDivisionError


@pytest.mark.parametrize(
    "arguments",
    [
        ("worker",),
        ("worker", "no_such_module:tm"),
        ("worker", "app:tm", "-c", "0"),
        ("worker", "app:tm", "-p", "none"),
        ("emit",),
        ("emit", "x", "--data", "{'n': 1}"),
        ("emit", "x", "--priority", "1000"),
        ("emit", "not a name"),
        ("emit", "x", "--id", "two words"),
        ("emit", "x", "--data", "NaN"),
        ("no-such-command",),
    ],
)
def test_wrong_usage_exits_2(arguments: tuple[str, ...]) -> None:
    result = run("--url", NOWHERE, *arguments)

    assert result.exit_code == 2, result.output
    assert "Traceback" not in result.stderr


def test_no_url_is_wrong_usage_and_says_where_one_may_stand(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("TASKMANAGER_REDIS_URL", raising=False)

    result = run("emit", "x")

    assert result.exit_code == 2
    assert "TASKMANAGER_REDIS_URL" in result.stderr


def test_an_unreachable_redis_exits_3_with_one_line_without_the_password() -> None:
    result = run("--url", NOWHERE, "emit", "x")

    assert result.exit_code == 3
    assert result.stderr.count("\n") == 1
    assert "127.0.0.1:1" in result.stderr
    assert "s3cret" not in result.output


def test_an_interrupted_command_exits_130_and_says_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("taskmanager.cli.commands.emit.manager", interrupted)

    result = run("--url", NOWHERE, "emit", "x")

    assert (result.exit_code, result.output) == (130, "")


def test_an_interrupt_while_the_command_line_is_imported_prints_no_traceback() -> None:
    program = (
        "import os, signal, sys\n"
        "class Interrupted:\n"
        "    def find_spec(self, name, *_):\n"
        "        if name == 'click': os.kill(os.getpid(), signal.SIGINT)\n"
        "sys.meta_path.insert(0, Interrupted())\n"
        "from taskmanager.__main__ import main\n"
        "main()\n"
    )

    ended = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False
    )

    assert (ended.returncode, ended.stdout, ended.stderr) == (-signal.SIGINT, "", "")


def test_help_imports_no_redis() -> None:
    program = (
        "import sys\n"
        "from taskmanager.cli import cli\n"
        "for command in ('worker', 'dev', 'emit'):\n"
        "    try: cli([command, '--help'])\n"
        "    except SystemExit: pass\n"
        "heavy = {'redis', 'pydantic', 'asyncio', 'consumers', 'taskmanager.manager', "
        "'watchfiles', 'subprocess'}\n"
        "sys.exit(str(heavy & set(sys.modules)) if heavy & set(sys.modules) else 0)\n"
    )

    ended = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False
    )

    assert ended.returncode == 0, ended.stderr
    assert "MODULE:ATTR" in ended.stdout


@pytest.mark.parametrize(
    ("line", "offered"),
    [
        (
            "",
            {"dev", "dlq", "emit", "jobs", "queues", "routes", "schedules", "worker", "workers"},
        ),
        ("workers ", {"ls", "show"}),
        ("dlq --url x ", {"ls", "show", "replay", "purge"}),
    ],
)
def test_the_shell_completes_commands(line: str, offered: set[str]) -> None:
    words = f"taskmanager {line}"
    asked = {"COMP_WORDS": words, "COMP_CWORD": str(words.count(" "))}
    ended = subprocess.run(
        [sys.executable, "-m", "taskmanager"],
        env={**os.environ, "_TASKMANAGER_COMPLETE": "bash_complete", **asked},
        cwd=ROOT, capture_output=True, text=True, check=True,
    )  # fmt: skip

    assert {it.removeprefix("plain,") for it in ended.stdout.split()} == offered


# --- The supervisor ----------------------------------------------------------------------


class Children:
    """Commands for a supervisor: each start writes a line, then runs the given Python.

    They are in process groups of their own, so they look themselves whether their parent lives.
    """

    def __init__(self, folder: Path, program: str) -> None:
        self.log = folder / "starts"
        self.log.touch()
        note = f"""
            import os, sys, threading, time
            def end_with_the_tests():
                while os.getppid() == {os.getpid()}:
                    time.sleep(0.1)
                os._exit(1)
            threading.Thread(target=end_with_the_tests, daemon=True).start()
            with open({str(self.log)!r}, "a") as log:
                print(sys.argv[1], os.getpid(), file=log)
            with open({str(self.log)!r}) as log:
                starts = sum(line.startswith(sys.argv[1] + " ") for line in log)
        """
        self.program = textwrap.dedent(note) + textwrap.dedent(program)

    def __call__(self, start: Start) -> list[str]:
        return [sys.executable, "-c", self.program, str(start.index), str(start.ready)]

    @property
    def starts(self) -> list[tuple[int, int]]:
        """The (index, pid) of every start so far."""
        lines = self.log.read_text().splitlines()
        return [(int(index), int(pid)) for index, pid in map(str.split, lines)]


# What a child says once it runs.
READY = "os.write(int(sys.argv[2]), b'1')"


def supervise(children: Children, processes: int) -> tuple[Supervisor, asyncio.Task[int]]:
    supervisor = Supervisor(children, processes=processes, first_pause=0.01)
    return supervisor, asyncio.create_task(supervisor.run())


async def test_a_supervisor_ends_with_0_when_all_its_workers_have(tmp_path: Path) -> None:
    children = Children(tmp_path, "sys.exit(0)")

    _, running = supervise(children, 3)

    assert await running == 0
    assert sorted(index for index, _ in children.starts) == [1, 2, 3]


async def test_a_worker_that_was_killed_is_started_again(tmp_path: Path) -> None:
    children = Children(tmp_path, "import signal; signal.pause()")
    supervisor, running = supervise(children, 2)
    await aeventually(lambda: len(children.starts) == 2)
    index, pid = children.starts[0]

    os.kill(pid, signal.SIGKILL)

    await aeventually(lambda: [it[0] for it in children.starts].count(index) == 2)
    assert len(children.starts) == 3
    supervisor.stop()
    assert await running == 0


async def test_a_supervisor_gives_up_a_worker_that_never_ran_after_five_starts(
    tmp_path: Path,
) -> None:
    children = Children(
        tmp_path,
        """
        import signal
        os.kill(os.getpid(), signal.SIGKILL) if sys.argv[1] == "1" else signal.pause()
        """,
    )

    _, running = supervise(children, 2)

    assert await running == 1
    assert [index for index, _ in children.starts].count(1) == 5


async def test_a_worker_that_once_ran_is_started_again_whatever_kills_it(tmp_path: Path) -> None:
    children = Children(
        tmp_path,
        f"""
        import signal
        if sys.argv[1] == "2" or starts > 8:
            signal.pause()
        if starts == 1:
            {READY}
        os._exit(3) if starts < 4 else os.kill(os.getpid(), signal.SIGKILL)
        """,
    )
    supervisor, running = supervise(children, 2)

    await aeventually(lambda: [index for index, _ in children.starts].count(1) == 9)

    supervisor.stop()
    assert await running == 0


async def test_a_worker_learns_whether_it_was_started_before(tmp_path: Path) -> None:
    children = Children(tmp_path, "sys.exit(0 if starts == 3 else 1)")
    counts: list[int] = []

    def command(start: Start) -> list[str]:
        counts.append(start.count)
        return children(start)

    assert await Supervisor(command, processes=1, first_pause=0.01).run() == 0
    assert counts == [1, 2, 3]


async def test_the_pause_between_starts_stays_within_its_most(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("taskmanager.cli.supervisor.LONGEST_PAUSE_S", 0.01)
    supervisor = Supervisor(lambda start: [], processes=1)

    for quick_deaths in (0, 1, 20, 5_000):
        await asyncio.wait_for(supervisor._pause(1, 1, quick_deaths), PATIENCE)


def test_no_pipe_is_left_open_by_a_supervisor(tmp_path: Path) -> None:
    children = Children(tmp_path, "sys.exit(0 if starts == 3 else 1)")
    before = os.listdir("/dev/fd")

    asyncio.run(Supervisor(children, processes=2, first_pause=0.01).run())

    assert len(os.listdir("/dev/fd")) == len(before)


@pytest.mark.parametrize("code", [2, 3])
async def test_a_worker_that_cannot_start_at_all_is_not_tried_again(
    tmp_path: Path, code: int
) -> None:
    children = Children(
        tmp_path,
        f"""
        import signal
        sys.exit({code}) if sys.argv[1] == "1" else signal.pause()
        """,
    )

    _, running = supervise(children, 2)

    assert await running == code
    assert [index for index, _ in children.starts].count(1) == 1


async def test_every_signal_is_handed_on_so_that_the_third_forces_the_end(tmp_path: Path) -> None:
    children = Children(
        tmp_path,
        """
        import signal, time
        got = []
        signal.signal(signal.SIGTERM, lambda *_: got.append(1))
        while len(got) < 3:
            open(sys.argv[1] + ".got", "w").write(f"ready {len(got)}")
            time.sleep(0.01)
        os._exit(4)
        """.replace('sys.argv[1] + ".got"', f"{str(tmp_path / 'got')!r}"),
    )
    supervisor, running = supervise(children, 1)
    got = tmp_path / "got"
    await aeventually(lambda: got.exists() and got.read_text() == "ready 0")

    for number in (1, 2):
        supervisor.stop()
        await aeventually(lambda n=number: got.read_text() == f"ready {n}")
    supervisor.stop()

    assert await running == 4
    assert len(children.starts) == 1


async def test_nothing_is_started_again_while_the_supervisor_stops(tmp_path: Path) -> None:
    children = Children(tmp_path, "import signal; signal.pause()")
    supervisor, running = supervise(children, 2)
    await aeventually(lambda: len(children.starts) == 2)

    supervisor.stop()

    assert await running == 0
    assert len(children.starts) == 2


# --- Banner and logs ---------------------------------------------------------------------


def test_the_banner_says_that_one_slot_is_the_default() -> None:
    banner = Banner("redis://h:6379/0", ["mail"], [("mail", "send")], slots=1, processes=2)

    text = str(banner)

    assert "redis       redis://h:6379/0" in text
    assert "queues      mail" in text
    assert "handlers    1: mail/send" in text
    assert "concurrency 1 job at a time per process, in exact order (the default" in text
    assert "processes   2" in text


def test_the_banner_shows_what_was_set_of_the_worker_and_which_handlers_it_leaves_out() -> None:
    tm = TaskManager(
        NOWHERE, type="encoder", capabilities=["gpu", "av1"], levels=[0, 5], region="eu", prefetch=0
    )
    tm.registerHandler(lambda job: None, {"event": "render", "requires": ["gpu"]})
    tm.registerHandler(lambda job: None, {"event": "cut", "requires": ["gpu", "cuda"]})

    lines = _banner(tm, processes=1).splitlines()

    assert lines[3:10] == [
        "  handlers     1: default/render",
        "  left out     1: default/cut (lacks cuda)",
        "  type         encoder",
        "  capabilities av1, gpu",
        "  levels       5, 0",
        "  region       eu",
        "  prefetch     0",
    ]


def test_the_banner_stays_on_one_screen_with_many_handlers() -> None:
    banner = Banner("redis://h", ["q"], [("q", f"e{n:03}") for n in range(100)], slots=8)

    assert "handlers    100: q/e000, " in str(banner)
    assert "q/e019, and 80 more" in str(banner)


def logged(format: logs.LogFormat, *, error: bool = False) -> str:
    stream = io.StringIO()
    root = logging.getLogger()
    before = root.handlers[:], root.level
    try:
        logs.configure(format, stream=stream)
        try:
            1 / 0  # noqa: B018
        except ZeroDivisionError:
            logging.getLogger("shop.mail").warning(
                "sent %d mails", 2, extra={"job": "7", "took_ms": 1.5}, exc_info=error
            )
    finally:
        logging.captureWarnings(False)
        root.handlers[:], root.level = before
    return stream.getvalue()


def test_the_console_format_is_one_line_with_the_fields_behind_the_sentence() -> None:
    line = logged("console")

    assert re.fullmatch(
        r"\d\d:\d\d:\d\d\.\d{3} WARNING shop\.mail  sent 2 mails  job=7 took_ms=1\.5\n", line
    )


def test_the_console_format_shows_a_traceback_below_the_line() -> None:
    text = logged("console", error=True)

    assert text.splitlines()[1] == "  Traceback (most recent call last):"
    assert text.endswith("\n  ZeroDivisionError: division by zero\n")


def test_the_json_format_is_one_object_a_line() -> None:
    text = logged("json", error=True)

    entry = json.loads(text)
    assert text.count("\n") == 1
    assert entry["at"].endswith("+00:00")
    assert entry["level"] == "warning"
    assert entry["logger"] == "shop.mail"
    assert entry["message"] == "sent 2 mails"
    assert entry["job"] == "7"
    assert entry["took_ms"] == 1.5
    assert entry["pid"] == os.getpid()
    assert "ZeroDivisionError" in entry["traceback"]
