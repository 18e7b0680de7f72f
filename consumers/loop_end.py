"""Know that the event loop is ending: what its runs come to then is not their handlers' doing."""

from __future__ import annotations

import asyncio


class LoopEnd:
    """A task that nothing but the end of the event loop cancels.

    Whatever ends a loop (asyncio.run when main() is over or at Ctrl-C, uvloop, the usual
    shutdown hook) cancels all of its tasks at once, before any of them takes a step. A run
    cannot tell that from a handler that cancels its own task; this task can.
    """

    def __init__(self) -> None:
        self._canary = asyncio.create_task(_wait_for_ever(), name="loop-end")

    @property
    def has_come(self) -> bool:
        """Whether every task of the loop was cancelled; threads may ask as well."""
        return self._canary.cancelling() > 0

    def close(self) -> None:
        """Watch no longer."""
        self._canary.cancel()


async def _wait_for_ever() -> None:
    await asyncio.get_running_loop().create_future()
