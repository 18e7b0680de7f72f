"""Report the jobs that went with a stream, or with entries of one, that somebody deleted."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from redis.exceptions import RedisError

from consumers.chance import chance
from consumers.connections.wire import Wire
from consumers.store.keys import Keys
from consumers.store.scripts import call
from consumers.store.tending import audit
from consumers.upkeep.alarm import Alarm

logger = logging.getLogger(__name__)

INTERVAL = 30.0
_NAMED = 20


class Auditor:
    """Every worker runs one; Redis keeps what is to be audited and how far that has come.

    Payloads are in the streams only: what was deleted with one cannot run any more,
    but it must not look like a live job for ever. There is something to do only after a
    stream was made again, a lane was retired of which one was missing, or what a dead worker
    had was gone.
    """

    def __init__(self, wire: Wire, queues: Sequence[Keys]) -> None:
        self._wire = wire
        self._queues = queues
        self._alarm = Alarm()

    def wake(self) -> None:
        """A stream was repaired, or an entry found missing."""
        self._alarm.ring()

    async def run(self) -> None:
        """Audit until cancelled; an error delays the next round, it never ends it."""
        while True:
            await self._alarm.sleep(INTERVAL * chance.uniform(0.75, 1.25))
            self._alarm.reset()
            for keys in self._queues:
                try:
                    await self.audit(keys)
                except RedisError as error:
                    logger.debug("queue %s is not audited: %s", keys.queue, error)
                except Exception:
                    logger.exception("the audit of queue %s failed", keys.queue)

    async def audit(self, keys: Keys) -> None:
        """Do what is to be done in one queue, and tell what was found."""
        found: list[bytes] = []
        step, more = audit(keys), True
        try:
            while more:
                more, *ids = await call(self._wire, step)
                found += ids
        finally:
            # What an error ends is told as far as it came: these are not found again.
            if found:
                self._tell(keys, [job_id.decode(errors="replace") for job_id in found])

    def _tell(self, keys: Keys, ids: list[str]) -> None:
        named = ", ".join(ids[:_NAMED]) + (", ..." if len(ids) > _NAMED else "")
        logger.error(
            "queue %s has lost jobs whose entries somebody deleted: %s (%d in all)",
            keys.queue, named, len(ids),
        )  # fmt: skip
