"""A call of a task, as data and back; no Django is needed."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from taskmanager.contrib.django.call import TaskCall

NOON = datetime(2026, 3, 1, 12, 0, 0, 250_000, UTC)


@pytest.mark.parametrize(
    "call",
    [
        TaskCall(),
        TaskCall([1, "two"], {"three": [3]}, at=NOON),
        TaskCall([], {}, at=NOON, priority=-100, run_after=NOON),
        TaskCall([], {}, run_after=NOON.replace(tzinfo=None)),
    ],
)
def test_a_call_comes_back_from_its_data(call: TaskCall) -> None:
    assert TaskCall.read(call.as_data()) == call


def test_what_is_at_its_default_takes_no_room() -> None:
    assert TaskCall([1], {}).as_data() == {"args": [1], "kwargs": {}}


def test_another_program_may_leave_out_what_it_does_not_need() -> None:
    assert TaskCall.read({}) == TaskCall()


@pytest.mark.parametrize(
    "data",
    [None, [1], "x", {"args": {}}, {"kwargs": []}, {"priority": "1"}, {"at": "noon"}, {"at": 7}],
)
def test_data_that_is_no_call_is_refused(data: Any) -> None:
    with pytest.raises(ValueError):
        TaskCall.read(data)
