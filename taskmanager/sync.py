"""The blocking twin of the task manager's methods, for threads without an event loop."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Unpack

from taskmanager.emitter import Emitter
from taskmanager.handle import JobHandle
from taskmanager.request import EmitArguments


class Sync:
    """``tm.sync``: every method blocks until it is done. Usable in any thread, and after a fork.

    Called on a running event loop they raise LoopIsRunning, which names what to await.
    """

    def __init__(self, emitter: Emitter) -> None:
        self._emitter = emitter

    def emit(self, event: str, **arguments: Unpack[EmitArguments]) -> JobHandle:
        """Emit a job like TaskManager.emit and return when Redis has it."""
        return self._emitter.emit_sync(event, arguments)

    def emit_many(self, items: Iterable[Mapping[str, Any]]) -> list[JobHandle]:
        """Emit jobs like TaskManager.emit_many and return when Redis has all of them."""
        return self._emitter.emit_many_sync(items)
