"""Redis' clock: asked for, and as well as it is known in this process."""

from __future__ import annotations

import time

from consumers.connections.wire import Wire


async def server_ms(wire: Wire) -> int:
    """Return the time by Redis' clock, in whole ms since 1970. Raises redis' errors."""
    seconds, micros = await wire.send("TIME")
    return int(seconds) * 1000 + int(micros) // 1000


class ServerClock:
    """Counts on from the last time Redis told, with the monotonic clock of this machine.

    Until Redis has told, this machine's own clock counts.
    """

    def __init__(self) -> None:
        self._told_ms = time.time() * 1000
        self._at = time.monotonic()

    def now_ms(self) -> int:
        """Return the time in ms since 1970."""
        return round(self._told_ms + (time.monotonic() - self._at) * 1000)

    def told(self, seconds: int, micros: int) -> None:
        """Take over what TIME answered just now."""
        self._told_ms = seconds * 1000 + micros / 1000
        self._at = time.monotonic()
