"""What Django is told of a task: before, during and after its run."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.tasks import TaskResult, TaskResultStatus
from django.tasks.exceptions import InvalidTask, TaskResultDoesNotExist, TaskResultMismatch
from django.test import override_settings

from taskmanager.contrib.django import TaskManagerBackend
from tests.contrib.django.conftest import Worker
from tests.contrib.django.project.shop import tasks
from tests.support.waiting import eventually


def ended(result: TaskResult) -> TaskResult:
    """Return a result once its task has ended."""

    def refreshed() -> bool:
        result.refresh()
        return bool(result.is_finished)

    eventually(refreshed)
    return result


def test_before_a_worker_is_there(backend: TaskManagerBackend) -> None:
    soon = datetime.now(UTC) + timedelta(hours=1)

    sent = [
        tasks.add.enqueue(1, other=2),
        tasks.add.using(priority=7, queue_name="mail").enqueue(1, 2),
        tasks.add_soon.using(run_after=soon).enqueue(1, 2),
        tasks.add.using(run_after=timedelta(hours=1)).enqueue(1, 2),
    ]

    for result in sent:
        assert result == backend.get_result(result.id)
        assert (result.status, result.attempts) == (TaskResultStatus.READY, 0)
        assert len(result.id) < 64
    assert (sent[0].args, sent[0].kwargs) == ([1], {"other": 2})
    assert sent[0].task == tasks.add
    assert (sent[1].task.priority, sent[1].task.queue_name) == (7, "mail")
    assert sent[2].task.run_after == soon
    assert soon < sent[3].task.run_after < soon + timedelta(minutes=1)


async def test_the_same_awaited(backend: TaskManagerBackend) -> None:
    result = await tasks.add_soon.aenqueue(1, 2)

    assert result == await tasks.add_soon.aget_result(result.id)
    # Django's own tests call it on a running loop, which it blocks meanwhile.
    assert result == tasks.add_soon.get_result(result.id)
    assert (await tasks.add.aenqueue(1, 2)).id != tasks.add.enqueue(1, 2).id


def test_after_it_has_run(backend: TaskManagerBackend, worker: Worker) -> None:
    with worker():
        results = [ended(it.enqueue(1, 2)) for it in (tasks.add, tasks.add_soon)]

    for result in results:
        assert (result.status, result.return_value) == (TaskResultStatus.SUCCESSFUL, 3)
        assert (result.args, result.kwargs, result.errors) == ([1, 2], {}, [])
        assert result.enqueued_at <= result.started_at <= result.finished_at
        assert result.last_attempted_at == result.started_at
        assert (result.attempts, len(set(result.worker_ids))) == (1, 1)
    with pytest.raises(TaskResultMismatch):
        tasks.add.get_result(results[1].id)


@pytest.mark.parametrize(
    "options", [{"processor": {"retry": {"max_retries": 2, "retry_delay_ms": 1}}}]
)
def test_after_attempts_that_failed(backend: TaskManagerBackend, worker: Worker) -> None:
    with worker():
        good, bad = tasks.attempt.enqueue(until=3), tasks.attempt.enqueue(until=9)
        soon = ended(tasks.attempt_soon.enqueue(until=2))
        ended(good), ended(bad)

    times = [it.isoformat() for it in (good.started_at, good.last_attempted_at)]
    assert good.return_value == [good.id, "RUNNING", 3, good.worker_ids, times]
    assert (good.attempts, len(good.errors), good.status) == (3, 2, "SUCCESSFUL")
    assert good.started_at < good.last_attempted_at <= good.finished_at
    assert (bad.attempts, len(bad.errors), bad.status) == (3, 3, "FAILED")
    assert {it.exception_class for it in [*good.errors, *bad.errors]} == {LookupError}
    assert bad.errors[0].traceback == "LookupError: attempt 1\n"
    assert bad.errors[2].traceback.startswith("Traceback (most recent call last):\n")
    assert bad.errors[2].traceback.endswith("LookupError: attempt 3\n")
    assert len(set(bad.worker_ids)) == 1
    assert soon.return_value == 2


def test_while_it_runs(backend: TaskManagerBackend, worker: Worker) -> None:
    tasks.gate.clear()
    with worker():
        result = tasks.wait.enqueue()
        # When a task began that waited for its worker, that says with its next beat.
        eventually(lambda: result.refresh() or result.started_at is not None)
        assert result.status == TaskResultStatus.RUNNING
        tasks.gate.set()
        ended(result)

    assert (result.attempts, len(result.worker_ids)) == (1, 1)


def test_what_is_cancelled_has_failed(backend: TaskManagerBackend) -> None:
    result = tasks.add.enqueue(1, 2)
    backend.manager.sync.handle(result.id).cancel()
    result.refresh()

    assert (result.status, result.attempts) == (TaskResultStatus.FAILED, 0)
    assert result.errors[0].exception_class.__name__ == "JobCancelled"
    assert result.finished_at is not None


@pytest.mark.parametrize(
    "result_id",
    ["", "1", "nothing:default", "x:other", "x:no queue", "no id:default", f"{'x' * 300}:mail", 7],
)
async def test_of_an_id_that_is_none(backend: TaskManagerBackend, result_id: Any) -> None:
    with pytest.raises(TaskResultDoesNotExist, match=f"^{result_id}: it never existed"):
        tasks.add.get_result(result_id)
    with pytest.raises(TaskResultDoesNotExist):
        await tasks.add.aget_result(result_id)


def test_of_a_job_that_is_no_task_here(backend: TaskManagerBackend) -> None:
    backend.manager.emit_sync("os.system", id="x:default", data={"args": ["true"]})

    with pytest.raises(TaskResultDoesNotExist, match=r"'os\.system' is not known here"):
        backend.get_result("x:default")


def test_what_cannot_be_enqueued(backend: TaskManagerBackend) -> None:
    with pytest.raises(TypeError, match="Unsupported type"):
        tasks.add.enqueue(object(), 1)
    with pytest.raises(InvalidTask, match="at most a year"):
        tasks.add.using(run_after=timedelta(days=400)).enqueue(1, 2)
    with pytest.raises(InvalidTask, match="Queue 'other' is not valid for backend"):
        tasks.add.using(queue_name="other")
    with pytest.raises(InvalidTask, match="aware"):
        tasks.add.using(run_after=datetime(2026, 1, 1))  # noqa: DTZ001


@override_settings(USE_TZ=False, TIME_ZONE="America/Chicago")
def test_times_are_local_without_use_tz(backend: TaskManagerBackend, worker: Worker) -> None:
    with worker():
        result = ended(tasks.add.enqueue(1, 2))

    assert result.enqueued_at.tzinfo is result.finished_at.tzinfo is None
    assert result.enqueued_at <= result.started_at <= result.finished_at <= datetime.now()  # noqa: DTZ005
