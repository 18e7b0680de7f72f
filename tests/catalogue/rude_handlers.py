"""Handlers that raise what a handler should not, by the row of the catalogue that they are for."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from consumers.jobs.job import Job


class Unusual(BaseException):
    """No Exception: `except Exception` does not see it."""


async def _raises_unusual(job: Job[None]) -> None:
    raise Unusual("away")


def _raises_unusual_in_a_thread(job: Job[None]) -> None:
    raise Unusual("away")


async def _raises_stop_iteration(job: Job[None]) -> None:
    raise StopIteration("away")


def _raises_stop_iteration_in_a_thread(job: Job[None]) -> None:
    raise StopIteration("away")


async def _raises_stop_async_iteration(job: Job[None]) -> None:
    raise StopAsyncIteration("away")


async def _exits(job: Job[None]) -> None:
    raise SystemExit(3)


def _exits_in_a_thread(job: Job[None]) -> None:
    raise SystemExit(3)


async def _interrupts(job: Job[None]) -> None:
    raise KeyboardInterrupt


def _interrupts_in_a_thread(job: Job[None]) -> None:
    raise KeyboardInterrupt


async def _raises_generator_exit(job: Job[None]) -> None:
    raise GeneratorExit


async def _raises_cancelled(job: Job[None]) -> None:
    raise asyncio.CancelledError("away")


def _raises_cancelled_in_a_thread(job: Job[None]) -> None:
    raise asyncio.CancelledError("away")


async def _cancels_itself(job: Job[None]) -> None:
    task = asyncio.current_task()
    assert task is not None
    task.cancel()
    await asyncio.sleep(0)


async def _recurses(job: Job[None]) -> None:
    await _recurses(job)


def _recurses_in_a_thread(job: Job[None]) -> None:
    _recurses_in_a_thread(job)


async def _runs_out_of_memory(job: Job[None]) -> None:
    bytearray(2**62)


def _runs_out_of_memory_in_a_thread(job: Job[None]) -> None:
    bytearray(2**62)


async def _awaits_something_cancelled(job: Job[None]) -> None:
    other = asyncio.create_task(asyncio.sleep(60))
    other.cancel()
    await other


async def _raises_a_group(job: Job[None]) -> None:
    raise BaseExceptionGroup("several", [KeyboardInterrupt(), ValueError("one of them")])


# By row of the catalogue, then by what the handler does: the handler, and a part of
# the error that is recorded.
RUDE: dict[str, dict[str, tuple[Callable[..., Any], str]]] = {
    "a9": {
        "CancelledError": (_raises_cancelled, "CancelledError"),
        "CancelledError in a thread": (_raises_cancelled_in_a_thread, "CancelledError"),
        "cancelling its own task": (_cancels_itself, "CancelledError"),
        "awaiting a cancelled task": (_awaits_something_cancelled, "CancelledError"),
    },
    "a10": {
        "SystemExit": (_exits, "SystemExit: 3"),
        "SystemExit in a thread": (_exits_in_a_thread, "SystemExit: 3"),
        "KeyboardInterrupt": (_interrupts, "KeyboardInterrupt"),
        "KeyboardInterrupt in a thread": (_interrupts_in_a_thread, "KeyboardInterrupt"),
        "GeneratorExit": (_raises_generator_exit, "GeneratorExit"),
        "a BaseException": (_raises_unusual, "Unusual: away"),
        "a BaseException in a thread": (_raises_unusual_in_a_thread, "Unusual: away"),
        "an exception group": (_raises_a_group, "one of them"),
    },
    "a11": {
        "StopIteration": (_raises_stop_iteration, "StopIteration"),
        "StopIteration in a thread": (_raises_stop_iteration_in_a_thread, "StopIteration: away"),
        "StopAsyncIteration": (_raises_stop_async_iteration, "StopAsyncIteration"),
    },
    "a13": {
        "RecursionError": (_recurses, "RecursionError"),
        "RecursionError in a thread": (_recurses_in_a_thread, "RecursionError"),
        "MemoryError": (_runs_out_of_memory, "MemoryError"),
        "MemoryError in a thread": (_runs_out_of_memory_in_a_thread, "MemoryError"),
    },
}
