"""Make a worker's queues ready: its rights, their layout, their lease."""

from __future__ import annotations

import asyncio
import logging
import time

from redis.exceptions import ConnectionError, ResponseError, TimeoutError

from consumers.connections.backoff import pause_before
from consumers.connections.not_now import FOR_GOOD, is_for_now, told_apart
from consumers.connections.trouble import Trouble, reason
from consumers.connections.wire import Wire
from consumers.errors import LayoutMismatch, RedisUnavailable, TaskManagerError
from consumers.jobs.bounds import LEAST_LEASE, check_seconds
from consumers.jobs.lanes import Lane
from consumers.lease.leases import Leases
from consumers.open.eviction import warn_of_eviction
from consumers.open.rights import check_rights
from consumers.store.keys import Keys
from consumers.store.refusals import is_out_of_memory, meaning
from consumers.store.scripts import call
from consumers.store.tending import open_queue
from consumers.terms import Terms

logger = logging.getLogger("taskmanager.worker")


class Opener:
    """Prepares the queues for a worker of a type.

    A queue that has no lease yet gets that of the terms; one without dead letters, the name that
    they have for the stream of these. epochs has the epoch of each
    queue that was opened.
    """

    def __init__(
        self,
        wire: Wire,
        leases: Leases,
        terms: Terms,
        *,
        where: str,
    ) -> None:
        self.wire = wire
        self.leases = leases
        self.epochs: dict[str, int] = {}
        self.queues = terms.queues
        self.type = terms.type
        self.lease = terms.lease
        self.dead = terms.dead_letters.stream
        self.where = where
        self.troubles = {
            keys.queue: Trouble(logger, f"cannot read queue {keys.queue}", logging.ERROR)
            for keys in terms.queues
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
                if attempt == 1:
                    why = reason(error)
                    logger.warning(
                        "waiting up to %g s for Redis at %s: %s", patience, self.where, why
                    )
                await asyncio.sleep(pause)

    async def _open_each(self) -> None:
        refused: dict[str, TaskManagerError] = {}
        for keys in self.queues:
            try:
                await self.open(keys)
            except TaskManagerError as error:
                refused[keys.queue] = error
            except ValueError as error:
                why = f"the properties of queue {keys.queue!r} cannot be read: {error}"
                refused[keys.queue] = TaskManagerError(why)
        if len(refused) == len(self.queues):
            raise next(iter(refused.values()))
        for queue, refusal in refused.items():
            self.troubles[queue].say(refusal)

    def is_lost(self, keys: Keys, epoch: bytes | None, lease: bytes | None) -> bool:
        """Return whether a queue that is not as we opened it has lost what it held."""
        known = self.epochs.get(keys.queue, 0)
        if not known or lease is not None:
            return known != 0
        # Somebody who emits may have begun it anew before us: with an epoch of its own.
        # In ours and without a lease, it was opened while memory was full.
        return epoch is None or int(epoch) != known

    async def open(self, keys: Keys) -> None:
        lane, lease_ms = self.default_lane(keys), round(self.lease * 1000)
        opened = open_queue(keys, lane, lease_ms, dead=self.dead)
        try:
            epoch, lease_ms, dead = await call(self.wire, opened)
        except ResponseError as error:
            if is_for_now(error):
                raise told_apart(error) from error
            if not is_out_of_memory(error):
                raise explained(error, keys, self.where) from error
            epoch, lease_ms, dead = await self._open_without_room(keys)
        self._say_where_letters_stay(keys, dead or None)
        self.epochs[keys.queue] = epoch
        self.adopt_lease(keys, lease_ms / 1000)

    def _say_where_letters_stay(self, keys: Keys, named: bytes | None) -> None:
        counts = keys.dead_named(named)
        if self.dead is not None and counts != (ours := keys.dead_named(self.dead.encode())):
            logger.warning(
                "queue %s already keeps dead letters in %s: replay or purge them, then restart a "
                "worker to keep new ones in %s",
                keys.queue, counts, ours,
            )  # fmt: skip

    async def _open_without_room(self, keys: Keys) -> tuple[int, int, bytes | None]:
        # Full memory takes no new property, but what waits can be worked off,
        # and that is what makes room.
        logger.warning(
            "Redis is out of memory; running the jobs of queue %s with its stored properties",
            keys.queue,
        )
        names = ("epoch", "lease", "dead")
        epoch, lease_ms, dead = await self.wire.send("HMGET", keys.meta, *names)
        return int(epoch or 0), int(lease_ms or self.lease * 1000), dead

    def adopt_lease(self, keys: Keys, seconds: float) -> None:
        """Take over the lease of a queue, in seconds. Raises InvalidInput for what is none."""
        if self.leases.seconds.get(keys.queue) == seconds:
            return
        # With a lease of 0 every job would be lost as soon as it is fetched.
        check_seconds(f"lease of queue {keys.queue}", seconds, LEAST_LEASE)
        self.leases.seconds[keys.queue] = seconds
        if seconds != self.lease:
            logger.warning(
                "queue %s has a lease of %g s, which overrides the %g s of this worker",
                keys.queue, seconds, self.lease,
            )  # fmt: skip


def explained(error: ResponseError, keys: Keys, where: str) -> TaskManagerError:
    """Return why a queue cannot be opened."""
    known = meaning(error, keys, where)
    if isinstance(known, LayoutMismatch):
        return known
    return TaskManagerError(f"queue {keys.queue!r} cannot be opened: {error}")
