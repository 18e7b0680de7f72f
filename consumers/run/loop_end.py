"""Know that the event loop is ending: what its runs come to then is not their handlers' doing."""

from __future__ import annotations

import asyncio
from collections.abc import Callable


class LoopEnd:
    """A task that nothing but the end of the event loop cancels.

    Whatever ends a loop (asyncio.run when main() is over or at Ctrl-C, uvloop, the usual
    shutdown hook) cancels all of its tasks at once, before any of them takes a step. A run
    cannot tell that from a handler that cancels its own task; this task can.
    """

    def __init__(self) -> None:
        self._canary = asyncio.create_task(_wait_for_ever(), name="loop-end")
        # Not 0 once every task of the loop was cancelled; threads may ask as well. Each run
        # asks, so it is the task's own method.
        self.has_come: Callable[[], int] = self._canary.cancelling

    def close(self) -> None:
        """Watch no longer."""
        self._canary.cancel()


async def _wait_for_ever() -> None:
    await asyncio.get_running_loop().create_future()
