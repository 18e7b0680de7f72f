"""How long an address leads to the same primary, as far as its connections have noticed."""

from __future__ import annotations

import logging
import math
import threading
import time

logger = logging.getLogger("taskmanager.redis")

# Until an address leads to the new primary every new connection finds the old one:
# that is one failover, and one line in the log.
_SAY_AGAIN = 60.0


class Era:
    """Numbers the times between the failovers of one address; may be shared by threads.

    A server that becomes a replica keeps its connections open and refuses what they
    write, although the address may lead to the new primary by then. So whoever is
    refused ends the era, and no connection outlives the era that it was made in.
    """

    def __init__(self, where: str) -> None:
        self.number = 0
        self._where = where
        self._lock = threading.Lock()
        self._said_at = -math.inf

    def end(self, number: int, why: str) -> None:
        """End the era with a number, unless another connection of it did so before."""
        with self._lock:
            if number != self.number:
                return
            self.number += 1
            now = time.monotonic()
            news, self._said_at = now - self._said_at > _SAY_AGAIN, now
        level = logging.WARNING if news else logging.DEBUG
        logger.log(level, "Redis at %s is now a replica; reconnecting: %s", self._where, why)
