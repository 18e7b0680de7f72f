"""Read the debounce options of emits and handlers: how many emits become one run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from math import ceil
from typing import Any, get_args

from consumers.jobs.guards import Mode
from processors.debounce import DebounceManager
from taskmanager.errors import ConflictingOptions, InvalidOption
from taskmanager.options.checks import delay_ms, positive_s, text, whole_ms
from taskmanager.options.tables import EMIT, HANDLER

# The options that shape a debounce; each needs a window.
_HOW = ("debounce_key", "debounce_max_wait", "debounce_mode")
DEBOUNCE_OPTIONS = frozenset({"debounce", "debounce_seconds", *_HOW})
# A debounced job gets its own time and its own id.
_INSTEAD = ("delay", "delay_until", "idempotency_key")
_NO_WINDOW = "it has no effect without debounce="


def handler_debounce(given: Mapping[str, Any]) -> DebounceManager | None:
    """Return how emits for a handler are debounced, or None."""
    window = _window_ms(given, HANDLER.where)
    if window == 0:
        raise InvalidOption("debounce", 0, "give at least 1 millisecond, or leave it out")
    if window is None:
        _refuse_how(given, "")
        return None
    return _shaped(DebounceManager(window), given)


def emit_debounce(
    given: Mapping[str, Any], handler: DebounceManager | None
) -> DebounceManager | None:
    """Return how an emit is debounced, or None.

    `handler` is the debounce of its handler, if known here; it counts for an emit without a window.
    Raises ConflictingOptions for options that do not go together with a debounce.
    """
    if handler is None and DEBOUNCE_OPTIONS.isdisjoint(given):
        return None
    window = _window_ms(given, EMIT.where)
    manager = handler if window is None else DebounceManager(window) if window else None
    if manager is None:
        _refuse_how(given, ", here or at a handler that is registered in this process")
        return None
    _refuse_conflicts(given, window is not None)
    return _shaped(manager, given)


def group_of(given: Mapping[str, Any]) -> str | None:
    """Return the debounce_key of an emit, or None."""
    key = given.get("debounce_key")
    return None if key is None else text("debounce_key", key)


def _window_ms(given: Mapping[str, Any], where: str) -> int | None:
    """Return the window, given under any of its names."""
    ms, seconds = given.get("debounce"), given.get("debounce_seconds")
    in_ms = None if ms is None else _milliseconds(ms)
    in_seconds = None if seconds is None else delay_ms("debounce_seconds", seconds)
    if in_ms is not None and in_seconds is not None and in_ms != in_seconds:
        raise ConflictingOptions("debounce", "debounce_seconds", where)
    return in_seconds if in_ms is None else in_ms


def _milliseconds(given: object) -> int:
    if isinstance(given, timedelta):
        return delay_ms("debounce", given)
    if isinstance(given, float):
        raise InvalidOption(
            "debounce",
            given,
            "it is in milliseconds: give a whole number or a timedelta, or use debounce_seconds",
        )
    return whole_ms("debounce", given)


def _shaped(manager: DebounceManager, given: Mapping[str, Any]) -> DebounceManager:
    """Return the debounce with the other options applied."""
    if (longest := given.get("debounce_max_wait")) is not None:
        longest_ms = ceil(positive_s("debounce_max_wait", longest) * 1000)
        if longest_ms < manager.window_ms:
            allowed = f"give at least the window, {manager.window_ms:,} ms"
            raise InvalidOption("debounce_max_wait", longest, allowed)
        manager = replace(manager, longest_ms=longest_ms)
    if (mode := given.get("debounce_mode")) is not None:
        if mode not in get_args(Mode):
            raise InvalidOption("debounce_mode", mode, "give trailing or leading")
        manager = replace(manager, mode=mode)
    return manager


def _refuse_how(given: Mapping[str, Any], where: str) -> None:
    for name in _HOW:
        if given.get(name) is not None:
            raise InvalidOption(name, given[name], _NO_WINDOW + where)


def _refuse_conflicts(given: Mapping[str, Any], is_own: bool) -> None:
    whose = "debounce" if is_own else "the handler's debounce (debounce=0 turns it off)"
    for name in _INSTEAD:
        if given.get(name) is not None:
            raise ConflictingOptions(name, whose, EMIT.where)
    if given.get("deduplicate") is False and given.get("debounce_key") is None:
        raise ConflictingOptions("deduplicate=False", whose, EMIT.where)
