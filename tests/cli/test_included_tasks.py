"""What the command line finds in a module that include= names and that declares Tasks."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.processes import Child, Spawner
from tests.support.servers import RedisServer

TASKS = """
from taskmanager import Tasks

tasks = Tasks(prefix="shop.")


@tasks.task
async def sell(item: str) -> None:
    print("sold", item)
"""

Run = Callable[..., Child]


@pytest.fixture
def run(spawn: Spawner, server: RedisServer, tmp_path: Path) -> Run:
    """Start the command line beside an app whose tasks are in a module of their own."""
    (tmp_path / "app.py").write_text(
        "from taskmanager import TaskManager\n\ntm = TaskManager(include=['jobs'])\n"
    )
    (tmp_path / "jobs.py").write_text(TASKS)

    def run(*arguments: str) -> Child:
        return spawn("--url", server.url, "--app", "app:tm", *arguments, cwd=tmp_path)

    return run


def test_a_worker_runs_an_app_whose_tasks_are_all_in_an_included_module(run: Run) -> None:
    assert run("emit", "shop.sell", "--data", '{"item": "tea"}').wait() == 0
    worker = run("worker", "--burst")

    assert worker.wait() == 0, worker.text
    assert "1: default/shop.sell" in worker.text
    assert "sold tea" in worker.text


def test_an_emit_checks_its_data_by_a_task_in_an_included_module(run: Run) -> None:
    emit = run("emit", "shop.sell", "--data", '{"item": 7}')

    assert emit.wait() == 2
    assert "item: Input should be a valid string" in emit.text


def test_an_included_module_whose_tasks_belong_to_another_manager_is_named(
    run: Run, tmp_path: Path
) -> None:
    (tmp_path / "jobs.py").write_text(
        TASKS + "\nfrom taskmanager import TaskManager\nTaskManager().include(tasks)\n"
    )
    worker = run("worker", "--burst")

    assert worker.wait() == 2
    assert "cannot import 'jobs': taskmanager.errors.InvalidOption: include <Tasks" in worker.text


def test_a_misspelt_option_is_reported_with_its_line_in_the_module(
    run: Run, tmp_path: Path
) -> None:
    (tmp_path / "jobs.py").write_text(TASKS.replace("@tasks.task", "@tasks.task(max_retry=3)"))
    worker = run("worker", "--burst")

    assert worker.wait() == 2
    assert "unknown option 'max_retry' in task (did you mean 'max_retries'?)" in worker.text
    assert f"at {tmp_path / 'jobs.py'}:7: @tasks.task(max_retry=3)" in worker.text
