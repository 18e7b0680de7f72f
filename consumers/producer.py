"""Emit jobs: what one event loop emits in a tick leaves as one batch a queue."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections import deque
from typing import NamedTuple

from consumers.connection import Connector
from consumers.door import Door, Sealed, seal
from consumers.errors import QueueFull, RedisUnavailable, TaskManagerError, TooManyLanes
from consumers.job import NewJob
from consumers.keys import Fleet, Keys
from consumers.lanes import MAX_LANES
from consumers.transitions import BATCH_BYTES, BATCH_ITEMS, emit_items, refused_key, words
from consumers.wire import Wire

logger = logging.getLogger(__name__)


class Emitted(NamedTuple):
    """What an emit came to: run is the generation of the live job, created whether it is new."""

    id: str
    created: bool
    run: int


class _Waiting(NamedTuple):
    job: NewJob
    until: float
    done: asyncio.Future[Emitted]


class _Batch:
    """Jobs that leave together; sealed is how, once that was made."""

    def __init__(self, waiting: list[_Waiting]) -> None:
        self.waiting = waiting
        self.sealed: Sealed | None = None


class Producer:
    """The shared writer of one process and event loop.

    Jobs of one queue are sent in the order of their priority within a batch, and
    batch after batch: the next leaves when the one before was answered. Nothing
    is kept longer than emit_timeout seconds.
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

    def emit(self, job: NewJob) -> asyncio.Future[Emitted]:
        """Send the job with the next batch; the future is done when Redis has answered.

        Its errors: QueueFull, TooManyLanes, BrokenKey, RedisUnavailable.
        """
        done: asyncio.Future[Emitted] = self._loop.create_future()
        self._writer(job.lane.queue).add(_Waiting(job, time.monotonic() + self.emit_timeout, done))
        return done

    async def flush(self) -> None:
        """Return when everything emitted so far has been answered."""
        await asyncio.gather(*(writer.flushed() for writer in self._writers.values()))

    async def close(self) -> None:
        """Flush, then disconnect."""
        await self.flush()
        await self.wire.close()

    def _writer(self, queue: str) -> _QueueWriter:
        writer = self._writers.get(queue)
        if writer is None:
            writer = self._writers[queue] = _QueueWriter(self, queue)
        return writer


class _QueueWriter:
    """The emits of one queue: collects while a batch is under way."""

    def __init__(self, producer: Producer, queue: str) -> None:
        self._producer = producer
        self._keys = Keys(queue, producer.namespace)
        self._door = Door(producer.wire, self._keys, where=producer.where)
        self._waiting: deque[_Waiting] = deque()
        # The batch that leaves next, made ready while the one before was under way.
        self._next: _Batch | None = None
        # What was answered and is not told yet.
        self._answered: tuple[list[_Waiting], bytes] | None = None
        self._flushing: asyncio.Task[None] | None = None
        self._listed = False
        self._listing: asyncio.Future[object] | None = None

    def add(self, waiting: _Waiting) -> None:
        self._waiting.append(waiting)
        if self._flushing is None or self._flushing.done():
            # A task starts with the next turn of the loop: by then everybody
            # who emits in this one has added theirs.
            self._flushing = asyncio.create_task(self._flush())

    async def flushed(self) -> None:
        if self._flushing is not None:
            await asyncio.shield(self._flushing)

    async def _flush(self) -> None:
        batch = _Batch([])
        try:
            while self._next or self._waiting:
                batch = self._next or _Batch(self._take())
                self._next = None
                await self._send(batch)
        except asyncio.CancelledError:
            self._abandon(batch.waiting)
            raise
        finally:
            self._flushing = None

    def _abandon(self, batch: list[_Waiting]) -> None:
        # Nobody but the end of an event loop cancels the tasks of others.
        reason = "the event loop ended first; await what is emitted, or stop() before the loop ends"
        self._tell()
        self._put_back()
        for waiting in [*batch, *self._waiting]:
            where = self._producer.where
            _fail(waiting.done, RedisUnavailable(where, reason, outcome="unknown"))
        self._waiting.clear()
        if self._listing is not None:
            self._listing.cancel()
        self._producer.wire.stop_connecting()

    def _take(self) -> list[_Waiting]:
        batch: list[_Waiting] = []
        size = 0
        while self._waiting and len(batch) < BATCH_ITEMS:
            size += len(self._waiting[0].job.data)
            if batch and size > BATCH_BYTES:
                break
            batch.append(self._waiting.popleft())
        # A reader that wakes in the middle of the script sees the highest first.
        batch.sort(key=lambda waiting: -waiting.job.lane.priority)
        return batch

    async def _send(self, batch: _Batch) -> None:
        until = max(waiting.until for waiting in batch.waiting)
        try:
            await self._list_queue()
            sealed = batch.sealed or self._sealed(batch)
            answer = await self._door.send(sealed, until=until, meanwhile=self._meanwhile)
        except TaskManagerError as error:
            self._fail(batch.waiting, error)
            return
        except Exception as error:
            logger.exception("an emit to queue %s failed", self._keys.queue)
            self._fail(batch.waiting, TaskManagerError(f"emit failed: {error}"))
            return
        self._answered = batch.waiting, answer
        if self._next is None:
            self._tell()

    def _sealed(self, batch: _Batch) -> Sealed:
        jobs = [waiting.job for waiting in batch.waiting]
        return seal(emit_items(self._keys, jobs, depth=self._producer.max_queue_depth))

    def _meanwhile(self) -> None:
        """Use the time while Redis works: tell of the batch before, make the next one ready.

        Only a full one: others may yet join a smaller one.
        """
        self._tell()
        if self._next is None and len(self._waiting) >= BATCH_ITEMS:
            self._next = _Batch(self._take())
            # What cannot be packed is told of when it is to leave.
            with contextlib.suppress(Exception):
                self._next.sealed = self._sealed(self._next)

    def _tell(self) -> None:
        if self._answered is None:
            return
        (batch, answer), self._answered = self._answered, None
        for waiting, word in zip(batch, words(answer), strict=True):
            self._resolve(waiting, word)

    def _put_back(self) -> None:
        if self._next is not None:
            self._waiting.extendleft(reversed(self._next.waiting))
            self._next = None

    async def _list_queue(self) -> None:
        # The set of queues lies in another slot than the queue: no script may
        # touch both. It is for listing only, so it must not hold up an emit.
        if not self._listed:
            self._listed = True
            key = Fleet(self._producer.namespace).queues
            self._listing = self._producer.wire.send("SADD", key, self._keys.queue)
            self._listing.add_done_callback(self._was_listed)

    def _was_listed(self, done: asyncio.Future[object]) -> None:
        if done.cancelled() or done.exception() is not None:
            self._listed = False

    def _fail(self, batch: list[_Waiting], error: TaskManagerError) -> None:
        for waiting in batch:
            _fail(waiting.done, error)
        if isinstance(error, RedisUnavailable):
            self._put_back()
            # What waited behind this batch has waited as long, for the same Redis.
            now = time.monotonic()
            while self._waiting and self._waiting[0].until <= now:
                late = RedisUnavailable(error.where, error.reason, outcome="not_sent")
                _fail(self._waiting.popleft().done, late)

    def _resolve(self, waiting: _Waiting, word: str) -> None:
        job, kind = waiting.job, word[0]
        if kind in "+=~":
            if not waiting.done.done():
                waiting.done.set_result(_emitted(job.id, word))
        elif kind == "F":
            limit = self._producer.max_queue_depth
            _fail(waiting.done, QueueFull(job.lane.queue, f"it holds its most of {limit} jobs"))
        elif kind == "L":
            _fail(waiting.done, TooManyLanes(job.lane.queue, job.lane.name, MAX_LANES))
        else:
            _fail(waiting.done, refused_key(word))


def _emitted(job_id: str, word: str) -> Emitted:
    if word[0] == "+":
        return Emitted(job_id, True, int(word[1:]))
    run, _, other = word[1:].partition(":")
    return Emitted(other or job_id, word[0] == "+", int(run))


def _fail(done: asyncio.Future[Emitted], error: TaskManagerError) -> None:
    if not done.done():
        done.set_exception(error)
