"""Fetch jobs for free slots: highest priority first, in batches, blocking when there are none."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from contextvars import copy_context

from redis.exceptions import ConnectionError, RedisError, TimeoutError

from consumers.chance import chance
from consumers.connections.backoff import pause_before
from consumers.connections.trouble import Trouble, reason
from consumers.fetch.admission import Admission
from consumers.fetch.depth import Depth
from consumers.fetch.follower import Follower
from consumers.fetch.held import Held
from consumers.fetch.intake import Intake
from consumers.fetch.prefetch import Prefetch
from consumers.fetch.reader import BLOCK, Reader
from consumers.fetch.reclaimer import Reclaimer
from consumers.jobs.outcome import Released
from consumers.lease.leases import HELD_AT_MOST, Leases
from consumers.settle.settler import Settler
from consumers.store.delivery import Delivery, Stream

logger = logging.getLogger("taskmanager.worker")

# The truth about lanes and properties is read again this often, however many
# hints were lost.
REFRESH = 2.0
# With few slots free a read brings few jobs: wait this long for more to be free.
_GATHER = 0.002
_HELD_LOOK = 0.25
_NO_BLOCK_PAUSE = 0.02
# Outcomes that Redis does not take must not pile up without a bound.
_MOST_UNSETTLED = 2000


class Fetcher:
    """The loop between the streams and the executor.

    In turn: look at the queues, hand back what was held for long, let a suspect run solo,
    take over from the dead, read, start. Without any backlog it blocks on all levels at once.
    """

    def __init__(
        self,
        *,
        reader: Reader,
        leases: Leases,
        settler: Settler,
        reclaimer: Reclaimer,
        follower: Follower,
        admission: Admission,
        slots: int,
        unblock: Callable[[int], None],
        most_held: int | None = None,
    ) -> None:
        self.reader = reader
        self.levels = reader.levels
        self.leases = leases
        self.executor = executor = admission.executor
        self.settler = settler
        self.reclaimer = reclaimer
        self.follower = follower
        self.admission = admission
        self.gate = admission.gate
        self.depth, self.slots = Depth(reader.levels, self._bring, reader.learn), slots
        self.prefetch = Prefetch(slots, most=most_held, now=time.monotonic())
        self.held = Held(leases)
        self.intake = Intake(
            self.held, reader=reader, leases=leases, executor=executor, settler=settler
        )
        self.passes = 0
        self._unblock = unblock
        self._prefetching = True
        self._freed = asyncio.Event()
        self._ends, self._context = 0, copy_context()
        self._stopping = False
        self._blocked = False
        self._dirty = True
        self._refreshed = 0.0
        self._looked = 0.0
        self._failures = 0
        self._trouble = Trouble(logger, "fetching jobs failed", logging.ERROR)

    @property
    def idle(self) -> bool:
        """Whether the last pass over all levels found nothing."""
        return self.depth.idle

    # What others do with it

    async def run(self) -> None:
        """Fetch until stopped. Redis being away delays it, nothing ends it."""
        self.prefetch.rest(time.monotonic())
        while not self._stopping:
            try:
                await self._step()
                if self._failures:
                    self._failures = 0
                    logger.info("Redis at %s is back; fetching resumes", self.settler.where)
            except (ConnectionError, TimeoutError) as error:
                await self._pause(error)
            except RedisError as error:
                self._trouble.say(error)
                await asyncio.sleep(1.0)
            except Exception:
                logger.exception("fetching jobs failed")
                await asyncio.sleep(1.0)
            except asyncio.CancelledError:
                # The loop ends. What is held has not begun, so its worker's end is no crash of it.
                self._hand_back_held()
                raise

    def stop(self) -> None:
        """Fetch no more; run ends when the read under way is answered."""
        self._stopping = True
        self.wake()

    def freed(self) -> None:
        """A slot is free: start what is held, or fetch."""
        self._ends += 1
        if self._ends == 1:
            # Many end in one turn of the loop: what is the same for all is done once, and in
            # the context of none of them.
            asyncio.get_running_loop().call_soon(self._refill, context=self._context)

    def _refill(self) -> None:
        self.prefetch.ended(self._ends)
        self._ends, self._prefetching = 0, True
        self._start_down_to(0)
        self._freed.set()

    def wake(self) -> None:
        """Something changed (a lane, a stop): look at the lanes before the next read."""
        self._dirty = True
        self._freed.set()
        self._interrupt()

    def release_held(self) -> None:
        """Hand everything that is held back, to the front of its lane."""
        self._hand_back_held()
        suspect = self.gate.suspect
        if suspect is not None and not self.gate.begun:
            self.gate.over()
            self.settler.settle(suspect, Released("shutdown"))

    def _hand_back_held(self) -> None:
        for delivery in self.leases.overdue(after=0.0):
            self.settler.settle(delivery, Released("shutdown"))

    # One turn

    async def _step(self) -> None:
        self.prefetch.measure(time.monotonic())
        await self._look_at_queues()
        self._return_overdue()
        if self.gate.suspect is not None:
            if not await self.admission.mind(self.gate.suspect):
                await self._slot_or(_HELD_LOOK)
        elif not self._has_reason_to_read():
            await self._slot_or(_HELD_LOOK if self.held else BLOCK)
            # However long that was: what was found empty before may have filled up.
            self.depth.idle = False
        else:
            if not self.held and not self._is_worth_a_read():
                await asyncio.sleep(_GATHER)
            if self.reclaimer.is_due:
                taken_over = await self.reclaimer.sweep(self._wanted())
                # Reads tell of refusals by themselves: that one was answered says little here.
                self._trouble.over()
                self.intake.take(await self.intake.in_time(taken_over), reclaimed=True)
            await self._fetch()

    def _free(self) -> int:
        return self.slots - self.executor.taken()

    def _wanted(self) -> int:
        """How many deliveries there is room for, in slots and in what may be held."""
        return max(0, self._free() + self.prefetch.allowed * self._prefetching - len(self.held))

    def _is_worth_a_read(self) -> bool:
        # A read for one slot costs Redis and us as much as a read for many.
        return self._wanted() >= max(1, self.slots // 8)

    def _has_reason_to_read(self) -> bool:
        if self.settler.backlog > _MOST_UNSETTLED:
            return False
        return self._free() > 0 or self._is_worth_a_read()

    async def _look_at_queues(self) -> None:
        now = time.monotonic()
        if self._dirty or self.reader.outdated or now - self._refreshed >= REFRESH:
            self._dirty = self.reader.outdated = False
            known = self.intake.known_cancelled()
            await self.follower.refresh()
            self.intake.forget_cancelled(known)
            self.reader.look_again()
            self._refreshed = time.monotonic()
            self.depth.fit()

    def _return_overdue(self) -> None:
        now = time.monotonic()
        if self.held and now - self._looked > _HELD_LOOK:
            self._looked = now
            for delivery in self.leases.overdue(after=HELD_AT_MOST):
                # Or we would fetch it again at once, to hold it again.
                self._prefetching = False
                self.settler.settle(delivery, Released("held"))

    async def _slot_or(self, seconds: float) -> None:
        """Wait for a free slot, at most some seconds."""
        self._freed.clear()
        if (self._free() > 0 and self.gate.suspect is None) or self._stopping:
            # Only unsettled outcomes hold us up: look again soon.
            seconds = 0.01
        await self._until_freed(seconds)

    async def _until_freed(self, seconds: float) -> None:
        timer = asyncio.get_running_loop().call_later(seconds, self._freed.set)
        await self._freed.wait()
        timer.cancel()

    async def _fetch(self) -> None:
        self.levels.turn()
        top, was_idle = self.held.top(), self.depth.idle
        if top is not None:
            await self.depth.ask_above(top, self._wanted(), self._free())
        elif was_idle:
            await self._block()
        else:
            await self.depth.read_backlog(self._wanted(), self._free, is_stale=lambda: self._dirty)
        # Where the lanes may be others by now, they are looked at before the next start.
        self._start_down_to(max(0, self.depth.asked), only_one=self._dirty)
        if self.prefetch.is_off:
            self.intake.return_surplus(max(0, self._free()))
        if was_idle:
            # What came begins first: to make the next read ready takes a tenth of its latency.
            await asyncio.sleep(0)

    async def _block(self) -> None:
        self.prefetch.rest(time.monotonic())
        streams, count = self.levels.share_of_all(self._wanted())
        if not streams:
            # Everything is paused: a resume wakes us.
            self._freed.clear()
            if not self._dirty:
                await self._until_freed(REFRESH)
            self.passes += 1
            return
        self._blocked = True
        try:
            if self._dirty or self._stopping:
                return
            asked, block = time.monotonic(), self._block_for()
            deliveries = await self._read(streams, count, block=block)
        finally:
            self._blocked = False
            self.passes += 1
        if not deliveries and not self._dirty and time.monotonic() - asked < block / 20:
            # Some stand-ins for Redis do not block: without a pause we would spin.
            await asyncio.sleep(min(_NO_BLOCK_PAUSE, block))
        self.intake.take(deliveries)
        self.depth.has_blocked(deliveries, count)

    def _block_for(self) -> float:
        # The lease counts from when a read was sent: long blocks would eat it. And
        # a block that ended just before the next look would put that off by another.
        shortest = min(self.leases.seconds.values(), default=30.0)
        next_look = self._refreshed + REFRESH - time.monotonic()
        return max(0.01, min(self.reader.block, next_look, shortest / 4, self.reclaimer.due_in))

    async def _bring(self, streams: Sequence[Stream], most: int) -> list[Delivery]:
        deliveries = await self._read(streams, most)
        self.intake.take(deliveries)
        return deliveries

    async def _read(
        self, streams: Sequence[Stream], most: int, *, block: float = 0.0
    ) -> list[Delivery]:
        return await self.intake.in_time(await self.reader.read(streams, most, block=block))

    # Starting

    def _start_down_to(self, lowest: int, *, only_one: bool = False) -> None:
        """Start what is held of a level and those above it, as long as slots are free."""
        if not self.executor.pauses.are_fresh:
            self._dirty = True
            return
        taken, slots = self.executor.taken, self.slots
        while taken() < slots and self.gate.suspect is None and not self._stopping:
            top = self.held.top()
            if top is None or self.levels.level_of(top.stream) > lowest:
                return
            if self.held.take(top):
                self.admission.admit(top)
            if only_one:
                return

    # Waking and waiting

    def _interrupt(self) -> None:
        """Unblock the reader; again and again, since before the block it does nothing."""
        if not (self._blocked and self._dirty and self.reader.can_be_woken):
            return
        client = self.reader.channel.client_id
        if client is not None:
            self._unblock(client)
        asyncio.get_running_loop().call_later(0.005, self._interrupt)

    async def _pause(self, error: Exception) -> None:
        self._failures += 1
        if self._failures == 1:
            logger.warning("waiting for Redis at %s: %s", self.settler.where, reason(error))
        await asyncio.sleep(pause_before(self._failures) * chance.uniform(0.5, 1.0))
        self._dirty = True
