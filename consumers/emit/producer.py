"""Emit jobs: what one event loop emits in a tick leaves as one batch a queue."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence

from consumers.connections.connector import Connector
from consumers.connections.wire import Wire
from consumers.emit.answers import Dropped
from consumers.emit.batches import Bulk, Chunk, Emitted, Pending, Single, cut_up
from consumers.emit.ending import at_the_end
from consumers.emit.writer import QueueWriter
from consumers.jobs.envelope import NewJob
from consumers.store.keys import Keys


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
        self._writers: dict[str, QueueWriter] = {}
        self._ending = at_the_end(self._abandon)
        self.on_dropped: Dropped | None = None

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

    def _writer(self, queue: str) -> QueueWriter:
        writer = self._writers.get(queue)
        if writer is None:
            writer = self._writers[queue] = QueueWriter(
                self.wire, Keys(queue, self.namespace), self
            )
        return writer
