"""Move delayed jobs into their lanes once they are due."""

from __future__ import annotations

import logging
import time

from redis.exceptions import RedisError, ResponseError

from consumers.chance import chance
from consumers.connections.not_now import is_for_now
from consumers.connections.trouble import Trouble
from consumers.connections.wire import Wire
from consumers.store.keys import Keys
from consumers.store.scripts import call
from consumers.store.tending import promote
from consumers.upkeep.service import Steps

logger = logging.getLogger("taskmanager.worker")

# One script moves this many: about 3 ms of Redis' time.
BATCH = 256
_STUCK = 0.5
# How much later than a job is due one of many looks, at least and at most (s).
_SPREAD = (0.005, 0.2)


class Promoter(Steps):
    """One queue's; every worker runs one, without a leader.

    The script that adds a job to its lane takes it out of the delayed set, so
    any number of promoters never move a job twice. Due is what Redis' clock says.

    All of a fleet know when the next job is due. They look a little later, each after a time
    of its own: who finds that others were there before waits longer from then on, who is the
    first waits shorter. So a lone one is on time, and of many a few look for each job.
    """

    def __init__(self, wire: Wire, keys: Keys) -> None:
        super().__init__(
            logger,
            Trouble(logger, f"cannot start delayed jobs of queue {keys.queue}", logging.ERROR),
            failed=f"starting delayed jobs of queue {keys.queue} failed",
        )
        self._wire = wire
        self._keys = keys
        # Whether somebody says that there is something to see.
        self._look = False
        # When to look next (monotonic), whether a job is due then, and how much later at most.
        self._next = float("-inf")
        self._is_due = False
        self._spread = 0.0

    def wake(self) -> None:
        """Something may be due that was not known of."""
        self._look = True
        super().wake()

    def expect(self, seconds: float) -> None:
        """A job is due in so many seconds, earlier than any that was known."""
        at = time.monotonic() + seconds + self._lateness()
        if at < self._next:
            self._next, self._is_due = at, True
            self._alarm.ring()

    async def step(self) -> float:
        """Promote one batch; return the seconds until the next job is due, at most interval."""
        # What is expected meanwhile is earlier.
        self._next, self._look = float("inf"), False
        step = promote(self._keys, BATCH)
        moved, wait_ms = await call(self._wire, step)
        self._learn(moved)
        if wait_ms == 0:
            # More are due. What is due and cannot move needs a person, not a busy loop.
            return 0.0 if moved else _STUCK
        # A millisecond more: Redis compares whole ones, and early is not due.
        return self.interval if wait_ms < 0 else min(self.interval, (int(wait_ms) + 1) / 1000)

    def _refused(self, error: RedisError) -> float:
        if not isinstance(error, ResponseError):
            logger.debug("no delayed job of queue %s was started: %s", self._keys.queue, error)
            return self.interval / 2
        if is_for_now(error):
            logger.debug("no delayed job of queue %s can start yet: %s", self._keys.queue, error)
            return self.interval
        return super()._refused(error)

    def _learn(self, moved: int) -> None:
        """Come later where others were there before, and earlier where nobody was."""
        if moved:
            self._spread = 0.0 if self._spread <= _SPREAD[0] else self._spread / 2
        elif self._is_due:
            self._spread = min(_SPREAD[1], max(_SPREAD[0], 2 * self._spread))
        self._is_due = False

    def _lateness(self) -> float:
        return chance.uniform(0.0, self._spread)

    async def _sleep(self, seconds: float) -> None:
        if 0 < seconds < self.interval:
            self.expect(seconds)
        else:
            self._next = min(self._next, time.monotonic() + seconds)
        while not self._look and (left := self._next - time.monotonic()) > 0:
            self._alarm.reset()
            await self._alarm.sleep(left)
