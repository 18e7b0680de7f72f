"""``manage.py taskmanager``, in processes of its own."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command
from django.tasks import TaskResultStatus

from taskmanager.contrib.django import TaskManagerBackend
from tests.contrib.django.project import manage
from tests.contrib.django.project.shop import tasks
from tests.contrib.django.test_results import ended
from tests.support.processes import Child, Spawner
from tests.support.servers import RedisServer

TASKS = 1000


class Project:
    """The project's manage.py, on the test's server."""

    def __init__(self, spawn: Spawner, server: RedisServer) -> None:
        self._spawn = spawn
        self._url = server.url

    def manage(self, *arguments: str, env: Mapping[str, str] | None = None) -> Child:
        """Start ``manage.py taskmanager <arguments>``."""
        where = {"TASKMANAGER_REDIS_URL": self._url}
        return self._spawn.python(
            str(Path(manage.__file__)), "taskmanager", *arguments, env={**where, **(env or {})}
        )

    def said(self, *arguments: str, code: int = 0) -> str:
        """Return what such a command printed."""
        child = self.manage(*arguments)
        assert child.wait() == code, child.text
        return child.text


@pytest.fixture
def project(spawn: Spawner, server: RedisServer) -> Project:
    return Project(spawn, server)


def test_two_processes_run_what_another_enqueues(
    project: Project, backend: TaskManagerBackend
) -> None:
    worker = project.manage(
        "worker", "-p", "2", "-c", "4", env={"SHOP_LOG": "shop says %(message)s"}
    )
    results = [tasks.add.enqueue(number, 1) for number in range(TASKS)]
    for result in results:
        ended(result)
    worker.wait_for_line("shop says .*add completed")
    worker.terminate()

    assert [it.return_value for it in results] == list(range(1, TASKS + 1))
    assert {it.status for it in results} == {TaskResultStatus.SUCCESSFUL}
    assert all(it.enqueued_at <= it.started_at <= it.finished_at for it in results)
    assert {it.attempts for it in results} == {1}
    assert len({name for it in results for name in it.worker_ids}) == 2
    assert worker.wait() == 0
    # Django's own lines, at INFO as well, would only repeat ours.
    assert "state=RUNNING" not in worker.text
    listed = json.loads(project.said("queues", "ls", "--json", "--settings", SETTINGS))
    assert {it["queue"]: it["completed_total"] for it in listed} == {"default": TASKS, "mail": 0}


SETTINGS = "tests.contrib.django.project.settings"


def test_what_cannot_be_run(project: Project) -> None:
    unknown = project.said("--backend", "other", "worker", code=1)
    commands = project.said()

    assert "CommandError: TASKS has no backend 'other'; its backends: default" in unknown
    assert "Usage: manage.py taskmanager [OPTIONS] COMMAND" in commands
    with pytest.raises(CommandError, match="run it from a shell"):
        call_command("taskmanager", "worker")
