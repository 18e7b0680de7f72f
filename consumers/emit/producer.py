"""Emit jobs: what one event loop emits in a tick leaves as one batch a queue."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import time
from collections import deque
from collections.abc import Callable, Sequence
from operator import attrgetter

from consumers.connections.connector import Connector
from consumers.connections.wire import Wire
from consumers.emit.answers import read_answers
from consumers.emit.batches import Batch, Bulk, Chunk, Emitted, Pending, Single, cut_up
from consumers.emit.ending import at_the_end
from consumers.errors import RedisUnavailable, Sent, TaskManagerError
from consumers.jobs.envelope import NewJob
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


class Producer:
    """Sends jobs to Redis; one per event loop is enough, and it must be made on a running loop.

    Jobs emitted in one tick leave as one batch per queue, in order of priority. The next batch
    leaves when the previous one is answered. Every emit has its answer within `emit_timeout`.

    - `namespace`: the prefix of every key.
    - `emit_timeout`: for how many seconds an emit is repeated while Redis is away. After that it
      fails with RedisUnavailable. If its outcome is "unknown", the job may still be stored.
    - `max_queue_depth`: how many jobs may wait in a queue before emits fail with QueueFull.
    - `on_dropped`: called with each job that was not added because its id is live, and with the
      answer. It must not raise.
    - `where`, `wire`: the address of Redis without a password, and the connection (internal).
    """

    def __init__(
        self,
        connector: Connector,
        *,
        namespace: str = "tm",
        emit_timeout: float = 5.0,
        max_queue_depth: int | None = None,
    ) -> None:
        self.namespace = namespace
        self.emit_timeout = emit_timeout
        self.max_queue_depth = max_queue_depth
        self.where = connector.where
        self.wire = Wire(connector, name="producer")
        self._loop = asyncio.get_running_loop()
        self._writers: dict[str, _QueueWriter] = {}
        self._ending = at_the_end(self._abandon)
        self.on_dropped: Callable[[NewJob, Emitted], object] | None = None

    def emit(self, job: NewJob) -> asyncio.Future[Emitted]:
        """Send a job with the next batch. The future is done when Redis has answered.

        It fails with QueueFull, TooManyLanes, BrokenKey or RedisUnavailable.
        """
        return self.send(job).future()

    def send(self, job: NewJob) -> Pending:
        """Send a job with the next batch, as emit does, and return the answer to come."""
        single = Single(job, time.monotonic() + self.emit_timeout, self._loop)
        self._writer(job.lane.queue).add(single)
        return single

    def emit_all(self, jobs: Sequence[NewJob]) -> list[Chunk]:
        """Send many jobs in batches, and return them in chunks whose answers are to be awaited.

        A failed job has its error among the answers. The answers of a chunk arrive together, which
        makes a job cheaper than with `emit`.
        """
        until = time.monotonic() + self.emit_timeout
        return [self._send_chunk(jobs, its, size, until) for its, size in cut_up(jobs)]

    def _send_chunk(
        self, jobs: Sequence[NewJob], its: Sequence[int], size: int, until: float
    ) -> Chunk:
        some = [jobs[at] for at in its]
        bulk = Bulk(some, until, size)
        self._writer(some[0].lane.queue).add(bulk)
        return Chunk(its, bulk.done)

    async def flush(self) -> None:
        """Return when everything emitted so far has been answered."""
        await asyncio.gather(*(writer.flushed() for writer in self._writers.values()))

    async def close(self) -> None:
        """Flush, then disconnect."""
        await self.flush()
        await self._ending.aclose()
        await self.wire.close()

    def _abandon(self) -> None:
        for writer in self._writers.values():
            writer.abandon()

    def _writer(self, queue: str) -> _QueueWriter:
        writer = self._writers.get(queue)
        if writer is None:
            writer = self._writers[queue] = _QueueWriter(self, queue)
        return writer


class _QueueWriter:
    """The emits of one queue: collects while a batch is under way."""

    def __init__(self, producer: Producer, queue: str) -> None:
        self._producer = producer
        self._loop = asyncio.get_running_loop()
        self._keys = Keys(queue, producer.namespace)
        self._door = Door(producer.wire, self._keys, where=producer.where, request="emit")
        self._waiting: deque[Single | Bulk] = deque()
        # Whether a batch is under way, or the first is about to leave.
        self._is_busy = False
        self._under_way: Batch | None = None
        # The batch that leaves next, made ready while the one before was under way.
        self._next: Batch | None = None
        # What was answered and is not told yet.
        self._answered: tuple[Batch, bytes] | None = None
        # Done when there is nothing left to send or to tell; made for who waits for that.
        self._idle: asyncio.Future[None] | None = None
        self._watching: asyncio.TimerHandle | None = None
        # How many of those that wait go alone: one in their batch cannot be sent.
        self._singly = 0
        self._listed_until = -math.inf
        self._listing: asyncio.Future[object] | None = None

    def add(self, waiting: Single | Bulk) -> None:
        self._waiting.append(waiting)
        if not self._is_busy:
            self._is_busy = True
            # With the next turn of the loop: by then everybody who emits in this one has added
            # theirs.
            self._loop.call_soon(self._go_on)

    async def flushed(self) -> None:
        if self._is_busy:
            if self._idle is None:
                self._idle = self._loop.create_future()
            await asyncio.wait([self._idle])

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
        self._producer.wire.stop_connecting()
        self._rest()

    def _go_on(self) -> None:
        """Send the next batch, if there is one."""
        while self._next or self._waiting:
            batch = self._next or self._take()
            self._next = None
            if self._is_sent(batch):
                return
        self._rest()

    def _rest(self) -> None:
        self._is_busy = False
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
        except Exception as error:  # Nobody else would ever send what waits.
            self._door.stop()
            self._loop.call_soon(self._ended, error)
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
        batch, self._under_way = self._under_way, None
        assert batch is not None
        if self._watching is not None:
            self._watching.cancel()
        if isinstance(outcome, bytes):
            self._answered = batch, outcome
            if self._next is None:
                self._tell()
        else:
            self._fail(batch, self._known(outcome))
        self._go_on()

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
        return RedisUnavailable(self._producer.where, reason, outcome=outcome, request="emit")

    def _sealed(self, batch: Batch) -> Sealed:
        return seal(emit_items(self._keys, batch.jobs, depth=self._producer.max_queue_depth))

    def _meanwhile(self) -> None:
        """Use the time while Redis works: tell of the batch before, make the next one ready.

        Only a full one: others may yet join a smaller one.
        """
        self._tell()
        if self._next is None and self._has_full_batch():
            self._next = self._take()
            # What cannot be packed is told of when it is to leave.
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
            its = self._producer
            batch.tell(read_answers(answer, batch.jobs, its.max_queue_depth, its.on_dropped))
        except Exception as error:
            # The answer is not one of ours: that must not become the fate of the next batch.
            logger.exception("cannot read the answer to an emit to queue %s", self._keys.queue)
            batch.fail(TaskManagerError(f"the answer cannot be read: {error}"))

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
            key = Fleet(self._producer.namespace).queues
            self._listing = self._producer.wire.send("SADD", key, self._keys.queue)
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
