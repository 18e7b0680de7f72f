"""What people do to jobs and queues: cancel, pause, resume."""

from __future__ import annotations

import asyncio
import json
import logging
from typing import Literal, NamedTuple

from redis.exceptions import RedisError

from consumers.connections.wire import Wire
from consumers.errors import TooManyPaused
from consumers.store.archiving import archive_cancelled
from consumers.store.changing import MAX_PAUSED_EVENTS, cancel, pause
from consumers.store.fleet import live_workers
from consumers.store.keys import Fleet, Keys
from consumers.store.scripts import Call, call

logger = logging.getLogger("taskmanager.results")

CancelWord = Literal["cancelled", "requested", "too_late", "newer_version"]

# A worker confirms a pause with its next look at the queue, at most 2 seconds later.
_CONFIRM_LOOK = 0.05


class Cancel(NamedTuple):
    """What a cancel came to; generation is that of its job, 0 when it was too late."""

    word: CancelWord
    generation: int


class Operator:
    """Changes one queue, on a connection for whatever else; archive is where results are.

    Its methods raise redis' errors.
    """

    def __init__(self, wire: Wire, keys: Keys, *, archive: Wire | None = None) -> None:
        self._wire = wire
        self._keys = keys
        self._archive = archive

    async def cancel(self, job_id: str, generation: int | None, *, result_ttl_ms: int) -> Cancel:
        """Cancel the job of this generation, None: the live one, unless it has ended."""
        ttl_ms = 0 if self._archive is not None else result_ttl_ms
        step = cancel(self._keys, job_id, generation, ttl_ms)
        word, number, *facts = await call(self._wire, step)
        done = Cancel(word.decode(), int(number))
        if self._archive is not None and facts and result_ttl_ms:
            end = archive_cancelled(self._keys, job_id, done.generation, facts[0], result_ttl_ms)
            await self._archive_end(self._archive, job_id, end)
        return done

    async def pause(self, event: str | None = None) -> int:
        """Let no job of the queue, or of one event, start any more; return the pause's number."""
        number = await self._change(event, pauses=True)
        if number < 0:
            raise TooManyPaused(self._keys.queue, event or "", MAX_PAUSED_EVENTS)
        return number

    async def resume(self, event: str | None = None) -> None:
        """Take a pause back: that of the queue, or that of one event."""
        await self._change(event, pauses=False)

    async def until_obeyed(self, number: int) -> None:
        """Return when every live worker of the queue obeys the pause with this number.

        A worker that is stopped or cut off is waited for until it is not listed any
        more, a minute after its last sign of life; it then starts nothing before it has
        looked at the queue again.
        """
        fleet = Fleet(self._keys.namespace)
        while not await self._all_obey(fleet, number):  # noqa: ASYNC110 - workers elsewhere
            await asyncio.sleep(_CONFIRM_LOOK)

    async def _all_obey(self, fleet: Fleet, number: int) -> bool:
        queue = self._keys.queue
        for facts in await live_workers(self._wire, fleet, "queues", "pauses"):
            queues, pauses = (json.loads(fact or b"null") for fact in facts)
            if queue in (queues or ()) and (pauses or {}).get(queue, 0) < number:
                return False
        return True

    async def _change(self, event: str | None, *, pauses: bool) -> int:
        step = pause(self._keys, event, pauses=pauses)
        number: int = await call(self._wire, step)
        return number

    async def _archive_end(self, archive: Wire, job_id: str, end: Call) -> None:
        try:
            await call(archive, end)
        except RedisError as error:
            # The job is cancelled, which is what was asked for.
            logger.error("could not store the end of the cancelled job %s: %s", job_id, error)
