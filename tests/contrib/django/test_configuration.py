"""OPTIONS and QUEUES, and what manage.py check says of them."""

from __future__ import annotations

from typing import Any

import django
import pytest
from django.core.checks import run_checks
from django.core.exceptions import ImproperlyConfigured
from django.tasks import task, task_backends
from django.tasks.exceptions import InvalidTask
from django.test import override_settings

from taskmanager import RetryPolicy, TaskManager
from taskmanager.contrib.django import TaskManagerBackend, TaskManagerTask, declared
from taskmanager.contrib.django.workers import worker_manager
from tests.contrib.django.project.shop import tasks

BACKEND = "taskmanager.contrib.django.TaskManagerBackend"
theirs: TaskManager = TaskManager("redis://localhost:1/0", namespace="theirs")
HERE = "tests.contrib.django.test_configuration"


def configured(queues: list[str] | None = None, **options: Any) -> override_settings:
    given = {"BACKEND": BACKEND, "OPTIONS": options, "QUEUES": queues or ["default"]}
    return override_settings(TASKS={"default": given})


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"url": "redis://x"}, "unknown option 'url' in TaskManager; allowed: redis, "),
        ({"lease": "long"}, "lease 'long' is not allowed"),
        ({"redis": "http://x"}, "redis://"),
        ({"app": f"{HERE}:theirs", "lease": 5}, "'lease' would have no effect beside 'app'"),
        ({"app": "shop"}, "name a TaskManager, as in 'shop.jobs:tm'"),
        ({"app": f"{HERE}:nobody"}, "does not define"),
        ({"app": f"{HERE}:BACKEND"}, "not a TaskManager"),
    ],
)
def test_options_that_make_no_task_manager(options: dict[str, Any], said: str) -> None:
    with configured(**options):
        with pytest.raises(ImproperlyConfigured, match=said.replace("'", ".")):
            _ = task_backends["default"].manager
        (error,) = run_checks()

    assert error.id == "taskmanager.E001"
    assert said in error.msg
    assert "TASKS['default']" in error.msg


@pytest.mark.parametrize("app", ["theirs", "factory"])
def test_an_app_that_is_there(app: str) -> None:
    with configured(app=f"{HERE}:{app}"):
        assert task_backends["default"].manager is theirs
        assert run_checks() == []


def factory() -> TaskManager:
    return theirs


def test_names_that_are_too_long(
    backend: TaskManagerBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Nobody else is to know the task.
    monkeypatch.setattr(declared, "_tasks", {})
    long_path = task(_far_away)

    with pytest.raises(InvalidTask, match="the path of a task is the event of its jobs"):
        long_path.enqueue()
    with configured(["default", "q" * 41, "no queue"], redis="redis://localhost"):
        found = [(it.id, it.obj) for it in run_checks()]

    assert found == [
        ("taskmanager.E002", None),
        ("taskmanager.E002", None),
        ("taskmanager.E003", long_path.module_path),
    ]


def _far_away() -> None: ...


_far_away.__module__ = "x." * 70 + "tasks"


def test_a_worker_handles_every_task_in_every_queue(backend: TaskManagerBackend) -> None:
    handled = set(worker_manager().handlers)

    assert {("default", tasks.add.module_path), ("mail", tasks.add.module_path)} <= handled
    assert len(handled) == 2 * len({event for _, event in handled})


def test_a_worker_is_refused_what_check_refuses() -> None:
    with configured(["q" * 41]), pytest.raises(ImproperlyConfigured, match="40 characters"):
        worker_manager()
    immediate = {"BACKEND": "django.tasks.backends.immediate.ImmediateBackend"}
    with (
        override_settings(TASKS={"default": immediate}),
        pytest.raises(ImproperlyConfigured, match="is a ImmediateBackend"),
    ):
        worker_manager()


@pytest.mark.skipif(django.VERSION < (6, 1), reason="@task takes no options before Django 6.1")
def test_a_task_may_say_how_it_is_run(backend: TaskManagerBackend) -> None:
    decorated = task(max_retries=3, timeout=5)(tasks.add.func)

    assert isinstance(decorated, TaskManagerTask)
    assert (decorated.max_retries, decorated.timeout) == (3, 5)
    with pytest.raises(InvalidTask, match="max_retries -1 is not allowed"):
        task(max_retries=-1)(tasks.add.func)
    with pytest.raises(InvalidTask, match=r"give a RetryPolicy"):
        task(retry=lambda job, error: True)(tasks.add.func)
    assert task(retry=RetryPolicy())(tasks.add.func).using(priority=1).retry == RetryPolicy()
