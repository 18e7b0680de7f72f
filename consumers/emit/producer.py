"""Emit jobs: what one event loop emits in a tick leaves as one batch a queue."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import time
from collections import deque
from collections.abc import Callable, Sequence
from itertools import islice
from operator import attrgetter
from typing import NamedTuple

from consumers.connections.connector import Connector
from consumers.connections.wire import Wire
from consumers.emit.batches import Answer, Batch, Bulk, Emitted, Pending, Single, cut_up
from consumers.errors import QueueFull, RedisUnavailable, Sent, TaskManagerError, TooManyLanes
from consumers.jobs.envelope import NewJob
from consumers.jobs.lanes import MAX_LANES
from consumers.store.batching import put_back, take
from consumers.store.door import Door, Sealed, seal
from consumers.store.emitting import emit_items
from consumers.store.keys import Fleet, Keys
from consumers.store.steps import BATCH_ITEMS, refused_key, words

logger = logging.getLogger("taskmanager.emit")

# Seconds. So soon after somebody emptied Redis, or a failover lost it, a queue that only
# producers know is listed again.
LIST_AGAIN = 60.0
_cost = attrgetter("cost")
# The constructor of a NamedTuple is a Python function, which takes twice as long.
_new = tuple.__new__


class Chunk(NamedTuple):
    """Jobs of an emit_all that leave together: their positions, and what became of each."""

    positions: Sequence[int]
    answers: asyncio.Future[list[Answer]]


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
        self._loop = asyncio.get_running_loop()
        self._keys = Keys(queue, producer.namespace)
        self._door = Door(producer.wire, self._keys, where=producer.where, request="emit")
        self._waiting: deque[Single | Bulk] = deque()
        # The batch that leaves next, made ready while the one before was under way.
        self._next: Batch | None = None
        # What was answered and is not told yet.
        self._answered: tuple[Batch, bytes] | None = None
        self._flushing: asyncio.Task[None] | None = None
        self._watching: asyncio.TimerHandle | None = None
        self._listed_until = -math.inf
        self._listing: asyncio.Future[object] | None = None

    def add(self, waiting: Single | Bulk) -> None:
        self._waiting.append(waiting)
        if self._flushing is None or self._flushing.done():
            # A task starts with the next turn of the loop: by then everybody
            # who emits in this one has added theirs.
            self._flushing = self._loop.create_task(self._flush())

    async def flushed(self) -> None:
        if self._flushing is not None:
            await asyncio.shield(self._flushing)

    async def _flush(self) -> None:
        batch = None
        try:
            while self._next or self._waiting:
                batch = self._next or self._take()
                self._next = None
                await self._send(batch)
        except asyncio.CancelledError:
            self._abandon(batch)
            raise
        finally:
            self._flushing = None

    def _abandon(self, batch: Batch | None) -> None:
        # Nobody but the end of an event loop cancels the tasks of others.
        reason = "the event loop ended first; await every emit, or call stop() before that"
        self._tell()
        self._put_back()
        for waiting in [*(batch.emits if batch else ()), *self._waiting]:
            waiting.fail(self._unavailable(reason))
        self._waiting.clear()
        if self._listing is not None:
            self._listing.cancel()
        self._producer.wire.stop_connecting()

    def _take(self) -> Batch:
        return Batch(take(self._waiting, _cost))

    async def _send(self, batch: Batch) -> None:
        try:
            sealed = batch.sealed or self._sealed(batch)
        except Exception as error:
            await self._send_apart(batch, error)
            return
        self._watch(batch)
        try:
            self._list_queue()
            answer = await self._door.send(sealed, until=batch.until, meanwhile=self._meanwhile)
        except TaskManagerError as error:
            self._fail(batch, error)
            return
        except Exception as error:
            logger.exception("an emit to queue %s failed", self._keys.queue)
            self._fail(batch, TaskManagerError(f"emit failed: {error}"))
            return
        finally:
            if self._watching is not None:
                self._watching.cancel()
        self._answered = batch, answer
        if self._next is None:
            self._tell()

    async def _send_apart(self, batch: Batch, error: Exception) -> None:
        """Find what cannot be packed: who shared a batch with it must not share its fate."""
        if len(batch.emits) > 1:
            for emit in batch.emits:
                await self._send(Batch([emit]))
            return
        logger.error("an emit to queue %s cannot be sent", self._keys.queue, exc_info=error)
        self._fail(batch, TaskManagerError(f"emit failed: {error}"))

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
            batch.tell(self._answers(batch.jobs, words(answer)))
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

    def _answers(self, jobs: Sequence[NewJob], said: list[str]) -> list[Answer]:
        """Return the answers to jobs; raises ValueError unless there are as many as jobs."""
        answers, each = list[Answer](), iter(jobs)
        for word in said:
            if word[0] != "+":
                answers += [self._other(job, word) for job in islice(each, 1)]
                continue
            first, _, number = word[1:].partition("*")
            row = islice(each, int(number or 1))
            answers += [
                _new(Emitted, (job.id, True, run)) for run, job in enumerate(row, int(first))
            ]
        if len(answers) != len(jobs) or next(each, None) is not None:
            raise ValueError(f"{len(answers)} answers to {len(jobs)} jobs")
        return answers

    def _other(self, job: NewJob, word: str) -> Answer:
        """Return the answer to an emit that added no job."""
        kind = word[0]
        if kind in "=~":
            run, _, other = word[1:].partition(":")
            emitted = Emitted(other or job.id, False, int(run))
            if kind == "=" and self._producer.on_dropped is not None:
                self._producer.on_dropped(job, emitted)
            return emitted
        if kind == "F":
            return QueueFull(job.lane.queue, f"the limit is {self._producer.max_queue_depth} jobs")
        if kind == "L":
            return TooManyLanes(job.lane.queue, job.lane.name, MAX_LANES)
        return refused_key(word)
