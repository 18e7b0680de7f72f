"""Jobs for the rows of the catalogue that need more than a nap."""

from __future__ import annotations

import asyncio
import os
import resource
import signal
import time
from pathlib import Path
from typing import Any

from taskmanager import Context, Job, TaskManager
from tests.support.witness import note, witnessed

tm: TaskManager[Any] = TaskManager()


@tm.registerHandler(event="nap")
async def nap(job: Job[Any]) -> None:
    with witnessed(job):
        await asyncio.sleep(job.data.get("seconds", 0))


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
        time.sleep(job.data["seconds"])


@tm.registerHandler(event="parent")
async def parent(job: Job[Any], ctx: Context[Any]) -> None:
    """Have a child when it succeeds."""
    with witnessed(job):
        await asyncio.sleep(job.data["seconds"])
        await ctx.emit("nap", id=f"child-of-{job.id}", on_success=True)


@tm.registerHandler(event="report")
async def report(job: Job[Any]) -> None:
    """Say how far it is and what it did, then fail."""
    with witnessed(job):
        await asyncio.sleep(job.data["seconds"])
        await job.progress(job.delivery)
        await job.logger(f"delivery {job.delivery}")
        raise ValueError(f"delivery {job.delivery}")


@tm.registerHandler(event="keyed")
async def keyed(job: Job[Any]) -> None:
    """Have an effect outside of Redis, under the key that makes it idempotent."""
    with witnessed(job):
        note(f"effect {job.idempotency_key}", job)


@tm.registerHandler(event="hang", timeout=0.5)
def hang(job: Job[Any]) -> None:
    """Never end, in a thread."""
    with witnessed(job):
        while True:
            time.sleep(0.05)


@tm.registerHandler(event="deaf", timeout=0.5)
async def deaf(job: Job[Any]) -> None:
    """Never end, on the event loop, whatever is cancelled."""
    with witnessed(job):
        while True:
            try:
                await asyncio.sleep(3600)
            except asyncio.CancelledError:
                note("deaf", job)


@tm.registerHandler(event="poison")
async def poison(job: Job[Any]) -> None:
    """Kill the worker, in another way each time, some time after others have started."""
    with witnessed(job):
        await asyncio.sleep(job.data["seconds"])
        # No core file of a death on purpose.
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        match job.delivery % 3:
            case 0:
                os._exit(3)
            case 1:
                os.kill(os.getpid(), signal.SIGKILL)
            case _:
                os.kill(os.getpid(), signal.SIGSEGV)


@tm.registerHandler(event="fork")
def fork(job: Job[Any]) -> None:
    """Let a child process emit while its parent goes on, each with connections of its own."""
    with witnessed(job):
        child = os.fork()
        if child == 0:
            try:
                tm.emit_sync("nap", id=f"of-child-{job.id}")
            finally:
                os._exit(0)
        tm.emit_sync("nap", id=f"of-parent-{job.id}")
        job.logger("the parent goes on")
        os.waitpid(child, 0)
