"""Open a consumer's queues, and follow what they say of themselves: epoch, lease, lanes."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from redis.exceptions import (
    ConnectionError,
    OutOfMemoryError,
    ResponseError,
    TimeoutError,
)

from consumers.connections.backoff import pause_before
from consumers.connections.not_now import FOR_GOOD, is_for_now, told_apart
from consumers.connections.trouble import Trouble
from consumers.connections.wire import Wire
from consumers.errors import LayoutMismatch, RedisUnavailable, TaskManagerError
from consumers.fetch.levels import Levels
from consumers.fetch.reader import Reader
from consumers.jobs.bounds import LEAST_LEASE, check_seconds
from consumers.jobs.lanes import Lane, listed_lanes
from consumers.lease.leases import Leases
from consumers.open.eviction import warn_of_eviction
from consumers.open.rights import check_rights
from consumers.run.executor import Executor
from consumers.run.pauses import Pauses
from consumers.store.keys import Keys
from consumers.store.pause_state import FIELDS, PauseState
from consumers.store.scripts import call
from consumers.store.steps import BATCH_ITEMS
from consumers.store.tending import open_queue

logger = logging.getLogger(__name__)


class Opener:
    """Prepares the queues for a worker of a type, and tells the parts what was found.

    lease is what a queue gets that has none yet, in seconds. confirm is called when
    another pause state is obeyed from now on.
    """

    def __init__(
        self,
        wire: Wire,
        *,
        reader: Reader,
        levels: Levels,
        leases: Leases,
        executor: Executor,
        pauses: Pauses,
        confirm: Callable[[], Awaitable[None]],
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
        self.pauses = pauses
        self.confirm = confirm
        self.queues = queues
        self.type = type
        self.lease = lease
        self.where = where
        self._troubles = {
            keys.queue: Trouble(logger, f"queue {keys.queue} is spoiled", logging.ERROR)
            for keys in queues
        }

    def default_lane(self, keys: Keys) -> Lane:
        """Return the lane of a queue that exists as long as workers read it."""
        return Lane(keys.queue, self.type)

    async def open_all(self, patience: float) -> None:
        """Open every queue; wait patience seconds for Redis, then raise RedisUnavailable.

        A queue that cannot be opened is said, and tried again at each refresh. When none can,
        raises why the first cannot: LayoutMismatch, when it belongs to an incompatible version.
        """
        until = time.monotonic() + patience
        attempt = 0
        while True:
            try:
                await check_rights(self.wire, self.queues[0])
                await self._open_each()
                await warn_of_eviction(self.wire)
                return
            except (ConnectionError, TimeoutError) as error:
                attempt += 1
                pause = pause_before(attempt)
                if isinstance(error, FOR_GOOD) or time.monotonic() + pause > until:
                    raise RedisUnavailable(self.where, str(error), outcome="not_sent") from error
                await asyncio.sleep(pause)

    async def _open_each(self) -> None:
        refused: dict[str, TaskManagerError] = {}
        for keys in self.queues:
            try:
                await self._open(keys)
            except TaskManagerError as error:
                refused[keys.queue] = error
            except ValueError as error:
                why = f"its properties cannot be understood, {error}"
                refused[keys.queue] = TaskManagerError(f"queue {keys.queue!r}: {why}")
        if len(refused) == len(self.queues):
            raise next(iter(refused.values()))
        for queue, reason in refused.items():
            self._troubles[queue].say(reason)

    async def refresh(self) -> None:
        """Read the queues' properties and lanes again: the truth behind the hints."""
        commands: list[tuple[str | int, ...]] = []
        commands.append(("TIME",))
        for keys in self.queues:
            commands.append(("HMGET", keys.meta, "epoch", "lease", *FIELDS))
            commands.append(("ZRANGE", keys.lanes, 0, -1))
            commands.append(("SCARD", keys.cancelling))
        asked = time.monotonic()
        time_told, *replies = await self.reader.ask(*commands)
        if isinstance(time_told, ResponseError):
            raise told_apart(time_told)
        self.executor.clock.told(*map(int, time_told))
        news = False
        for keys, *told in zip(self.queues, *(replies[at::3] for at in range(3)), strict=True):
            news |= await self._refreshed_alone(keys, *told)
        self.pauses.looked(asked)
        if news:
            await self.confirm()

    async def _refreshed_alone(self, keys: Keys, *told: Any) -> bool:
        """Do what _refreshed does; a queue that is spoiled is said once, and the others go on."""
        try:
            news = await self._refreshed(keys, *told)
        except ValueError as error:
            # Somebody wrote into its properties; its lanes and its lease are as they were. One that
            # never had a lease is not read: nobody could renew what is fetched of it.
            if keys.queue not in self.leases.seconds:
                self.levels.set_lanes(keys, ())
            self._troubles[keys.queue].say(error)
        except (TaskManagerError, ResponseError) as error:
            # What cannot be opened, or says nothing of itself, is not read.
            self.levels.set_lanes(keys, ())
            self._troubles[keys.queue].say(error)
        else:
            self._troubles[keys.queue].over()
            return news
        return False

    async def _refreshed(self, keys: Keys, meta: Any, names: Any, cancelling: Any) -> bool:
        """Take over what a queue says of itself; return whether its pause state is news.

        Raises ValueError when that cannot be understood, ResponseError or TaskManagerError when
        it cannot be read, or the queue is not there and cannot be made.
        """
        for told in (meta, names):
            if isinstance(told, ResponseError):
                raise told_apart(told)
        news = self.pauses.tell(keys.queue, PauseState.read(meta[2:]))
        await self._follow(keys, meta[:2], names)
        if cancelling != 0:
            await self._look_for_cancelled(keys)
        return news

    async def _look_for_cancelled(self, keys: Keys) -> None:
        """End the runs that were cancelled while the hint of it was lost."""
        ours = [it for it in list(self.leases.all.values()) if it.stream.keys == keys]
        for start in range(0, len(ours), BATCH_ITEMS):
            some = ours[start : start + BATCH_ITEMS]
            marks = (f"{it.stream.name} {it.entry}" for it in some)
            (flags,) = await self.reader.ask(("SMISMEMBER", keys.cancelling, *marks))
            if isinstance(flags, ResponseError):
                logger.error("cancelled runs of %s are not seen: %s", keys.queue, flags)
                return
            for delivery, flag in zip(some, flags, strict=True):
                if flag:
                    self.executor.cancel(delivery)

    async def _follow(self, keys: Keys, meta: Any, names: Any) -> None:
        if None in meta or self.default_lane(keys).name.encode() not in names:
            if self._is_lost(keys, *meta):
                logger.error("queue %s has lost its data in Redis, it is made anew", keys.queue)
            await self._open(keys)
            (names,) = await self.reader.ask(("ZRANGE", keys.lanes, 0, -1))
            if isinstance(names, ResponseError):
                raise told_apart(names)
        else:
            self.executor.epochs[keys.queue] = int(meta[0])
        self.levels.set_lanes(keys, listed_lanes(keys.queue, names))
        if meta[1] is not None:
            self._adopt_lease(keys, int(meta[1]) / 1000)

    def _is_lost(self, keys: Keys, epoch: bytes | None, lease: bytes | None) -> bool:
        """Whether a queue that is not as we opened it has lost what it held."""
        known = self.executor.epochs.get(keys.queue, 0)
        if not known or lease is not None:
            return known != 0
        # Somebody who emits may have begun it anew before us: with an epoch of its own.
        # In ours and without a lease, it was opened while memory was full.
        return epoch is None or int(epoch) != known

    async def _open(self, keys: Keys) -> None:
        opened = open_queue(keys, self.default_lane(keys), round(self.lease * 1000))
        try:
            epoch, lease_ms = await call(self.wire, opened)
        except ResponseError as error:
            if is_for_now(error):
                raise told_apart(error) from error
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
        # With a lease of 0 every job would be lost as soon as it is fetched.
        check_seconds(f"lease of queue {keys.queue}", seconds, LEAST_LEASE)
        self.leases.seconds[keys.queue] = seconds
        if seconds != self.lease:
            logger.warning(
                "queue %s has a lease of %g s, it counts instead of ours of %g s",
                keys.queue, seconds, self.lease,
            )  # fmt: skip
