"""Which run the current code belongs to. Handlers never touch this; emit and logger do."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Coroutine
from contextvars import ContextVar
from typing import Any, TypeVar

from consumers.job import Job

T = TypeVar("T")


class Run:
    """One run of a handler: its job, and what it started and has not awaited yet."""

    __slots__ = ("job", "loop", "pending")

    def __init__(self, job: Job[Any], loop: asyncio.AbstractEventLoop) -> None:
        self.job = job
        self.loop = loop
        self.pending: list[Awaitable[Any]] = []

    def track(self, started: Awaitable[Any]) -> None:
        """Have the executor await this before it settles the job."""
        self.pending.append(started)

    def block_on(self, work: Coroutine[Any, Any, T]) -> T:
        """Run work on the worker's loop and wait for it; for handlers that run in a thread."""
        return asyncio.run_coroutine_threadsafe(work, self.loop).result()


current_run: ContextVar[Run | None] = ContextVar("current_run", default=None)
