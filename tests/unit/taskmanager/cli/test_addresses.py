"""--url, --namespace and --app, wherever they stand, and TASKMANAGER_APP."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result

from taskmanager.cli import cli

NOWHERE = "redis://alice:s3cret@127.0.0.1:1/0"
ELSEWHERE = "redis://alice:other@127.0.0.1:2/0"


def run(*arguments: str, **environment: str) -> Result:
    return CliRunner(
        env={"TASKMANAGER_REDIS_URL": None, "TASKMANAGER_APP": None, **environment}
    ).invoke(cli, arguments)


def paths(command: click.Command, *above: str) -> Iterator[tuple[str, ...]]:
    """The names that lead to each command which is not a group."""
    if not isinstance(command, click.Group):
        yield above
        return
    for name, below in command.commands.items():
        yield from paths(below, *above, name)


def test_every_command_takes_the_three_before_its_names_and_after_them() -> None:
    given = ("--url", NOWHERE, "--namespace", "shop", "--app", "app:tm")

    for path in paths(cli):
        for at in range(len(path) + 1):
            result = run(*path[:at], *given, *path[at:], "--no-such-option")

            assert "No such option '--no-such-option'" in result.stderr, path


def test_an_option_between_our_own_processes_is_not_suggested() -> None:
    assert "--processes" in run("worker", "--procesess", "2").stderr
    for name in ("--indx", "--redi", "--parnt"):
        error = run("worker", name, "1").stderr.splitlines()[-1]

        assert error.startswith(f"Error: No such option '{name}'.")
        assert not any(f"'{it}'" in error for it in ("--index", "--redis", "--parent"))


@pytest.mark.parametrize(
    "arguments",
    [
        ("--url", NOWHERE, "dlq", "ls"),
        ("dlq", "--url", NOWHERE, "ls"),
        ("dlq", "ls", "--url", NOWHERE),
        ("--url", NOWHERE, "dlq", "ls", "--url", NOWHERE),
        ("emit", "x", "--url", NOWHERE, "--url", NOWHERE),
    ],
)
def test_it_counts_the_same_at_each_place(arguments: tuple[str, ...]) -> None:
    result = run(*arguments)

    assert result.exit_code == 3
    assert "Redis at redis://alice:***@127.0.0.1:1/0 is unavailable" in result.stderr
    # Only a command that stores something has that to say.
    assert ("(nothing was stored)" in result.stderr) == (arguments[0] == "emit")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--url", NOWHERE, "dlq", "ls", "--url", ELSEWHERE), "--url is given twice"),
        (("dlq", "ls", "--url", NOWHERE, "--url", ELSEWHERE), "--url is given twice"),
        (("dlq", "--namespace", "a", "ls", "--namespace", "b"), "--namespace is given twice"),
        (("--app", "a:tm", "emit", "x", "--app", "b:tm"), "--app is given twice"),
        (("worker", "a:tm", "--app", "b:tm"), "the app is given twice"),
    ],
)
def test_two_that_differ_are_wrong_usage(arguments: tuple[str, ...], said: str) -> None:
    result = run(*arguments)

    assert result.exit_code == 2
    assert f"{said} with different values: give it once" in result.stderr
    assert "s3cret" not in result.output
    assert "other" not in result.output


def test_the_environment_names_the_app_where_the_command_line_does_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    source = "from taskmanager import TaskManager\ntm = TaskManager('{}')"
    (tmp_path / "app_of_environment.py").write_text(source.format(NOWHERE))
    (tmp_path / "app_of_option.py").write_text(source.format(ELSEWHERE))

    by_environment = run("queues", "ls", TASKMANAGER_APP="app_of_environment:tm")
    by_option = run("queues", "ls", "--app", "app_of_option:tm", TASKMANAGER_APP="no:tm")

    assert "127.0.0.1:1/0 is unavailable" in by_environment.stderr
    assert "127.0.0.1:2/0 is unavailable" in by_option.stderr


@pytest.mark.parametrize("command", ["worker", "dev"])
def test_without_an_app_a_worker_says_where_it_may_be_named(command: str) -> None:
    result = run(command, TASKMANAGER_APP="")

    assert result.exit_code == 2
    assert f"no app is named: run {command} MODULE:ATTR, add --app MODULE:ATTR, or" in result.stderr
    assert "set TASKMANAGER_APP" in result.stderr


def test_without_a_redis_a_command_says_where_one_may_be_named() -> None:
    result = run("queues", "ls")

    assert result.exit_code == 2
    for name in ("--url", "--app", "TASKMANAGER_REDIS_URL", "TASKMANAGER_APP"):
        assert name in result.stderr
