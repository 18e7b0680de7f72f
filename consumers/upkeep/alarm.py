"""Sleep until a time has passed or somebody wakes the sleeper."""

from __future__ import annotations

import asyncio


class Alarm:
    """One sleeper's. What rings while it is awake ends its next sleep at once."""

    def __init__(self) -> None:
        self._rang = asyncio.Event()

    @property
    def has_rung(self) -> bool:
        """Whether somebody has rung since the last reset."""
        return self._rang.is_set()

    def ring(self) -> None:
        """Wake the sleeper, now or as soon as it sleeps."""
        self._rang.set()

    def reset(self) -> None:
        """Take note of everything that has rung so far."""
        self._rang.clear()

    async def sleep(self, seconds: float) -> None:
        """Return after some seconds, or when it rings."""
        timer = asyncio.get_running_loop().call_later(seconds, self._rang.set)
        try:
            await self._rang.wait()
        finally:
            timer.cancel()
