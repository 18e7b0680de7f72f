"""Fetch jobs for free slots: highest priority first, in batches, blocking when there are none."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from redis.exceptions import ConnectionError, RedisError, TimeoutError

from consumers.chance import chance
from consumers.connections.backoff import pause_before
from consumers.connections.trouble import Trouble
from consumers.errors import LeaseLost
from consumers.fetch.held import Held
from consumers.fetch.levels import Levels
from consumers.fetch.prefetch import Prefetch
from consumers.fetch.reader import BLOCK, Reader
from consumers.fetch.reclaimer import Reclaimer
from consumers.fetch.solo import SoloGate, exclusive, patience
from consumers.jobs.outcome import Cancelled, Released
from consumers.lease.leases import HELD_AT_MOST, Leases
from consumers.run.executor import Executor
from consumers.settle.settler import Settler
from consumers.store.delivery import Delivery
from consumers.store.unfit import foreign

logger = logging.getLogger(__name__)

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

    It reads the levels down to the one that last had a backlog, and widens when
    the reply is short. Before something held is started, higher levels are
    asked. Without any backlog it blocks on all levels at once.
    """

    def __init__(
        self,
        *,
        reader: Reader,
        levels: Levels,
        leases: Leases,
        executor: Executor,
        settler: Settler,
        reclaimer: Reclaimer,
        gate: SoloGate,
        slots: int,
        refresh: Callable[[], Awaitable[None]],
        unblock: Callable[[int], None],
    ) -> None:
        self.reader = reader
        self.levels = levels
        self.leases = leases
        self.executor = executor
        self.settler = settler
        self.reclaimer = reclaimer
        self.gate = gate
        self.slots = slots
        self.prefetch = Prefetch(slots, now=time.monotonic())
        self.held = Held(leases)
        # True when the last pass over all levels found nothing.
        self.idle = False
        self.passes = 0
        self._refresh = refresh
        self._unblock = unblock
        self._depth = 0
        self._asked_above = 0
        self._prefetching = True
        self._freed = asyncio.Event()
        self._stopping = False
        self._blocked = False
        self._dirty = True
        self._refreshed = 0.0
        self._looked = 0.0
        self._failures = 0
        self._trouble = Trouble(logger, "fetching failed", logging.ERROR)
        # Entries that were cancelled a moment ago: their delivery may still be on its way.
        self._just_cancelled: set[tuple[str, str]] = set()

    # What others do with it

    async def run(self) -> None:
        """Fetch until stopped. Redis being away delays it, nothing ends it."""
        self.prefetch.rest(time.monotonic())
        while not self._stopping:
            try:
                await self._step()
                self._failures = 0
            except (ConnectionError, TimeoutError) as error:
                await self._pause(error)
            except RedisError as error:
                self._trouble.say(error)
                await asyncio.sleep(1.0)
            except Exception:
                logger.exception("fetching failed")
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
        self._prefetching = True
        self.prefetch.ended()
        if self.gate.suspect is None and self.held and not self._stopping:
            top = self.held.top()
            if top is not None and self._level_of(top) == 0 and self._free() > 0:
                self._start(top)
        self._freed.set()

    def wake(self) -> None:
        """Something changed (a lane, a stop): look at the lanes before the next read."""
        self._dirty = True
        self._freed.set()
        self._interrupt()

    def cancel(self, key: tuple[str, str]) -> None:
        """A hint: the entry with this key was cancelled, and somebody has it, perhaps we."""
        delivery = self.leases.all.get(key)
        if delivery is not None:
            self._look_for_mark(delivery)
        else:
            self._just_cancelled.add(key)

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
            await self._mind(self.gate.suspect)
        elif not self._has_reason_to_read():
            await self._slot_or(_HELD_LOOK if self.held else BLOCK)
            # However long that was: what was found empty before may have filled up.
            self.idle = False
        else:
            await self._gather_slots()
            if self.reclaimer.is_due:
                taken_over = await self.reclaimer.sweep(self._wanted())
                # Reads tell of refusals by themselves: that one was answered says little here.
                self._trouble.over()
                self._take(await self._in_time(taken_over), reclaimed=True)
            await self._fetch()

    def _free(self) -> int:
        return self.slots - self.executor.running

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
            known = set(self._just_cancelled)
            await self._refresh()
            self._just_cancelled -= known
            self.reader.look_again()
            self._refreshed = time.monotonic()
            self._depth = min(self._depth, max(0, len(self.levels) - 1))

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
        timer = asyncio.get_running_loop().call_later(seconds, self._freed.set)
        await self._freed.wait()
        timer.cancel()

    async def _gather_slots(self) -> None:
        if not self.held and not self._is_worth_a_read():
            await asyncio.sleep(_GATHER)

    # Reading

    async def _fetch(self) -> None:
        self.levels.turn()
        top, was_idle = self.held.top(), self.idle
        if top is not None:
            await self._ask_above(top)
        elif was_idle:
            await self._block()
        else:
            await self._read_backlog()
        self._start_startable()
        if was_idle:
            # What came begins first: to make the next read ready takes a tenth of its latency.
            await asyncio.sleep(0)

    async def _ask_above(self, top: Delivery) -> None:
        """Before what is held starts, see whether something higher has come."""
        level = self._level_of(top)
        wanted = self._wanted()
        end = max(level, self._depth + 1) if wanted else level
        self._asked_above = level
        if end > 0:
            # One for every free slot: what is higher takes them all, if there is as much.
            await self._read(0, end, max(1, wanted, self._free()))

    async def _read_backlog(self) -> None:
        """Read down to the level with a backlog; for the rest go on, twice as far each time."""
        wanted, start, end = self._wanted(), 0, self._depth + 1
        found, further = 0, 1
        while True:
            found += await self._read(start, end, wanted - found)
            if self._asked_above < end or end >= len(self.levels) or self._dirty:
                break
            if found >= max(1, min(wanted, self._free())):
                break
            # Each level in one read gives its share: far too many for the free
            # slots, if all those below were read at once.
            start, end, further = end, min(len(self.levels), end + further), further * 2
        self.idle = found == 0

    async def _block(self) -> None:
        self.prefetch.rest(time.monotonic())
        streams, count = self.levels.share_of_all(self._wanted())
        if not streams:
            # Everything is paused: a resume wakes us.
            await self._pause_until_woken()
            return
        self._blocked = True
        try:
            if self._dirty or self._stopping:
                return
            asked, block = time.monotonic(), self._block_for()
            deliveries = await self._in_time(await self.reader.read(streams, count, block=block))
        finally:
            self._blocked = False
            self.passes += 1
        if not deliveries and not self._dirty and time.monotonic() - asked < block / 20:
            # Some stand-ins for Redis do not block: without a pause we would spin.
            await asyncio.sleep(min(_NO_BLOCK_PAUSE, block))
        self._take(deliveries)
        # What came while we were blocked came from one stream: others have not been asked.
        self._asked_above = 0
        self.idle = len(deliveries) < count
        if deliveries:
            self._depth = max(self._level_of(delivery) for delivery in deliveries)

    async def _pause_until_woken(self) -> None:
        self._freed.clear()
        if not self._dirty:
            timer = asyncio.get_running_loop().call_later(REFRESH, self._freed.set)
            await self._freed.wait()
            timer.cancel()
        self.passes += 1

    def _block_for(self) -> float:
        # The lease counts from when a read was sent: long blocks would eat it. And
        # a block that ended just before the next look would put that off by another.
        shortest = min(self.leases.seconds.values(), default=30.0)
        next_look = self._refreshed + REFRESH - time.monotonic()
        return max(0.01, min(self.reader.block, next_look, shortest / 4, self.reclaimer.due_in))

    async def _read(self, start: int, end: int, wanted: int) -> int:
        """Read some levels; where a stream gave all it was asked for, there may be more."""
        sharing, reached = self.levels.sharing(start, end, wanted), [0]
        found = 0
        for share in sharing:
            deliveries = await self._in_time(await self.reader.read(share.streams, share.most))
            self._take(deliveries)
            given = Counter(delivery.stream for delivery in deliveries)
            sharing.brought(share, given)
            found += len(deliveries)
            reached += map(self.levels.level_of, given)
        more_in = None if sharing.more_in is None else start + sharing.more_in
        self._asked_above = end if more_in is None else more_in
        if found:
            self._depth = max(reached) if more_in is None else more_in
        return found

    def _level_of(self, delivery: Delivery) -> int:
        return self.levels.level_of(delivery.stream)

    async def _in_time(self, deliveries: list[Delivery]) -> list[Delivery]:
        """Return those that are ours: what lay in the socket meanwhile was not renewed (G8)."""
        if self.leases.came_late(deliveries):
            return await self.reader.renew(deliveries)
        return deliveries

    def _take(self, deliveries: Sequence[Delivery], *, reclaimed: bool = False) -> None:
        for delivery in deliveries:
            if delivery.envelope.version == 0:
                self.leases.all[delivery.key] = delivery
                self.settler.settle(delivery, foreign(delivery))
            elif delivery.cancelled:
                self._pass_over(delivery)
            elif delivery.key not in self.leases:
                self.held.push(delivery, reclaimed=reclaimed)
                if delivery.key in self._just_cancelled:
                    self._look_for_mark(delivery)

    def _look_for_mark(self, delivery: Delivery) -> None:
        """End a job if it is marked as cancelled: a hint alone ends nothing, anyone may send one.

        Should the answer be lost, the next look at the queue finds the mark.
        """
        stream = delivery.stream
        mark = f"{stream.name} {delivery.entry}"
        marked = self.settler.wire.send("SISMEMBER", stream.keys.cancelling, mark)
        marked.add_done_callback(lambda answer: self._cancel_marked(delivery, answer))

    def _cancel_marked(self, delivery: Delivery, answer: asyncio.Future[Any]) -> None:
        if not answer.cancelled() and answer.exception() is None and answer.result():
            self.executor.cancel(delivery)

    def _pass_over(self, delivery: Delivery) -> None:
        """Record the end of a job that was cancelled before it could start here."""
        ours = self.leases.all.get(delivery.key)
        if ours is not None and ours.count == delivery.count and not ours.given_up:
            # Its group was lost while it ran: the token is the same again, and the run is
            # told to end.
            self.executor.cancel(ours)
            return
        delivery.cancelled = True
        self.leases.all[delivery.key] = delivery
        self.settler.settle(delivery, Cancelled("cancelled"))

    # Starting

    def _start_startable(self) -> None:
        """Start what is held and higher than every level that was not asked just now."""
        while self._free() > 0 and self.gate.suspect is None and not self._stopping:
            top = self.held.top()
            if top is None:
                return
            level = self._level_of(top)
            if level > 0 and level > self._asked_above:
                return
            self._start(top)
            if self._dirty:
                return

    def _start(self, top: Delivery) -> None:
        """Start what is on top of what is held, unless somebody handed it back meanwhile."""
        if not self.executor.pauses.are_fresh:
            self._dirty = True
        elif self.held.take(top):
            if self.gate.is_suspect(top):
                self.gate.hold(top)
            else:
                self.executor.start(top)

    async def _mind(self, suspect: Delivery) -> None:
        """Run a job that crashed before by itself, once the others have ended."""
        if self.gate.begun:
            await self._let_run(suspect)
        elif suspect.given_up:
            # It was lost while it waited: those beside it need not end first.
            self.gate.over()
        elif self.executor.running:
            await self._wait_for_others(suspect)
        else:
            await self._begin_solo(suspect)

    async def _wait_for_others(self, suspect: Delivery) -> None:
        lease, waits = self._lease_of(suspect), self.executor.any_waits
        if not self.gate.has_waited(patience(suspect.crashes, lease, waits=waits)):
            await self._slot_or(_HELD_LOOK)
            return
        # Beside others it proves nothing: it runs, and is not marked.
        self.gate.over()
        self.executor.start(suspect)

    async def _begin_solo(self, suspect: Delivery) -> None:
        try:
            buried = await self.gate.verdict(suspect)
        except LeaseLost:
            self.gate.over()
            self.executor.lose(suspect)
            return
        if self.gate.suspect is not suspect:
            # A stop has handed it back meanwhile.
            return
        if buried is not None:
            self.gate.over()
            self.settler.settle(suspect, buried)
        else:
            self.gate.begin()
            self.executor.start(suspect)

    async def _let_run(self, suspect: Delivery) -> None:
        """Keep others out until the suspect has ended, or has shown for long that it lets live."""
        lease, waits = self._lease_of(suspect), self.executor.waits(suspect)
        if not self.executor.running:
            self.gate.over()
        elif self.gate.has_waited(exclusive(suspect.crashes, lease, waits=waits)):
            logger.info("job %s runs solo for long: others start", suspect.envelope.id)
            await self.gate.let_others_in(suspect)
        else:
            await self._slot_or(_HELD_LOOK)

    def _lease_of(self, delivery: Delivery) -> float:
        return self.leases.seconds[delivery.stream.lane.queue]

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
            logger.warning("waiting for Redis: %s", error)
        await asyncio.sleep(pause_before(self._failures) * chance.uniform(0.5, 1.0))
        self._dirty = True
