"""Redis' clock: asked for, and as well as it is known in this process."""

from __future__ import annotations

import time

from consumers.connections.wire import Wire


async def server_ms(wire: Wire) -> int:
    """Return the time by Redis' clock, in whole ms since 1970. Raises redis' errors."""
    seconds, micros = await wire.send("TIME")
    return int(seconds) * 1000 + int(micros) // 1000


class ServerClock:
    """Counts on from the times that Redis told, with the monotonic clock of this machine.

    Until Redis has told, this machine's own clock counts.
    """

    def __init__(self) -> None:
        # What Redis' clock showed when the monotonic one was at 0, in ms.
        self.ahead_ms = (time.time() - time.monotonic()) * 1000

    def now_ms(self) -> int:
        """Return the time in ms since 1970."""
        return self.at(time.monotonic())

    def at(self, moment: float) -> int:
        """Return a moment of the monotonic clock (s) in ms since 1970."""
        return int(self.ahead_ms + moment * 1000)

    def told(self, seconds: int, micros: int, *, asked: float) -> None:
        """Take over what TIME answered, that was asked at a moment of the monotonic clock (s).

        Redis looked at its clock between that moment and now. An answer may have waited long
        for a loop that was blocked: what is known stays, as far as both leave it possible.
        """
        answered = seconds * 1000 + micros / 1000
        least, most = answered - time.monotonic() * 1000, answered - asked * 1000
        self.ahead_ms = min(max(self.ahead_ms, least), most)
