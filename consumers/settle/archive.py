"""Results, logs and progress in a Redis of their own, apart from the queues.

Everything transactional stays with the queue. What is kept here is written
before the job is settled, and only when no later run or delivery has written:
a worker that lost its lease does not overwrite what its successor kept.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Sequence

from redis.exceptions import RedisError

from consumers.connections.backoff import pause_before
from consumers.connections.clock import ServerClock
from consumers.connections.connector import Connector
from consumers.connections.link import Argument
from consumers.connections.trouble import reason
from consumers.connections.wire import Wire
from consumers.jobs.names import worker_of
from consumers.jobs.outcome import Buried, Cancelled, Completed
from consumers.store.archiving import archive_end, archive_note
from consumers.store.delivery import Delivery
from consumers.store.facts import facts_of, written
from consumers.store.noting import LOG_LINES
from consumers.store.scripts import Call, call
from consumers.store.settling import Settlement

logger = logging.getLogger("taskmanager.results")


class Archive:
    """The second Redis of a consumer; makes its connection with the first write."""

    def __init__(
        self, connector: Connector, *, consumer: str, result_ttl_ms: int, patience: float = 5.0
    ) -> None:
        self.wire = Wire(connector, name=f"archive-{consumer}")
        self.patience = patience
        # That of the queue, which times all that is known of a job.
        self.clock = ServerClock()
        self._worker = worker_of(consumer)
        # How many results were given up since the start.
        self.dropped = 0
        self._where = connector.where
        self._result_ttl_ms = result_ttl_ms

    async def write(self, settlements: Sequence[Settlement]) -> None:
        """Write how runs ended; repeated for ``patience`` seconds while this Redis is away or full.

        What could not be kept by then is dropped, counted and logged: the queue
        must not stand still because of where its results go.

        What is kept and not settled afterwards (the lease was lost) belongs to a
        run that is run again: its successor, a later delivery, overwrites it.
        """
        ends = [end for it in settlements if (end := self._end(it)) is not None]
        attempt, until = 0, time.monotonic() + self.patience
        while ends and self._result_ttl_ms:
            try:
                await asyncio.gather(*(call(self.wire, it, until=until) for it in ends))
                return
            except RedisError as error:
                attempt += 1
                if attempt == 1:
                    logger.warning(
                        "results are waiting for Redis at %s: %s", self._where, reason(error)
                    )
                if time.monotonic() > until:
                    self.dropped += len(ends)
                    logger.error(
                        "could not store %d result(s) in Redis at %s: %s",
                        len(ends), self._where, reason(error),
                    )  # fmt: skip
                    return
                await asyncio.sleep(pause_before(attempt))

    def log(self, delivery: Delivery, ttl_ms: int, line: str) -> Call:
        """Return the writing of a line of a job's log; answers 1, or 0 when a later run wrote."""
        keys, job_id = delivery.stream.keys, delivery.envelope.id
        return archive_note(delivery, "log", keys.log(job_id), ttl_ms, LOG_LINES, line)

    def progress(self, delivery: Delivery, ttl_ms: int, fields: Sequence[Argument]) -> Call:
        """Return the writing of a job's progress; answers like log."""
        keys, job_id = delivery.stream.keys, delivery.envelope.id
        return archive_note(delivery, "progress", keys.progress(job_id), ttl_ms, 0, *fields)

    async def close(self) -> None:
        """Disconnect."""
        await self.wire.close()

    def _end(self, settlement: Settlement) -> Call | None:
        delivery, outcome = settlement.delivery, settlement.outcome
        if isinstance(outcome, Completed):
            state, value = "completed", outcome.result
        elif isinstance(outcome, Cancelled):
            state, value = "cancelled", outcome.reason.encode()
        elif isinstance(outcome, Buried):
            state, value = "dead", b""
        else:
            return None
        facts = written(self._worker, facts_of(delivery, outcome), self.clock.now_ms())
        return archive_end(delivery, state, facts, value, self._result_ttl_ms)
