"""What surrounds a task in a worker: signals, connections, and tasks that enqueue others."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from typing import Any

import django
import pytest
from django.db import connection
from django.tasks import TaskResult, signals

from taskmanager.contrib.django import TaskManagerBackend
from tests.contrib.django.conftest import Worker
from tests.contrib.django.project.shop import tasks
from tests.contrib.django.test_results import ended


class Heard(list[tuple[str, str, int, str]]):
    """The signals, in order: name, status, attempts, and the error at hand."""

    def __init__(self) -> None:
        self._receivers = {
            name: self._receiver(name)
            for name in ("task_enqueued", "task_started", "task_finished")
        }

    def __enter__(self) -> Heard:
        for name, receiver in self._receivers.items():
            getattr(signals, name).connect(receiver)
        return self

    def __exit__(self, *_: object) -> None:
        for name, receiver in self._receivers.items():
            getattr(signals, name).disconnect(receiver)

    def _receiver(self, name: str) -> Any:
        def hear(*, sender: type, task_result: TaskResult, **_: Any) -> None:
            assert sender is TaskManagerBackend
            error = type(sys.exc_info()[1]).__name__
            self.append((name, str(task_result.status), task_result.attempts, error))

        return hear


@pytest.fixture
def heard() -> Iterator[Heard]:
    with Heard() as heard:
        yield heard


@pytest.fixture(params=["thread", "loop"])
def attempt(request: pytest.FixtureRequest) -> Any:
    """A task that fails until an attempt, synchronous and not."""
    return tasks.attempt if request.param == "thread" else tasks.attempt_soon


@pytest.mark.parametrize(
    "options", [{"processor": {"retry": {"max_retries": 1, "retry_delay_ms": 1}}}]
)
def test_signals_tell_of_each_start_and_of_the_last_end(
    backend: TaskManagerBackend, worker: Worker, heard: Heard, attempt: Any
) -> None:
    # Django 6.0 calls the receivers of a coroutine's signals in a task that has no error at hand.
    soon = "Retry" if django.VERSION >= (6, 1) else "NoneType"
    error = "LookupError" if attempt is tasks.attempt else soon
    with worker():
        ended(attempt.enqueue(until=2))
        good, heard[:] = heard[:], []
        ended(attempt.enqueue(until=3))

    started = [
        ("task_started", "RUNNING", 1, "NoneType"),
        ("task_started", "RUNNING", 2, "NoneType"),
    ]
    assert sorted(good) == sorted(
        [
            ("task_enqueued", "READY", 0, "NoneType"),
            *started,
            ("task_finished", "SUCCESSFUL", 2, "NoneType"),
        ]
    )
    assert heard[-1] == ("task_finished", "FAILED", 2, error)
    assert [it for it in heard if it[0] == "task_finished"] == heard[-1:]


def test_a_receiver_that_raises_changes_nothing(
    backend: TaskManagerBackend, worker: Worker
) -> None:
    def rude(**_: Any) -> None:
        raise RuntimeError

    for signal in (signals.task_enqueued, signals.task_started, signals.task_finished):
        signal.connect(rude)
    try:
        with worker():
            results = [ended(it.enqueue(1, 2)) for it in (tasks.add, tasks.add_soon)]
    finally:
        for signal in (signals.task_enqueued, signals.task_started, signals.task_finished):
            signal.disconnect(rude)

    assert [it.return_value for it in results] == [3, 3]


def test_connections_end_with_the_task_in_its_thread(
    backend: TaskManagerBackend, worker: Worker
) -> None:
    connection.ensure_connection()
    ours = connection.connection
    with worker():
        found = [ended(tasks.connect.enqueue()).return_value for _ in range(3)]
        found += [ended(tasks.connect_soon.enqueue()).return_value for _ in range(3)]

    assert [was_open for was_open, _ in found] == [False] * 6
    assert threading.get_ident() not in [thread for _, thread in found]
    assert connection.connection is ours
    connection.close()


def test_tasks_enqueue_others(backend: TaskManagerBackend, worker: Worker) -> None:
    with worker():
        results = [ended(it.enqueue()) for it in (tasks.pass_on, tasks.pass_on_soon)]
        ids = [id_ for it in results for id_ in it.return_value]
        passed_on = [ended(backend.get_result(it)) for it in ids]

    assert [it.return_value for it in passed_on] == [3, 3, 3]


def test_what_does_not_fit_is_the_tasks_failure(
    backend: TaskManagerBackend, worker: Worker
) -> None:
    with worker():
        results = [ended(tasks.return_much.enqueue(it)) for it in (1, 70_000)]

    assert [str(it.status) for it in results] == ["SUCCESSFUL", "FAILED"]
    assert results[1].errors[0].exception_class.__name__ == "TooLarge"
