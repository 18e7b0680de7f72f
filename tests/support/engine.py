"""Run the engine inside a test: consumers that always stop, jobs to emit, what Redis holds."""

from __future__ import annotations

import asyncio
import json
import threading
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from typing import Any, cast

import redis as redis_py

from consumers.admin.facts import end_of
from consumers.connections.connector import Connector
from consumers.consumer import Consumer
from consumers.emit.batches import Emitted
from consumers.emit.producer import Producer
from consumers.jobs.envelope import NewJob
from consumers.jobs.job import Job
from consumers.jobs.lanes import DEFAULT_PARTITION, DEFAULT_TYPE, Lane
from consumers.policy import Handler
from consumers.store.keys import Keys
from processors.processor import Processor, Registration
from processors.retries.retry import RetryPolicy
from tests.support.waiting import PATIENCE, aeventually

Handlers = Mapping[str | tuple[str, str], Callable[..., Any]]

# Seconds. Long enough that four test processes on two cores do not lose it by
# accident; the sweep comes twice as often.
SHORT_LEASE = 2.0
_DAY_MS = 86_400_000


@asynccontextmanager
async def working(url: str, handlers: Handlers, **options: Any) -> AsyncIterator[Consumer]:
    """Run a consumer with handlers by event, or by (queue, event); options are the Consumer's.

    retry and timeout (seconds) are those of every handler.
    """
    consumer = consumer_of(url, handlers, **options)
    await consumer.start()
    try:
        yield consumer
    finally:
        await consumer.stop(timeout=0)


def consumer_of(url: str, handlers: Handlers, **options: Any) -> Consumer:
    """Return a consumer that is not started yet."""
    retry: RetryPolicy = options.pop("retry", RetryPolicy(max_retries=0))
    timeout: float | None = options.pop("timeout", None)
    found = {
        event if isinstance(event, tuple) else ("default", event): Registration(
            Handler.of(call), timeout=timeout, retry=retry
        )
        for event, call in handlers.items()
    }
    queues = sorted({queue for queue, _ in found}) or ["default"]
    return Consumer(url, policy=Processor(found), **{"queues": queues, **options})


@contextmanager
def working_thread(url: str, handlers: Handlers, **options: Any) -> Iterator[Consumer]:
    """Run a consumer on an event loop of its own, so that its handlers may block that loop."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="worker-loop")
    thread.start()

    def do(work: Any) -> None:
        asyncio.run_coroutine_threadsafe(work, loop).result(60.0)

    consumer = consumer_of(url, handlers, **options)
    try:
        do(consumer.start())
        yield consumer
    finally:
        do(consumer.stop(timeout=0))
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


async def crash(consumer: Consumer) -> None:
    """End a consumer as kill -9 does: nothing is settled, handed back or said."""
    parts = consumer._parts
    assert parts is not None
    for delivery in list(parts.leases.all.values()):
        delivery.given_up = True
    parts.leases.held.clear()
    tasks = [run.task for run in parts.executor._runs.values()]
    assert parts._fetching is not None
    for task in (*tasks, parts._fetching):
        task.cancel()
    await asyncio.gather(*tasks, parts._fetching, return_exceptions=True)
    await parts.close()
    consumer._parts = None


class Emitter:
    """Emits to lanes, with no layer above: ``await emit("event", data, priority=3)``."""

    def __init__(self, producer: Producer) -> None:
        self.producer = producer
        self._count: Counter[str] = Counter()

    def __call__(
        self, event: str = "work", data: object = None, *, id: str | None = None, **lane: Any
    ) -> asyncio.Future[Emitted]:
        """Emit at once, as <event>-<n>; lane takes queue, type, partition and priority."""
        if id is None:
            self._count[event] += 1
            id = f"{event}-{self._count[event]}"
        return self.producer.emit(new_job(event, data, id=id, **lane))


def new_job(
    event: str,
    data: object = None,
    *,
    id: str,
    queue: str = "default",
    due: str = "",
    guard: str = "",
    options: Mapping[str, Any] | None = None,
    **lane: Any,
) -> NewJob:
    """Return a job for a lane, ready to be emitted; due and guard as NewJob has them."""
    given = json.dumps(options).encode() if options else b""
    return NewJob(id, event, json.dumps(data).encode(), Lane(queue, **lane), given, due, guard)


@asynccontextmanager
async def emitting(url: str, **options: Any) -> AsyncIterator[Emitter]:
    """Open a producer; options are the Producer's. It waits long for a machine that is busy."""
    producer = Producer(Connector.of(url), **{"emit_timeout": PATIENCE, **options})
    try:
        yield Emitter(producer)
    finally:
        await producer.close()


async def emit_one_to_run_and_one_to_hold(emit: Emitter, first: str, held: str) -> None:
    """Make the next worker with one slot run the first event's job while it holds the other's.

    When the two highest lanes have nothing, the next two are read at once, and
    each gives a job.
    """

    async def work(job: object) -> None:
        pass

    await asyncio.gather(emit("warm-up", priority=9), emit("warm-up", priority=8))
    async with working(emit.producer.wire.connector.where, {"warm-up": work}) as worker:
        while worker.settled < 2:
            await asyncio.sleep(0.01)
    await asyncio.gather(emit(first, priority=5), emit(held, priority=4))


async def letter_of(
    url: str, redis: redis_py.Redis, handler: Callable[..., Any]
) -> dict[str, bytes]:
    """Run a handler between neighbours that have to complete, and return its dead letter."""
    queue = QueueView(redis)
    ran: list[str] = []

    async def work(job: Job[Any]) -> None:
        ran.append(job.id)

    async with emitting(url) as emit:
        await asyncio.gather(emit("work"), emit("bad"), emit("work"))
        async with working(url, {"work": work, "bad": handler}, concurrency=3) as worker:
            letter = await aeventually(lambda: queue.letter("bad-1"))
            await aeventually(lambda: len(ran) == 2)
            await asyncio.gather(*(emit("work") for _ in range(5)))
            await aeventually(lambda: len(ran) == 7)
            await aeventually(queue.is_empty)

            assert worker.running == 0
    assert letter is not None
    assert len(queue.letters()) == 1
    return letter


class QueueView:
    """What Redis holds of one queue, asked anew at each look."""

    def __init__(self, redis: redis_py.Redis, queue: str = "default") -> None:
        self.redis = redis
        self.keys = Keys(queue)

    def lane(self, priority: int = 0, *, front: bool = False, type: str = DEFAULT_TYPE) -> str:
        """Return the key of a lane's stream."""
        lane = Lane(self.keys.queue, type, DEFAULT_PARTITION, priority)
        return self.keys.front(lane) if front else self.keys.lane(lane)

    def streams(self) -> list[str]:
        """Return the keys of all lanes and their fronts."""
        names = cast("list[bytes]", self.redis.zrange(self.keys.lanes, 0, -1))
        lanes = [Lane.parse(self.keys.queue, name.decode()) for name in names]
        return [key for lane in lanes for key in (self.keys.lane(lane), self.keys.front(lane))]

    def lanes(self) -> list[str]:
        """Return the names of all lanes, lowest priority first."""
        names = cast("list[bytes]", self.redis.zrange(self.keys.lanes, 0, -1))
        return [name.decode() for name in names]

    def stats(self, name: str) -> int:
        """Return a counter."""
        return int(cast("bytes | None", self.redis.hget(self.keys.stats, name)) or 0)

    def letters(self) -> list[dict[str, bytes]]:
        """Return the dead letters, oldest first."""
        found = cast("list[Any]", self.redis.xrange(self.keys.dead))
        return [{name.decode(): value for name, value in fields.items()} for _, fields in found]

    def letter(self, job_id: str) -> dict[str, bytes] | None:
        """Return the dead letter of a job, None when it has none."""
        return next((it for it in self.letters() if it["job"].decode() == job_id), None)

    def live(self, job_id: str) -> bytes | None:
        """Return where a job is; None when it is over."""
        return cast("bytes | None", self.redis.hget(self.keys.live(job_id), job_id))

    def result(self, job_id: str) -> Any:
        """Return a job's result; None when there is none (or it is null)."""
        stored = cast("bytes | None", self.redis.get(self.keys.result(job_id)))
        return None if stored is None else json.loads(stored.split(b" ", 2)[2])

    def has_result(self, job_id: str) -> bool:
        """Whether the result of a completed run is stored."""
        stored = cast("bytes | None", self.redis.get(self.keys.result(job_id)))
        return stored is not None and end_of(stored).state == "completed"

    def pending(self) -> list[tuple[str, str, str, int]]:
        """Return stream, entry, consumer and delivery count of everything delivered."""
        found = []
        for stream in self.streams():
            for group in cast("list[Any]", self.redis.xinfo_groups(stream)):
                rows = self.redis.xpending_range(stream, group["name"], "-", "+", 10_000)
                found += [
                    (
                        stream,
                        row["message_id"].decode(),
                        row["consumer"].decode(),
                        row["times_delivered"],
                    )
                    for row in cast("list[Any]", rows)
                ]
        return found

    def is_empty(self) -> bool:
        """Whether no job waits or runs."""
        return not any(self.redis.xlen(stream) for stream in self.streams())

    def abandon(self, *, count: int = 1, crashes: int = 1, priority: int = 0) -> list[str]:
        """Fetch jobs as a worker that dies at once, that many times, and return their entries.

        Their leases last: see expire.
        """
        stream, dead = self.lane(priority), "dead.0"
        reply = self.redis.xreadgroup(DEFAULT_TYPE, dead, {stream: ">"}, count)
        entries = [entry for entry, _ in cast("Any", reply)[0][1]]
        self.redis.xclaim(stream, DEFAULT_TYPE, dead, 0, entries, retrycount=crashes, justid=True)
        return [entry.decode() for entry in entries]

    def expire(self, entry: str | None = None) -> None:
        """Let every lease run out now (or that of one entry): nobody has to wait for it."""
        for stream, pending, consumer, count in self.pending():
            if entry not in (None, pending):
                continue
            self.redis.xclaim(
                stream, DEFAULT_TYPE, consumer, 0, [pending],
                idle=_DAY_MS, retrycount=count, justid=True,
            )  # fmt: skip

    def steal(self, entry: str, *, consumer: str = "thief.0", priority: int = 0) -> None:
        """Take a delivery over, as another worker does when its lease has run out."""
        self.redis.xclaim(self.lane(priority), DEFAULT_TYPE, consumer, 0, [entry])
