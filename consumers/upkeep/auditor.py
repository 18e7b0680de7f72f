"""Report the jobs that went with a stream, or with entries of one, that somebody deleted."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from consumers.connections.wire import Wire
from consumers.store.keys import Keys
from consumers.store.scripts import call
from consumers.store.tending import audit
from consumers.upkeep.service import Rounds

logger = logging.getLogger("taskmanager.worker")

_NAMED = 20


class Auditor(Rounds):
    """Every worker runs one; Redis keeps what is to be audited and how far that has come.

    Payloads are in the streams only: what was deleted with one cannot run any more,
    but it must not look like a live job for ever. There is something to do only after a
    stream was made again, a lane was retired of which one was missing, or what a dead worker
    had was gone.
    """

    def __init__(self, wire: Wire, queues: Sequence[Keys]) -> None:
        super().__init__(
            logger,
            queues,
            undone="cannot look for lost jobs in queue %s: %s",
            failed="looking for lost jobs in queue %s failed",
        )
        self._wire = wire

    async def visit(self, keys: Keys) -> None:
        """Audit a queue."""
        await self.audit(keys)

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
            "queue %s lost jobs because another program deleted their entries: %s (%d in total)",
            keys.queue, named, len(ids),
        )  # fmt: skip
