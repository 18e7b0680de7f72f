"""A consumer: fetches jobs of its queues, runs them, records their outcomes."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
import socket
import time
from collections.abc import Coroutine, Sequence
from typing import Any

from redis.exceptions import (
    AuthenticationError,
    ConnectionError,
    OutOfMemoryError,
    RedisError,
    ResponseError,
    TimeoutError,
)

from consumers.backoff import pause_before
from consumers.bounds import MOST_SLOTS, check_count, check_queues, check_seconds
from consumers.connection import Connector
from consumers.control import ControlChannel
from consumers.crash_loop import SoloGate
from consumers.delivery import Delivery
from consumers.errors import LayoutMismatch, RedisUnavailable, TaskManagerError
from consumers.executor import Executor
from consumers.fetcher import Fetcher
from consumers.heartbeat import Heartbeat
from consumers.janitor import Janitor
from consumers.keys import Fleet, Keys
from consumers.lanes import DEFAULT_TYPE, Lane, listed_lanes
from consumers.leases import Keeper, Leases
from consumers.levels import Levels
from consumers.names import check_name
from consumers.policy import Policy
from consumers.preflight import check_rights
from consumers.reader import Reader
from consumers.reclaimer import Reclaimer
from consumers.scripts import call
from consumers.settler import Settler
from consumers.transitions import open_queue
from consumers.wire import Wire

logger = logging.getLogger(__name__)

# How long handlers get to end after they were cancelled, and how long Redis
# gets to take the last outcomes.
CANCEL_PATIENCE = 2.0
LAST_WORDS = 3.0


def worker_name(index: int = 0) -> str:
    """Return the default name of a host's worker: stable, unlike its id.

    What is no name character in the host's name is replaced.
    """
    known = (
        c if c.isascii() and (c.isalnum() or c in "._-") else "-" for c in socket.gethostname()
    )
    return f"{''.join(known).lstrip('._-')[:100] or 'worker'}-{index}"


class Consumer:
    """Runs jobs of some queues in this event loop until it is stopped.

    policy says which handlers there are and what a run's end means. concurrency
    is how many jobs run at once. lease, shutdown_timeout, connect_timeout,
    result_ttl (0: results are not kept), log_ttl and no_handler_deadline are in
    seconds; the lease is the queue's: the first consumer's counts for all.

    name is stable and for people; id is new with every start, so that a
    restarted worker can never act as its own zombie.
    """

    def __init__(
        self,
        redis: object,
        *,
        policy: Policy,
        queues: Sequence[str] = ("default",),
        type: str = DEFAULT_TYPE,
        concurrency: int = 1,
        namespace: str = "tm",
        lease: float = 30.0,
        max_deliveries: int = 5,
        result_ttl: float = 300.0,
        log_ttl: float = 86400.0,
        shutdown_timeout: float = 25.0,
        connect_timeout: float = 30.0,
        no_handler_deadline: float = 3600.0,
        name: str | None = None,
    ) -> None:
        self.connector = Connector.of(redis)
        self.policy = policy
        self.type = check_name("type", type)
        self.name = check_name("worker", name or worker_name())
        self.id = f"{self.name}.{secrets.token_hex(8)}"
        self.concurrency = check_count("concurrency", concurrency, 1, MOST_SLOTS)
        self.max_deliveries = check_count("max_deliveries", max_deliveries, 1, 1000)
        # A lease is renewed three times: a shorter one would be lost to one slow reply.
        self.lease = check_seconds("lease", lease, 0.1)
        self.result_ttl = check_seconds("result_ttl", result_ttl, 0)
        self.log_ttl = check_seconds("log_ttl", log_ttl, 0.001)
        self.shutdown_timeout = check_seconds("shutdown_timeout", shutdown_timeout, 0)
        self.connect_timeout = check_seconds("connect_timeout", connect_timeout, 0)
        self.no_handler_deadline = check_seconds("no_handler_deadline", no_handler_deadline, 0)
        self.fleet = Fleet(check_name("namespace", namespace))
        self.queues = [Keys(queue, namespace) for queue in check_queues(queues)]
        # Counted since the start: jobs whose outcome was recorded, and refused ones.
        self.settled = 0
        self.fenced = 0
        self._parts: _Parts | None = None
        self._stopping: asyncio.Task[None] | None = None

    @property
    def running(self) -> int:
        """How many jobs are running."""
        return self._parts.executor.running if self._parts is not None else 0

    async def start(self) -> None:
        """Connect, prepare the queues and begin to fetch.

        Waits connect_timeout seconds for Redis, then raises RedisUnavailable;
        LayoutMismatch when a queue belongs to an incompatible version.
        """
        if self._parts is not None:
            return
        parts = _Parts(self)
        try:
            await self._first_contact(parts)
        except BaseException:
            await parts.close()
            raise
        self._parts = parts
        parts.start()
        logger.info("worker %s started", self.id)

    async def stop(self, timeout: float | None = None) -> None:
        """Fetch no more, hand back what is not started, let running jobs finish, disconnect.

        Jobs that still run after timeout seconds (default: shutdown_timeout) are
        cancelled and handed back, without an attempt burnt. A second call with
        a shorter timeout shortens the first.
        """
        if self._parts is None:
            return
        patience = self.shutdown_timeout if timeout is None else timeout
        parts = self._parts
        parts.grace_ends = min(parts.grace_ends, time.monotonic() + patience)
        parts.grace_shortened.set()
        if self._stopping is None:
            self._stopping = asyncio.create_task(self._stop(parts))
        await asyncio.shield(self._stopping)

    async def until_idle(self) -> None:
        """Return once nothing waits in the lanes we read and nothing runs here."""
        while self._parts is not None and self._stopping is None:
            with contextlib.suppress(RedisError):
                if self._is_quiet() and await self._waiting() == 0 and self._is_quiet():
                    return
            await asyncio.sleep(0.05)

    # Starting

    async def _first_contact(self, parts: _Parts) -> None:
        until = time.monotonic() + self.connect_timeout
        attempt = 0
        while True:
            try:
                await check_rights(parts.wire, self.queues[0])
                for keys in self.queues:
                    await self._open(parts, keys)
                return
            except (ConnectionError, TimeoutError) as error:
                attempt += 1
                pause = pause_before(attempt)
                # A refused login will be refused again.
                refused = isinstance(error, AuthenticationError)
                if refused or time.monotonic() + pause > until:
                    raise RedisUnavailable(
                        self.connector.where, str(error), outcome="not_sent"
                    ) from error
                await asyncio.sleep(pause)

    async def _open(self, parts: _Parts, keys: Keys) -> None:
        opened = open_queue(keys, self._default_lane(keys), round(self.lease * 1000))
        try:
            epoch, lease_ms = await call(parts.wire, opened.script, opened.keys, opened.args)
        except ResponseError as error:
            if not (isinstance(error, OutOfMemoryError) or "OOM" in str(error)):
                raise self._explained(keys, error) from error
            epoch, lease_ms = await self._open_without_room(parts, keys)
        parts.executor.epochs[keys.queue] = epoch
        self._adopt_lease(parts, keys, lease_ms / 1000)

    async def _open_without_room(self, parts: _Parts, keys: Keys) -> tuple[int, int]:
        # Full memory takes no new property, but what waits can be worked off,
        # and that is what makes room.
        logger.warning("Redis is out of memory, queue %s is worked off as it is", keys.queue)
        epoch, lease_ms = await parts.wire.send("HMGET", keys.meta, "epoch", "lease")
        return int(epoch or 0), int(lease_ms or self.lease * 1000)

    def _explained(self, keys: Keys, error: ResponseError) -> TaskManagerError:
        text = str(error)
        if "LAYOUT " in text:
            found, known = text.split("LAYOUT ", 1)[1].split(" ")[:2]
            return LayoutMismatch(keys.queue, found, known)
        return TaskManagerError(f"queue {keys.queue!r} cannot be opened: {text}")

    def _adopt_lease(self, parts: _Parts, keys: Keys, seconds: float) -> None:
        if parts.leases.seconds.get(keys.queue) == seconds:
            return
        parts.leases.seconds[keys.queue] = seconds
        if seconds != self.lease:
            logger.warning(
                "queue %s has a lease of %g s, it counts instead of ours of %g s",
                keys.queue, seconds, self.lease,
            )  # fmt: skip

    def _default_lane(self, keys: Keys) -> Lane:
        return Lane(keys.queue, self.type)

    # Running

    async def refresh(self) -> None:
        """Read the queues' properties and lanes again: the truth behind the hints."""
        parts = self._parts
        if parts is None:
            return
        commands: list[tuple[str | int, ...]] = []
        for keys in self.queues:
            commands.append(("HMGET", keys.meta, "epoch", "lease"))
            commands.append(("ZRANGE", keys.lanes, 0, -1))
        replies = await parts.reader.ask(*commands)
        for keys, meta, names in zip(self.queues, replies[::2], replies[1::2], strict=True):
            await self._refreshed(parts, keys, meta, names)

    async def _refreshed(self, parts: _Parts, keys: Keys, meta: Any, names: Any) -> None:
        if isinstance(meta, ResponseError) or isinstance(names, ResponseError):
            logger.error("queue %s cannot be read: %s, %s", keys.queue, meta, names)
            return
        if None in meta or self._default_lane(keys).name.encode() not in names:
            # Without a lease only, it was opened while memory was full.
            if meta[0] is None or meta[1] is not None:
                logger.error("queue %s has lost its data in Redis, it is made anew", keys.queue)
            await self._open(parts, keys)
            (names,) = await parts.reader.ask(("ZRANGE", keys.lanes, 0, -1))
        else:
            parts.executor.epochs[keys.queue] = int(meta[0])
            self._adopt_lease(parts, keys, int(meta[1]) / 1000)
        parts.levels.set_lanes(keys, listed_lanes(keys.queue, names))

    def settled_one(self, delivery: Delivery, recorded: bool) -> None:
        """Count an outcome that Redis has answered."""
        if recorded:
            self.settled += 1
        else:
            self.fenced += 1
            logger.warning(
                "job %s was not ours any more, its outcome is not recorded", delivery.envelope.id
            )

    def events(self) -> dict[str, list[str]]:
        """Return the events that are handled here, by queue."""
        return {keys.queue: sorted(self.policy.events(keys.queue)) for keys in self.queues}

    # Stopping

    async def _stop(self, parts: _Parts) -> None:
        try:
            await self._wind_down(parts)
        finally:
            await parts.close(say_goodbye=True)
            self._parts = None
            self._stopping = None
            logger.info(
                "worker %s stopped: %d settled, %d fenced", self.id, self.settled, self.fenced
            )

    async def _wind_down(self, parts: _Parts) -> None:
        parts.fetcher.stop()
        parts.fetcher.release_held()
        await parts.fetched()
        parts.fetcher.release_held()
        await parts.run_down()
        await parts.executor.release_all(patience=CANCEL_PATIENCE)
        with contextlib.suppress(asyncio.TimeoutError):
            await asyncio.wait_for(parts.settler.flushed(), LAST_WORDS)

    def _is_quiet(self) -> bool:
        parts = self._parts
        return parts is None or not (
            parts.executor.running
            or len(parts.fetcher.held)
            or parts.settler.backlog
            or parts.fetcher.gate.suspect is not None
        )

    async def _waiting(self) -> int:
        parts = self._parts
        if parts is None:
            return 0
        streams = parts.levels.streams()
        # Before the first look at the lanes nothing is known: that is not idle.
        waiting = 0 if streams else 1
        for stream in streams:
            length, pending = await asyncio.gather(
                parts.wire.send("XLEN", stream.key),
                parts.wire.send("XPENDING", stream.key, stream.group),
            )
            waiting += length - pending[0]
        return waiting


class _Parts:
    """What a started consumer consists of, and the tasks that it owns."""

    def __init__(self, consumer: Consumer) -> None:
        connector, policy = consumer.connector, consumer.policy
        self.wire = Wire(connector, name=f"writer-{consumer.id}")
        self.leases = Leases()
        self.levels = Levels(consumer.type, policy)
        self.reader = Reader(connector, self.levels, group=consumer.type, consumer=consumer.id)
        self.settler = Settler(
            self.wire,
            self.leases,
            where=connector.where,
            consumer=consumer.id,
            result_ttl=consumer.result_ttl,
            on_settled=consumer.settled_one,
        )
        self.executor = Executor(
            policy,
            self.settler,
            self.leases,
            slots=consumer.concurrency,
            log_ttl=consumer.log_ttl,
            on_free=self._freed,
        )
        self.fetcher = Fetcher(
            reader=self.reader,
            levels=self.levels,
            leases=self.leases,
            executor=self.executor,
            settler=self.settler,
            reclaimer=Reclaimer(self.reader, self.levels, self.leases),
            gate=SoloGate(self.wire, consumer=consumer.id, max_deliveries=consumer.max_deliveries),
            slots=consumer.concurrency,
            refresh=consumer.refresh,
            unblock=self._unblock,
        )
        self.keeper = Keeper(
            self.leases, connector, consumer=consumer.id, on_lost=self.executor.lose
        )
        self.heartbeat = Heartbeat(
            self.wire,
            consumer.fleet,
            worker_id=consumer.id,
            name=consumer.name,
            type=consumer.type,
            slots=consumer.concurrency,
            events=consumer.events,
            started=self.executor.jobs,
        )
        self.janitor = Janitor(
            self.wire,
            self.settler,
            self.leases,
            fleet=consumer.fleet,
            queues=consumer.queues,
            default_lanes=consumer._default_lane,
            consumer=consumer.id,
            group=consumer.type,
            no_handler_deadline=consumer.no_handler_deadline,
        )
        self.control = ControlChannel(
            connector,
            {keys.control: keys.queue for keys in consumer.queues},
            on_hint=lambda queue, hint: self.fetcher.wake(),
            on_reconnect=self.fetcher.wake,
        )
        self.grace_ends = float("inf")
        self.grace_shortened = asyncio.Event()
        self._fetching: asyncio.Task[None] | None = None
        self._services: list[asyncio.Task[None]] = []

    def start(self) -> None:
        self.keeper.start()
        self._fetching = asyncio.create_task(self.fetcher.run(), name="fetcher")
        services: dict[str, Coroutine[Any, Any, None]] = {
            "heartbeat": self.heartbeat.run(),
            "janitor": self.janitor.run(),
            "control": self.control.run(),
        }
        self._services = [asyncio.create_task(run, name=name) for name, run in services.items()]

    async def fetched(self) -> None:
        """Return when the last read is answered; Redis being away does not hold it up."""
        if self._fetching is not None:
            await asyncio.wait({self._fetching}, timeout=LAST_WORDS)
            self._fetching.cancel()

    async def run_down(self) -> None:
        """Return when nothing runs any more or the grace period is over."""
        while self.executor.running:
            self.grace_shortened.clear()
            left = self.grace_ends - time.monotonic()
            if left <= 0:
                return
            drained = asyncio.create_task(self.executor.drained())
            shortened = asyncio.create_task(self.grace_shortened.wait())
            await asyncio.wait(
                {drained, shortened}, timeout=left, return_when=asyncio.FIRST_COMPLETED
            )
            drained.cancel()
            shortened.cancel()

    async def close(self, *, say_goodbye: bool = False) -> None:
        """End every task and connection."""
        self.control.stop()
        for service in self._services:
            service.cancel()
        await asyncio.gather(*self._services, return_exceptions=True)
        await self.keeper.stop()
        self.settler.close()
        if say_goodbye:
            with contextlib.suppress(RedisError, asyncio.TimeoutError):
                await asyncio.wait_for(self.heartbeat.remove(), 1.0)
        self.executor.threads.close()
        await self.reader.channel.close()
        await self.wire.close()

    def _freed(self) -> None:
        self.fetcher.freed()

    def _unblock(self, client: int) -> None:
        # Only a hint: when the connection is gone, the read ends by itself.
        self.wire.send("CLIENT", "UNBLOCK", client).add_done_callback(_ignore)


def _ignore(done: asyncio.Future[object]) -> None:
    if not done.cancelled():
        done.exception()
