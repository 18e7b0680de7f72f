"""The emits of one queue on their way: one batch at a time."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import time
from collections import deque
from operator import attrgetter
from typing import Protocol

from consumers.connections.wire import Wire
from consumers.emit.answers import Dropped, read_answers
from consumers.emit.batches import Batch, Bulk, Single
from consumers.errors import RedisUnavailable, Sent, TaskManagerError
from consumers.store.batching import put_back, take
from consumers.store.door import Door, Sealed, seal
from consumers.store.emitting import emit_items
from consumers.store.keys import Fleet, Keys
from consumers.store.steps import BATCH_ITEMS

logger = logging.getLogger("taskmanager.emit")

# Seconds. So soon after somebody emptied Redis, or a failover lost it, a queue that only
# producers know is listed again.
LIST_AGAIN = 60.0
_cost = attrgetter("cost")


class Setting(Protocol):
    """What a writer needs to know of its producer; see there."""

    where: str
    max_queue_depth: int | None
    on_dropped: Dropped | None


class QueueWriter:
    """The emits of one queue: collects while a batch is under way."""

    def __init__(self, wire: Wire, keys: Keys, setting: Setting) -> None:
        self._wire = wire
        self._loop = asyncio.get_running_loop()
        self._keys = keys
        self._setting = setting
        self._door = Door(wire, keys, where=setting.where, request="emit")
        self._waiting: deque[Single | Bulk] = deque()
        # Whether the next turn of the loop sends what waits.
        self._is_due = False
        self._under_way: Batch | None = None
        # The batch that leaves next, made ready while the one before was under way.
        self._next: Batch | None = None
        # What was answered and is not told yet.
        self._answered: tuple[Batch, bytes] | None = None
        # Done when every emit has its answer. There is one only while somebody waits for that.
        self._idle: asyncio.Future[None] | None = None
        self._watching: asyncio.TimerHandle | None = None
        # How many of those that wait go alone: one in their batch cannot be sent.
        self._singly = 0
        self._listed_until = -math.inf
        self._listing: asyncio.Future[object] | None = None

    def add(self, waiting: Single | Bulk) -> None:
        """Send an emit or a bulk with the next batch."""
        self._waiting.append(waiting)
        if not self._is_busy:
            # With the next turn of the loop: by then everybody who emits in this one has added
            # theirs.
            self._go_on_soon()

    async def flushed(self) -> None:
        """Return when everything that was added is answered."""
        if not self._is_busy and (self._waiting or self._next or self._under_way):
            self._go_on_soon()
        if self._is_busy:
            if self._idle is None:
                self._idle = self._loop.create_future()
            await asyncio.wait([self._idle])

    @property
    def _is_busy(self) -> bool:
        return self._is_due or self._door.is_sending

    def abandon(self) -> None:
        """Let everything fail that was not answered yet: the event loop is about to end."""
        reason = "the event loop ended first; await every emit, or call stop() before that"
        self._door.stop()
        self._tell()
        self._put_back()
        batch, self._under_way = self._under_way, None
        for waiting in [*(batch.emits if batch else ()), *self._waiting]:
            waiting.fail(self._unavailable(reason))
        self._waiting.clear()
        for running in (self._listing, self._watching):
            if running is not None:
                running.cancel()
        self._wire.stop_connecting()
        self._rest()

    def _go_on_soon(self) -> None:
        self._is_due = True
        self._loop.call_soon(self._go_on)

    def _go_on(self) -> None:
        """Send the next batch, if there is one and none is under way."""
        self._is_due = False
        if self._door.is_sending:
            return
        try:
            if self._under_way is not None:
                self._end(self._under_way, self._unavailable("it was interrupted"))
            while self._next or self._waiting:
                batch = self._next or self._take()
                self._next = None
                if self._is_sent(batch):
                    return
            self._rest()
        except BaseException:
            # Ctrl-C, for one. The loop may be used again, and what waits has nobody else. Whether
            # the batch was written is not known.
            self._door.stop()
            self._go_on_soon()
            raise

    def _rest(self) -> None:
        self._tell()
        if self._idle is not None:
            self._idle.set_result(None)
            self._idle = None

    def _take(self) -> Batch:
        if self._singly:
            self._singly -= 1
            return Batch([self._waiting.popleft()])
        return Batch(take(self._waiting, _cost))

    def _is_sent(self, batch: Batch) -> bool:
        """Send a batch, unless it cannot be sent; return whether it is under way."""
        try:
            sealed = batch.sealed or self._sealed(batch)
        except Exception as error:
            self._find_unsendable(batch, error)
            return False
        self._under_way = batch
        self._watch(batch)
        try:
            self._list_queue()
            self._door.start(sealed, self._ended, until=batch.until, meanwhile=self._meanwhile)
        except Exception as error:
            self._door.stop()
            self._end(batch, error)
            return False
        return True

    def _find_unsendable(self, batch: Batch, error: Exception) -> None:
        """Send the emits of a batch apart: who shared it must not share the fate of one."""
        if len(batch.emits) > 1:
            put_back(self._waiting, batch.emits)
            self._singly += len(batch.emits)
            return
        logger.error("an emit to queue %s cannot be sent", self._keys.queue, exc_info=error)
        self._fail(batch, TaskManagerError(f"emit failed: {error}"))

    def _ended(self, outcome: bytes | Exception) -> None:
        """Take what became of the batch under way, and send the next."""
        assert self._under_way is not None
        try:
            self._end(self._under_way, outcome)
        except BaseException:
            self._go_on_soon()
            raise
        self._go_on()

    def _end(self, batch: Batch, outcome: bytes | Exception) -> None:
        if self._watching is not None:
            self._watching.cancel()
        if isinstance(outcome, bytes):
            self._answered = batch, outcome
            if self._next is None:
                self._tell()
        else:
            self._fail(batch, self._known(outcome))
        # Last: what is interrupted before has not ended, and no emit has two answers.
        self._under_way = None

    def _known(self, error: Exception) -> TaskManagerError:
        if isinstance(error, TaskManagerError):
            return error
        logger.error("an emit to queue %s failed", self._keys.queue, exc_info=error)
        return TaskManagerError(f"emit failed: {error}")

    def _watch(self, batch: Batch, *, after: float = 0.0) -> None:
        """Tell each emit of a batch when its time is up, although that of others is not."""
        end = batch.next_end(after)
        if end is None:
            self._watching = None
        else:
            left = max(0.0, end - time.monotonic())
            self._watching = self._loop.call_later(left, self._give_up, batch)

    def _give_up(self, batch: Batch) -> None:
        batch.give_up(now := time.monotonic(), self._unavailable("no answer in time"))
        self._watch(batch, after=now)

    def _unavailable(self, reason: str, outcome: Sent = "unknown") -> RedisUnavailable:
        return RedisUnavailable(self._setting.where, reason, outcome=outcome, request="emit")

    def _sealed(self, batch: Batch) -> Sealed:
        return seal(emit_items(self._keys, batch.jobs, depth=self._setting.max_queue_depth))

    def _meanwhile(self) -> None:
        """Use the time while Redis works: tell of the batch before, make the next one ready.

        Only a full one: others may yet join a smaller one.
        """
        self._tell()
        if self._next is None and self._has_full_batch():
            self._next = self._take()
            # A batch that cannot be packed fails when its turn comes, and is reported then.
            with contextlib.suppress(Exception):
                self._next.sealed = self._sealed(self._next)

    def _has_full_batch(self) -> bool:
        number = 0
        for emit in self._waiting:
            number += emit.cost[0]
            if number >= BATCH_ITEMS:
                return True
        return False

    def _tell(self) -> None:
        if self._answered is None:
            return
        (batch, answer), self._answered = self._answered, None
        try:
            its = self._setting
            batch.tell(read_answers(answer, batch.jobs, its.max_queue_depth, its.on_dropped))
        except Exception as error:
            # The answer is not one of ours: that must not become the fate of the next batch.
            logger.exception("cannot read the answer to an emit to queue %s", self._keys.queue)
            batch.fail(TaskManagerError(f"the answer cannot be read: {error}"))
        except BaseException:
            batch.fail(self._unavailable("it was interrupted"))
            raise

    def _put_back(self) -> None:
        if self._next is not None:
            put_back(self._waiting, self._next.emits)
            self._next = None

    def _list_queue(self) -> None:
        # The set of queues lies in another slot than the queue: no script may
        # touch both. It is for listing only, so it must not hold up an emit.
        now = time.monotonic()
        if now >= self._listed_until:
            self._listed_until = now + LIST_AGAIN
            key = Fleet(self._keys.namespace).queues
            self._listing = self._wire.send("SADD", key, self._keys.queue)
            self._listing.add_done_callback(self._was_listed)

    def _was_listed(self, done: asyncio.Future[object]) -> None:
        if done.cancelled() or done.exception() is not None:
            self._listed_until = -math.inf

    def _fail(self, batch: Batch, error: TaskManagerError) -> None:
        self._tell()
        batch.fail(error)
        if isinstance(error, RedisUnavailable):
            self._put_back()
            # What waited behind this batch has waited as long, for the same Redis.
            now = time.monotonic()
            while self._waiting and self._waiting[0].until <= now:
                self._waiting.popleft().fail(self._unavailable(error.reason, "not_sent"))
