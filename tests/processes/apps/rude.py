"""Jobs that do what a handler should not, and one that behaves."""

from __future__ import annotations

import asyncio
import sys
import time
from typing import Any

from taskmanager import Job, TaskManager
from tests.support.witness import witnessed

tm: TaskManager[Any] = TaskManager()


class Unusual(BaseException):
    """Not an Exception, so that `except Exception` does not stop it."""


@tm.registerHandler(event="behave")
async def behave(job: Job[Any]) -> None:
    with witnessed(job):
        await asyncio.sleep(0)


@tm.registerHandler(event="exit")
async def exit_on_loop(job: Job[Any]) -> None:
    with witnessed(job):
        sys.exit(7)


@tm.registerHandler(event="exit-in-thread")
def exit_in_thread(job: Job[Any]) -> None:
    with witnessed(job):
        sys.exit(7)


@tm.registerHandler(event="interrupt")
async def interrupt(job: Job[Any]) -> None:
    with witnessed(job):
        raise KeyboardInterrupt


@tm.registerHandler(event="base")
async def base(job: Job[Any]) -> None:
    with witnessed(job):
        raise Unusual("unusual")


@tm.registerHandler(event="stop-iteration")
def stop_iteration(job: Job[Any]) -> None:
    with witnessed(job):
        next(iter(()))


@tm.registerHandler(event="bad-result")
async def bad_result(job: Job[Any]) -> object:
    with witnessed(job):
        return object()


@tm.registerHandler(event="endless")
def endless(job: Job[Any]) -> None:
    """Never end when run for the first time."""
    with witnessed(job):
        while job.delivery == 1:
            time.sleep(0.01)


@tm.registerHandler(event="stubborn")
async def stubborn(job: Job[Any]) -> None:
    """Swallow every cancellation when run for the first time."""
    with witnessed(job):
        while job.delivery == 1:
            try:
                await asyncio.sleep(3600)
            except asyncio.CancelledError:
                print("not me")
