"""The live workers of a queue, as this event loop last saw them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence

from redis.exceptions import ConnectionError, ResponseError

from consumers.admin.reasons.lacking import why_not
from consumers.admin.workers import naming
from consumers.connections.backoff import pause_before
from consumers.connections.not_now import FOR_GOOD, is_for_now
from consumers.connections.wire import Wire
from consumers.errors import RedisUnavailable, TaskManagerError
from consumers.jobs.routes import Demand
from consumers.store.keys import Keys
from consumers.store.queue_workers import SeenWorker, workers_of

# Seconds. A look at the workers is good for so long, so that many emits share one.
FRESH = 1.0


class LiveWorkers:
    """The workers of a queue that were heard of within a minute, as they were a second ago at most.

    `where` is the address of Redis without a password. For `patience` seconds a look is repeated
    while Redis is away.
    """

    def __init__(self, wire: Wire, keys: Keys, *, where: str, patience: float) -> None:
        self._wire = wire
        self._keys = keys
        self._where = where
        self._patience = patience
        self._seen: Sequence[SeenWorker] = ()
        self._fresh_until = 0.0
        self._looking: asyncio.Task[None] | None = None
        # What one of those seen may run.
        self._met: set[Demand] = set()

    async def lacking(self, demand: Demand) -> list[tuple[str, str]] | None:
        """Return the name of each worker and why it may not run a job; None if one may.

        Raises RedisUnavailable or BrokenKey.
        """
        if time.monotonic() >= self._fresh_until:
            await self._look()
        if demand in self._met:
            return None
        whys = []
        for worker in self._seen:
            why = why_not(demand, worker.state)
            if not why:
                self._met.add(demand)
                return None
            whys.append((worker.state.profile.name, why))
        return whys

    async def _look(self) -> None:
        """Look at the workers, or wait for the look that is under way."""
        if self._looking is None:
            self._looking = asyncio.create_task(self._read())
            self._looking.add_done_callback(self._has_looked)
        # Others wait for it as well: whoever gives up must not end it.
        await asyncio.shield(self._looking)

    def _has_looked(self, look: asyncio.Task[None]) -> None:
        self._looking = None
        if not look.cancelled():
            # If all who waited have given up, nobody else asks what became of it.
            look.exception()

    async def _read(self) -> None:
        """Read the workers; repeated while Redis is away, as an emit is."""
        tries, until = 0, time.monotonic() + self._patience
        while (error := await self._try(until)) is not None:
            tries += 1
            pause = pause_before(tries)
            if isinstance(error, FOR_GOOD) or time.monotonic() + pause > until:
                raise self._unavailable(str(error) or "no answer in time") from error
            await asyncio.sleep(pause)

    async def _try(self, until: float) -> Exception | None:
        """Read the workers once; return why Redis does not answer now, None if it has."""
        asked = time.monotonic()
        try:
            async with asyncio.timeout(until - asked):
                with naming(self._keys.workers):
                    seen = await workers_of(self._wire, self._keys)
        except (ConnectionError, TimeoutError) as error:
            return error
        except ResponseError as error:
            if not is_for_now(error):
                raise TaskManagerError(f"Redis at {self._where} refused: {error}") from error
            return error
        self._seen, self._fresh_until, self._met = seen, asked + FRESH, set()
        return None

    def _unavailable(self, reason: str) -> RedisUnavailable:
        return RedisUnavailable(self._where, reason, outcome="not_sent", request="emit")
