"""A script that emits, forks, and emits on both sides: ``forks.py URL COUNT MANNER``."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Callable
from typing import Any

from taskmanager import TaskManager

tm: TaskManager[Any] = TaskManager(sys.argv[1])
COUNT = int(sys.argv[2])


def blocking() -> None:
    """Emit from plain code, before and after the fork."""
    tm.emit_sync("nap", id="before")
    side = fork()
    for number in range(COUNT):
        tm.emit_sync("nap", id=f"{side}-{number}")


def awaiting() -> None:
    """Emit on event loops of each side's own."""
    asyncio.run(emit("before"))
    side = fork()
    asyncio.run(emit(*(f"{side}-{number}" for number in range(COUNT))))


def within_a_loop() -> None:
    """Fork while the parent's loop runs and its connection is open, as multiprocessing does."""

    async def parent() -> None:
        await tm.emit("nap", id="before")
        side = fork()
        ids = [f"{side}-{number}" for number in range(COUNT)]
        if side == "child":
            asyncio.run(emit(*ids))
            os._exit(0)
        await emit(*ids)

    asyncio.run(parent())


async def emit(*ids: str) -> None:
    async with tm:
        await asyncio.gather(*(tm.emit("nap", id=it) for it in ids))


child = 0


def fork() -> str:
    global child
    child = os.fork()
    return "parent" if child else "child"


MANNERS: dict[str, Callable[[], None]] = {
    it.__name__: it for it in (blocking, awaiting, within_a_loop)
}
MANNERS[sys.argv[3]]()
if child:
    _, status = os.waitpid(child, 0)
    sys.exit(os.waitstatus_to_exitcode(status))
