"""Follow what the queues say of themselves: epoch, lease, lanes, pauses, what is cancelled."""

from __future__ import annotations

import logging
import time
from collections.abc import Awaitable, Callable
from typing import Any

from redis.exceptions import ResponseError

from consumers.connections.clock import ServerClock
from consumers.connections.not_now import told_apart
from consumers.errors import TaskManagerError
from consumers.fetch.definitions import Definitions
from consumers.fetch.levels import Levels
from consumers.fetch.reader import Reader
from consumers.jobs.lanes import listed_lanes
from consumers.lease.leases import Leases
from consumers.open.opener import Opener
from consumers.run.executor import Executor
from consumers.run.pauses import Pauses
from consumers.run.standstill import Standstill
from consumers.store.batching import chunks
from consumers.store.keys import Keys
from consumers.store.pause_state import FIELDS, PauseState

logger = logging.getLogger("taskmanager.worker")


class Follower:
    """Reads the queues' properties and lanes between two reads: the truth behind the hints.

    confirm is called when another pause state is obeyed from now on.
    """

    def __init__(
        self,
        opener: Opener,
        reader: Reader,
        executor: Executor,
        *,
        clock: ServerClock,
        confirm: Callable[[], Awaitable[None]],
    ) -> None:
        self.opener = opener
        self.reader = reader
        self.executor = executor
        self.clock = clock
        self._levels: Levels = reader.levels
        self._definitions = Definitions(reader.ask)
        self._leases: Leases = opener.leases
        self._pauses: Pauses = executor.pauses
        self._confirm = confirm
        names = [keys.queue for keys in opener.queues]
        self._standstill = Standstill(names, slots=executor.slots)

    async def refresh(self) -> None:
        """Read everything again, and tell the parts what has changed."""
        self._standstill.look(self.executor.runs())
        commands: list[tuple[str | int, ...]] = []
        commands.append(("TIME",))
        for keys in self.opener.queues:
            commands.append(("HMGET", keys.meta, "epoch", "lease", *FIELDS))
            commands.append(("ZRANGE", keys.lanes, 0, -1))
            commands.append(("SCARD", keys.cancelling))
        asked = time.monotonic()
        time_told, *replies = await self.reader.ask(*commands)
        if isinstance(time_told, ResponseError):
            raise told_apart(time_told)
        self.clock.told(*map(int, time_told), asked=asked)
        news = False
        for keys, *told in zip(
            self.opener.queues, *(replies[at::3] for at in range(3)), strict=True
        ):
            news |= await self._refreshed_alone(keys, *told)
        self._pauses.looked(asked)
        if news:
            await self._confirm()

    async def _refreshed_alone(self, keys: Keys, *told: Any) -> bool:
        """Do what _refreshed does; a queue that is spoiled is said once, and the others go on."""
        try:
            news = await self._refreshed(keys, *told)
        except ValueError as error:
            # Somebody wrote into its properties; its lanes and its lease are as they were. One that
            # never had a lease is not read: nobody could renew what is fetched of it.
            if keys.queue not in self._leases.seconds:
                self._levels.set_lanes(keys, ())
            self.opener.troubles[keys.queue].say(error)
        except (TaskManagerError, ResponseError) as error:
            # What cannot be opened, or says nothing of itself, is not read.
            self._levels.set_lanes(keys, ())
            self.opener.troubles[keys.queue].say(error)
        else:
            self.opener.troubles[keys.queue].over()
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
        news = self._pauses.tell(keys.queue, PauseState.read(meta[2:]))
        await self._follow(keys, meta[:2], names)
        if cancelling != 0:
            await self._look_for_cancelled(keys)
        return news

    async def _look_for_cancelled(self, keys: Keys) -> None:
        """End the runs that were cancelled while the hint of it was lost."""
        ours = [it for it in list(self._leases.all.values()) if it.stream.keys == keys]
        for some in chunks(ours):
            marks = (f"{it.stream.name} {it.entry}" for it in some)
            (flags,) = await self.reader.ask(("SMISMEMBER", keys.cancelling, *marks))
            if isinstance(flags, ResponseError):
                logger.error(
                    "cannot see which runs of queue %s were cancelled: %s", keys.queue, flags
                )
                return
            for delivery, flag in zip(some, flags, strict=True):
                if flag:
                    self.executor.cancel(delivery)

    async def _follow(self, keys: Keys, meta: Any, names: Any) -> None:
        if None in meta or self.opener.default_lane(keys).name.encode() not in names:
            if self.opener.is_lost(keys, *meta):
                logger.error("queue %s has lost its data in Redis; creating it again", keys.queue)
            await self.opener.open(keys)
            (names,) = await self.reader.ask(("ZRANGE", keys.lanes, 0, -1))
            if isinstance(names, ResponseError):
                raise told_apart(names)
        else:
            self.opener.epochs[keys.queue] = int(meta[0])
        listed = listed_lanes(keys.queue, names)
        self._levels.set_lanes(keys, listed, await self._definitions.learn(keys, listed))
        if meta[1] is not None:
            self.opener.adopt_lease(keys, int(meta[1]) / 1000)
