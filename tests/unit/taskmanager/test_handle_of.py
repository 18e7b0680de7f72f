"""A handle that an emit makes is like one that its constructor makes."""

from __future__ import annotations

import copy
import pickle
from dataclasses import FrozenInstanceError
from typing import Any

import pytest

from taskmanager import JobHandle
from taskmanager.handles.handle import handle_of

JOBS: Any = object()
MADE = handle_of("a", "q", True, 2, JOBS, len)
GIVEN: JobHandle[Any] = JobHandle("a", "q", True, 2, jobs=JOBS, read=len)


def test_it_has_the_type_and_the_fields_of_any_handle() -> None:
    assert type(MADE) is JobHandle
    assert (MADE, hash(MADE), repr(MADE)) == (GIVEN, hash(GIVEN), repr(GIVEN))
    assert [getattr(MADE, name) for name in JobHandle.__slots__] == [
        getattr(GIVEN, name) for name in JobHandle.__slots__
    ]


def test_it_cannot_be_changed() -> None:
    with pytest.raises(FrozenInstanceError):
        MADE.run = 3  # type: ignore[misc]  # it is what is tested


def test_it_can_be_copied() -> None:
    plain = handle_of("a", "q", True, 2, None, None)

    assert copy.copy(MADE) == MADE
    assert pickle.loads(pickle.dumps(plain)) == plain
