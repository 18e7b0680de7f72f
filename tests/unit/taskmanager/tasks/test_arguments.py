"""What a task's emit makes of its arguments, and what it says of wrong ones."""

from __future__ import annotations

from typing import Any

import pytest

from taskmanager import Context, InvalidArguments, Job, injected
from taskmanager.tasks.signature import TaskSignature


def greet(name: str, times: int = 1) -> str: ...  # type: ignore[empty-body]
def by_position(a: int, b: int = 2, /, c: int = 3) -> None: ...
def collects(a: int, *rest: int, k: str = "", **more: float) -> None: ...
def by_name(*, scene: str, frames: int = 1) -> None: ...
def fills(a: int, ctx: Context = injected, *, job: Job = injected) -> None: ...
def nothing() -> None: ...
def one(a: int) -> None: ...


def bound(function: Any, *args: Any, **kwargs: Any) -> dict[str, Any]:
    return TaskSignature(function, name=function.__name__).bind(args, kwargs)


@pytest.mark.parametrize(
    ("function", "args", "kwargs", "data"),
    [
        (greet, ("Ada",), {}, {"name": "Ada"}),
        (greet, ("Ada", 2), {}, {"name": "Ada", "times": 2}),
        (greet, (), {"times": 2, "name": "Ada"}, {"times": 2, "name": "Ada"}),
        (greet, ("Ada",), {"times": None}, {"name": "Ada", "times": None}),
        (by_position, (1,), {"c": 5}, {"a": 1, "c": 5}),
        (by_position, (1, 2, 3), {}, {"a": 1, "b": 2, "c": 3}),
        (collects, (1,), {}, {"a": 1}),
        (collects, (1, 2, 3), {"x": 0.5}, {"a": 1, "rest": [2, 3], "x": 0.5}),
        (by_name, (), {"scene": "s"}, {"scene": "s"}),
        (fills, (1,), {}, {"a": 1}),
        (nothing, (), {}, {}),
    ],
)
def test_data_has_a_key_for_each_argument_that_was_given(
    function: Any, args: tuple[Any, ...], kwargs: dict[str, Any], data: dict[str, Any]
) -> None:
    assert bound(function, *args, **kwargs) == data


FORM = r" It takes greet\(name: str, times: int = 1\) -> str; nothing was sent"


@pytest.mark.parametrize(
    ("function", "args", "kwargs", "message"),
    [
        (greet, (), {"nme": "x"}, r"has no parameter 'nme' \(did you mean 'name'\?\)\." + FORM),
        (greet, ("Ada",), {"zzz": 1}, r"it has no parameter 'zzz'\." + FORM),
        (greet, (), {}, "'name' is missing"),
        (by_name, (), {}, "'scene' is missing"),
        (greet, ("a", 1, 2), {}, "it takes 2 positional arguments, but got 3"),
        (greet, ("a",), {"name": "b"}, "'name' was given twice"),
        (by_position, (), {"a": 1}, "'a' can only be given by position"),
        (collects, (1,), {"rest": 5}, r"'rest' is a parameter and cannot be a key of \*\*more"),
        (fills, (1, "ctx"), {}, "'ctx' is injected by the worker and cannot be given"),
        (fills, (1,), {"job": 1}, "'job' is injected by the worker and cannot be given"),
        (nothing, (1,), {}, "it takes 0 positional arguments, but got 1"),
        (one, (1, 2), {}, "it takes 1 positional argument, but got 2"),
    ],
)
def test_wrong_arguments_are_refused_with_what_the_task_takes(
    function: Any, args: tuple[Any, ...], kwargs: dict[str, Any], message: str
) -> None:
    with pytest.raises(InvalidArguments, match=message) as raised:
        bound(function, *args, **kwargs)

    assert isinstance(raised.value, TypeError)
    assert str(raised.value).startswith(f"{function.__name__}.emit: ")


def test_what_is_injected_is_not_in_the_form_that_is_shown() -> None:
    with pytest.raises(InvalidArguments, match=r"It takes fills\(a: int\) -> None;"):
        bound(fills)
    with pytest.raises(InvalidArguments, match=r"by_position\(a: int, b: int = 2, /, c: int = 3\)"):
        bound(by_position)
