"""Profiles: what a worker says of itself."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from consumers.errors import InvalidInput, InvalidName, InvalidPriority
from consumers.jobs.routes import Profile


def checked(**given: Any) -> Profile:
    usual = {"name": "w1", "type": "workers", "capabilities": (), "levels": None, "region": None}
    return Profile.checked(**{**usual, **given})


def test_a_profile_takes_each_value_once_and_in_no_order() -> None:
    one = checked(capabilities=["gpu", "av1", "gpu"], levels=[2, -1, 2], region="eu", type="t")

    assert one == Profile("w1", "t", frozenset({"av1", "gpu"}), frozenset({-1, 2}), "eu")


@pytest.mark.parametrize(
    ("given_", "error"),
    [
        ({"name": "no name"}, InvalidName),
        ({"type": "event.x"}, InvalidName),
        ({"region": "e u"}, InvalidName),
        ({"capabilities": "gpu"}, InvalidName),
        ({"capabilities": ["g p u"]}, InvalidName),
        ({"capabilities": [f"c{n}" for n in range(257)]}, InvalidInput),
        ({"levels": []}, InvalidInput),
        ({"levels": [101]}, InvalidPriority),
        ({"levels": [True]}, InvalidPriority),
        ({"levels": ["1"]}, InvalidPriority),
    ],
)
def test_what_no_worker_can_be_is_refused(given_: dict[str, Any], error: type[Exception]) -> None:
    with pytest.raises(error):
        checked(**given_)


def test_a_worker_may_have_more_capabilities_than_a_job_may_require() -> None:
    assert len(checked(capabilities=[f"c{n}" for n in range(256)]).capabilities) == 256


@pytest.mark.parametrize(
    ("levels", "takes"), [(None, {-100, 0, 100}), ([0], {0}), ([-100, 100], {-100, 100})]
)
def test_a_worker_takes_all_priorities_or_those_it_names(
    levels: list[int] | None, takes: set[int]
) -> None:
    worker = checked(levels=levels)

    assert {priority for priority in (-100, 0, 100) if worker.takes(priority)} == takes


def test_other_capabilities_change_nothing_else() -> None:
    worker = checked(capabilities=["old"], levels=[1], region="eu")

    assert worker.with_capabilities(["new"]) == replace(worker, capabilities=frozenset({"new"}))
    with pytest.raises(InvalidName):
        worker.with_capabilities("new")
