"""Open a consumer's queues, and follow what they say of themselves: epoch, lease, lanes."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Sequence
from typing import Any

from redis.exceptions import (
    AuthenticationError,
    ConnectionError,
    OutOfMemoryError,
    ResponseError,
    TimeoutError,
)

from consumers.backoff import pause_before
from consumers.errors import LayoutMismatch, RedisUnavailable, TaskManagerError
from consumers.executor import Executor
from consumers.keys import Keys
from consumers.lanes import Lane, listed_lanes
from consumers.leases import Leases
from consumers.levels import Levels
from consumers.preflight import check_rights
from consumers.reader import Reader
from consumers.scripts import call
from consumers.transitions import open_queue
from consumers.wire import Wire

logger = logging.getLogger(__name__)


class Opener:
    """Prepares the queues for a worker of a type, and tells the parts what was found.

    lease is what a queue gets that has none yet, in seconds.
    """

    def __init__(
        self,
        wire: Wire,
        *,
        reader: Reader,
        levels: Levels,
        leases: Leases,
        executor: Executor,
        queues: Sequence[Keys],
        type: str,
        lease: float,
        where: str,
    ) -> None:
        self.wire = wire
        self.reader = reader
        self.levels = levels
        self.leases = leases
        self.executor = executor
        self.queues = queues
        self.type = type
        self.lease = lease
        self.where = where

    def default_lane(self, keys: Keys) -> Lane:
        """Return the lane of a queue that exists as long as workers read it."""
        return Lane(keys.queue, self.type)

    async def open_all(self, patience: float) -> None:
        """Open every queue; wait patience seconds for Redis, then raise RedisUnavailable.

        Raises LayoutMismatch when a queue belongs to an incompatible version.
        """
        until = time.monotonic() + patience
        attempt = 0
        while True:
            try:
                await check_rights(self.wire, self.queues[0])
                for keys in self.queues:
                    await self._open(keys)
                return
            except (ConnectionError, TimeoutError) as error:
                attempt += 1
                pause = pause_before(attempt)
                # A refused login will be refused again.
                refused = isinstance(error, AuthenticationError)
                if refused or time.monotonic() + pause > until:
                    raise RedisUnavailable(self.where, str(error), outcome="not_sent") from error
                await asyncio.sleep(pause)

    async def refresh(self) -> None:
        """Read the queues' properties and lanes again: the truth behind the hints."""
        commands: list[tuple[str | int, ...]] = []
        commands.append(("TIME",))
        for keys in self.queues:
            commands.append(("HMGET", keys.meta, "epoch", "lease"))
            commands.append(("ZRANGE", keys.lanes, 0, -1))
        time_told, *replies = await self.reader.ask(*commands)
        self.executor.clock.told(*map(int, time_told))
        for keys, meta, names in zip(self.queues, replies[::2], replies[1::2], strict=True):
            await self._refreshed(keys, meta, names)

    async def _refreshed(self, keys: Keys, meta: Any, names: Any) -> None:
        if isinstance(meta, ResponseError) or isinstance(names, ResponseError):
            logger.error("queue %s cannot be read: %s, %s", keys.queue, meta, names)
            return
        if None in meta or self.default_lane(keys).name.encode() not in names:
            # Without a lease only, it was opened while memory was full.
            if meta[0] is None or meta[1] is not None:
                logger.error("queue %s has lost its data in Redis, it is made anew", keys.queue)
            await self._open(keys)
            (names,) = await self.reader.ask(("ZRANGE", keys.lanes, 0, -1))
        else:
            self.executor.epochs[keys.queue] = int(meta[0])
            self._adopt_lease(keys, int(meta[1]) / 1000)
        self.levels.set_lanes(keys, listed_lanes(keys.queue, names))

    async def _open(self, keys: Keys) -> None:
        opened = open_queue(keys, self.default_lane(keys), round(self.lease * 1000))
        try:
            epoch, lease_ms = await call(self.wire, opened.script, opened.keys, opened.args)
        except ResponseError as error:
            if not (isinstance(error, OutOfMemoryError) or "OOM" in str(error)):
                raise self._explained(keys, error) from error
            epoch, lease_ms = await self._open_without_room(keys)
        self.executor.epochs[keys.queue] = epoch
        self._adopt_lease(keys, lease_ms / 1000)

    async def _open_without_room(self, keys: Keys) -> tuple[int, int]:
        # Full memory takes no new property, but what waits can be worked off,
        # and that is what makes room.
        logger.warning("Redis is out of memory, queue %s is worked off as it is", keys.queue)
        epoch, lease_ms = await self.wire.send("HMGET", keys.meta, "epoch", "lease")
        return int(epoch or 0), int(lease_ms or self.lease * 1000)

    def _explained(self, keys: Keys, error: ResponseError) -> TaskManagerError:
        text = str(error)
        if "LAYOUT " in text:
            found, known = text.split("LAYOUT ", 1)[1].split(" ")[:2]
            return LayoutMismatch(keys.queue, found, known)
        return TaskManagerError(f"queue {keys.queue!r} cannot be opened: {text}")

    def _adopt_lease(self, keys: Keys, seconds: float) -> None:
        if self.leases.seconds.get(keys.queue) == seconds:
            return
        self.leases.seconds[keys.queue] = seconds
        if seconds != self.lease:
            logger.warning(
                "queue %s has a lease of %g s, it counts instead of ours of %g s",
                keys.queue, seconds, self.lease,
            )  # fmt: skip
