"""Wait for a condition with a deadline. Tests have no other way to wait."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

T = TypeVar("T")

# Seconds. Only a safety net: no test is about it, and a machine ten times slower keeps it.
PATIENCE = 30.0

_POLL = 0.01


def eventually(predicate: Callable[[], T], within: float = PATIENCE) -> T:
    """Return the first true value of predicate; fail with its last one after `within` seconds.

    An AssertionError of the predicate counts as "not yet" and is shown at the end.
    """
    deadline = time.monotonic() + within
    while True:
        value = _ask(predicate)
        if _is_true(value):
            return value  # type: ignore[return-value]
        if time.monotonic() > deadline:
            raise AssertionError(_too_late(predicate, within, value))
        time.sleep(_POLL)


async def aeventually(
    predicate: Callable[[], T] | Callable[[], Awaitable[T]], within: float = PATIENCE
) -> T:
    """Do what eventually does without blocking the loop; predicate may be asynchronous."""
    deadline = time.monotonic() + within
    while True:
        value = await _ask_async(predicate)
        if _is_true(value):
            return value  # type: ignore[return-value]
        if time.monotonic() > deadline:
            raise AssertionError(_too_late(predicate, within, value))
        await asyncio.sleep(_POLL)


def _ask(predicate: Callable[[], T]) -> T | AssertionError:
    try:
        return predicate()
    except AssertionError as error:
        return error


async def _ask_async(
    predicate: Callable[[], T] | Callable[[], Awaitable[T]],
) -> T | AssertionError:
    try:
        value = predicate()
        return await value if isinstance(value, Awaitable) else value
    except AssertionError as error:
        return error


def _is_true(value: object) -> bool:
    return not isinstance(value, AssertionError) and bool(value)


def _too_late(predicate: Callable[[], object], within: float, last: object) -> str:
    name = getattr(predicate, "__qualname__", repr(predicate))
    line = getattr(getattr(predicate, "__code__", None), "co_firstlineno", "?")
    return f"{name} (line {line}) was not true within {within:g} s; its last value was {last!r}"
