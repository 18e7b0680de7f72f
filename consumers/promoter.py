"""Move delayed jobs into their lanes once they are due."""

from __future__ import annotations

import logging

from redis.exceptions import RedisError, ResponseError

from consumers.alarm import Alarm
from consumers.keys import Keys
from consumers.refusals import is_for_now
from consumers.scripts import call
from consumers.transitions import promote
from consumers.trouble import Trouble
from consumers.wire import Wire

logger = logging.getLogger(__name__)

# One script moves this many: about 3 ms of Redis' time.
BATCH = 256
# The nearest due time is asked for again this often, however many hints were lost.
LOOK = 2.0
_STUCK = 0.5


class Promoter:
    """One queue's; every worker runs one, without a leader.

    The script that adds a job to its lane takes it out of the delayed set, so
    any number of promoters never move a job twice. Due is what Redis' clock says.
    """

    def __init__(self, wire: Wire, keys: Keys) -> None:
        self._wire = wire
        self._keys = keys
        self._alarm = Alarm()
        self._trouble = Trouble(logger, f"delayed jobs of {keys.queue} wait", logging.ERROR)

    def wake(self) -> None:
        """A job is due earlier than any that was known."""
        self._alarm.ring()

    async def run(self) -> None:
        """Promote until cancelled; an error delays the next step, it never ends the loop."""
        while True:
            try:
                wait = await self.step()
                self._trouble.over()
            except ResponseError as error:
                if is_for_now(error):
                    logger.debug("nothing is promoted in %s yet: %s", self._keys.queue, error)
                else:
                    self._trouble.say(error)
                wait = LOOK
            except RedisError as error:
                logger.debug("nothing was promoted in %s: %s", self._keys.queue, error)
                wait = LOOK / 2
            except Exception:
                logger.exception("the promoter of %s failed", self._keys.queue)
                wait = LOOK
            await self._alarm.sleep(wait)

    async def step(self) -> float:
        """Promote one batch; return the seconds until the next job is due, at most LOOK."""
        self._alarm.reset()
        step = promote(self._keys, BATCH)
        moved, wait_ms = await call(self._wire, step.script, step.keys, step.args)
        if wait_ms == 0:
            # More are due. What is due and cannot move needs a person, not a busy loop.
            return 0.0 if moved else _STUCK
        # A millisecond more: Redis compares whole ones, and early is not due.
        return LOOK if wait_ms < 0 else min(LOOK, (int(wait_ms) + 1) / 1000)
