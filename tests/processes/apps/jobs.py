"""Jobs that take their time, block, have children or kill their worker."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from pathlib import Path
from typing import Any

from taskmanager import Context, Job, TaskManager
from tests.support.witness import witnessed

tm: TaskManager[Any] = TaskManager()


def seconds(job: Job[Any]) -> float:
    """How long a run takes; the first one of a job may be told apart."""
    later: float = job.data.get("seconds", 0)
    return job.data.get("first", later) if job.delivery == 1 else later


@tm.registerHandler(event="nap")
async def nap(job: Job[Any]) -> None:
    with witnessed(job):
        await asyncio.sleep(seconds(job))


@tm.registerHandler(event="wait")
async def wait(job: Job[Any]) -> None:
    """Run until there is a file."""
    with witnessed(job):
        while not Path(job.data["gate"]).exists():
            await asyncio.sleep(0.01)


@tm.registerHandler(event="wait-in-thread")
def wait_in_thread(job: Job[Any]) -> None:
    with witnessed(job):
        while not Path(job.data["gate"]).exists():
            time.sleep(0.01)


@tm.registerHandler(event="nap-in-thread")
def nap_in_thread(job: Job[Any]) -> None:
    with witnessed(job):
        time.sleep(seconds(job))


@tm.registerHandler(event="block")
async def block(job: Job[Any]) -> None:
    """Keep the event loop, as a handler must not."""
    with witnessed(job):
        time.sleep(seconds(job))


@tm.registerHandler(event="parent")
async def parent(job: Job[Any], ctx: Context[Any]) -> None:
    with witnessed(job):
        await asyncio.sleep(seconds(job))
        await ctx.emit("nap", id=f"child-of-{job.id}", on_success=True)


@tm.registerHandler(event="poison")
async def poison(job: Job[Any]) -> None:
    """Kill the worker, some time after others have started beside this job."""
    with witnessed(job):
        await asyncio.sleep(seconds(job))
        os.kill(os.getpid(), signal.SIGKILL)
