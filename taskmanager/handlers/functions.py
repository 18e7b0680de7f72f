"""Tell two functions apart, and recognize one that was imported again."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any


def is_reloaded(before: Callable[..., Any], now: Callable[..., Any]) -> bool:
    """Return whether two functions are one function compiled twice, by a reload of its module.

    Two closures, or two objects with the same method, share their code and so are two functions.
    """
    codes = code_of(before), code_of(now)
    return origin_of(before) == origin_of(now) and None not in codes and codes[0] is not codes[1]


def code_of(function: Any) -> object:
    """Return the code object that a call runs, or None for functions written in C."""
    while isinstance(function, partial):
        function = function.func
    if not hasattr(function, "__code__") and not hasattr(function, "__func__"):
        function = getattr(type(function), "__call__", None)  # noqa: B004
    return getattr(getattr(function, "__func__", function), "__code__", None)


def origin_of(function: Any) -> str:
    """Return the module and name of a function; a re-imported module gives the same answer."""
    while isinstance(function, partial):
        function = function.func
    named = function if hasattr(function, "__qualname__") else type(function)
    return f"{named.__module__}.{named.__qualname__}"
