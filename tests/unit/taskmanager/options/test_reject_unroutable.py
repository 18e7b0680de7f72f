"""reject_unroutable=: which jobs are sent only if a live worker may run them."""

from __future__ import annotations

from typing import Any

import pytest

from consumers.errors import InvalidInput
from consumers.jobs.envelope import NewJob
from consumers.jobs.lanes import Lane
from consumers.jobs.routes import Demand, Route
from taskmanager import ConflictingOptions, TaskManager
from taskmanager.options.request import Way, new_jobs, requested
from taskmanager.options.routing import RoutableJob

GPU = Route("encoder", "render", requires=("gpu",))
GIVEN: dict[str, Any] = {"reject_unroutable": True, "requires": ["gpu"], "type": "encoder"}


def job_of(**given: Any) -> Any:
    return requested("render", given)


def test_such_a_job_says_what_it_requires_of_a_worker() -> None:
    job = job_of(**GIVEN, priority=5)

    assert type(job) is RoutableJob
    assert job.demand == Demand("render", Lane("default", GPU.name, priority=5), GPU)
    assert job_of(reject_unroutable=True).demand == Demand("render", Lane("default"))


def test_other_jobs_are_what_they_are_without_the_option() -> None:
    for given in ({}, {"reject_unroutable": False}, {"options": {"rejectUnroutable": False}}):
        assert type(job_of(**given)) is NewJob
    assert tuple(job_of(**GIVEN)) == tuple(job_of(requires=["gpu"], type="encoder"))


@pytest.mark.parametrize("given", [GIVEN, {"reject_unroutable": True}])
def test_jobs_that_are_like_one_before_are_of_its_kind(given: dict[str, Any]) -> None:
    way, plain = Way(None), {**given, "reject_unroutable": False}

    items = [{"event": "render", "data": n, **it} for n in range(2) for it in (given, plain)]
    jobs = new_jobs(items, way=way).jobs

    assert list(map(type, jobs)) == [RoutableJob, NewJob] * 2
    assert type(requested("render", {"data": 7, **given}, way=way)) is RoutableJob
    assert type(requested({"event": "render", "options": given}, {}, way=way)) is RoutableJob


@pytest.mark.parametrize("value", [1, "yes", 0])
def test_anything_but_true_and_false_is_refused(value: Any) -> None:
    for given in ({}, {"repeat": "@daily"}):
        with pytest.raises(InvalidInput, match=r"reject_unroutable .* give True or False"):
            job_of(reject_unroutable=value, **given)


def test_a_schedule_does_not_take_it_since_its_jobs_come_later() -> None:
    assert job_of(repeat="@daily", reject_unroutable=False).event == "render"
    with pytest.raises(ConflictingOptions) as caught:
        job_of(repeat="@daily", reject_unroutable=True)

    assert str(caught.value) == (
        "reject_unroutable=True and repeat of emit cannot be combined, because the job is sent "
        "later, when other workers may be live: give one of them"
    )


async def test_a_job_that_is_added_on_success_does_not_take_it() -> None:
    emitter = TaskManager("redis://nowhere.invalid")._emitter

    with pytest.raises(ConflictingOptions, match=r"^on_success=True and reject_unroutable=True"):
        emitter.emit("render", {"reject_unroutable": True}, on_success=True)


async def test_a_capture_looks_for_no_workers() -> None:
    tm = TaskManager("redis://nowhere.invalid")

    with tm.capture() as jobs:
        await tm.emit("render", **GIVEN)
        await tm.emit_many([{"event": "render", "data": 1, **GIVEN}])

    assert [it.options["reject_unroutable"] for it in jobs] == [True, True]
