"""Handlers that fork a child, which lives on when their worker is killed.

The command line runs it on the fastest event loop there is, as a script it uses asyncio's.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import sys
import time
from typing import Any

from taskmanager import Job, TaskManager

tm: TaskManager[Any] = TaskManager(
    sys.argv[1] if __name__ == "__main__" else None, concurrency=2, lease=2
)


def child() -> None:
    """Use nothing of the worker's and stay."""
    print("a child lives", flush=True)
    time.sleep(3600)


@tm.registerHandler(event="fork")
async def fork(job: Job[Any]) -> None:
    """Fork as multiprocessing does by default on Linux."""
    multiprocessing.get_context("fork").Process(target=child).start()
    await asyncio.sleep(3600)


@tm.registerHandler(event="fork-in-thread")
def fork_in_thread(job: Job[Any]) -> None:
    """Do the same off the event loop."""
    multiprocessing.get_context("fork").Process(target=child).start()
    time.sleep(3600)


if __name__ == "__main__":
    asyncio.run(tm.run())
