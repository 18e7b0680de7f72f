"""A consumer: fetches jobs of its queues, runs them, records their outcomes."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
import socket
import time
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

from redis.exceptions import (
    AuthenticationError,
    ConnectionError,
    OutOfMemoryError,
    RedisError,
    ResponseError,
    TimeoutError,
)

from consumers.archive import Archive
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
from consumers.outcome import Buried
from consumers.policy import Policy
from consumers.preflight import check_rights
from consumers.promoter import Promoter
from consumers.reader import Reader
from consumers.reclaimer import Reclaimer
from consumers.relay import Relay
from consumers.scripts import call
from consumers.settler import Settler
from consumers.transitions import DeadLetterBounds, Settlement, open_queue
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
    Results, logs and progress are kept in the Redis of results, if it is given.

    More than max_leaked_threads runs that go on after their timeout make it hand
    back its jobs and stop by itself: then broken is set and broken_because says why.

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
        max_leaked_threads: int = 8,
        dead_letters: DeadLetterBounds = DeadLetterBounds(),  # noqa: B008 - it is frozen
        on_dead: Callable[[Delivery, Buried], None] | None = None,
        name: str | None = None,
        results: object | None = None,
    ) -> None:
        self.connector = Connector.of(redis)
        self.results = None if results is None else Connector.of(results)
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
        self.max_leaked_threads = max_leaked_threads
        self.dead_letters = dead_letters
        self.on_dead = on_dead
        self.fleet = Fleet(check_name("namespace", namespace))
        self.queues = [Keys(queue, namespace) for queue in check_queues(queues)]
        # Set when it stops by itself because it cannot go on; broken_because says why.
        self.broken = asyncio.Event()
        self.broken_because: str | None = None
        # Counted since the start: jobs whose outcome was recorded, and refused ones.
        self.settled = 0
        self.fenced = 0
        self._parts: _Parts | None = None
        self._stopping: asyncio.Task[None] | None = None
        self._breaking: asyncio.Task[None] | None = None

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
        self.broken.clear()
        self.broken_because = None
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
        """Return once nothing waits in the lanes we read or to be relayed, and nothing runs here.

        Delayed jobs and retries that are not due yet do not count.
        """
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
        commands.append(("TIME",))
        for keys in self.queues:
            commands.append(("HMGET", keys.meta, "epoch", "lease"))
            commands.append(("ZRANGE", keys.lanes, 0, -1))
        time_told, *replies = await parts.reader.ask(*commands)
        parts.executor.clock.told(*map(int, time_told))
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

    def settled_one(self, settlement: Settlement, recorded: bool) -> None:
        """Count an outcome that Redis has answered, and tell of a death."""
        if not recorded:
            self.fenced += 1
            job_id = settlement.delivery.envelope.id
            logger.warning("job %s was not ours any more, its outcome is not recorded", job_id)
            return
        self.settled += 1
        if self.on_dead is not None and isinstance(settlement.outcome, Buried):
            self.on_dead(settlement.delivery, settlement.outcome)

    def new_archive(self) -> Archive | None:
        """Return where results are kept when they have a Redis of their own."""
        if self.results is None:
            return None
        ttl_ms = round(self.result_ttl * 1000)
        return Archive(self.results, consumer=self.id, result_ttl_ms=ttl_ms)

    def events(self) -> dict[str, list[str]]:
        """Return the events that are handled here, by queue."""
        return {keys.queue: sorted(self.policy.events(keys.queue)) for keys in self.queues}

    # Stopping

    def stop_broken(self, why: str) -> None:
        """Hand back every job and stop, because this process cannot go on."""
        if self.broken.is_set():
            return
        logger.error("worker %s stops, it is broken: %s", self.id, why)
        self.broken_because = why
        self.broken.set()
        self._breaking = asyncio.create_task(self.stop())

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
        for keys in self.queues:
            waiting += await parts.wire.send("XLEN", keys.outbox)
        return waiting


class _Parts:
    """What a started consumer consists of, and the tasks that it owns."""

    def __init__(self, consumer: Consumer) -> None:
        connector, policy = consumer.connector, consumer.policy
        self.wire = Wire(connector, name=f"writer-{consumer.id}")
        self.leases = Leases()
        self.levels = Levels(consumer.type, policy)
        self.reader = Reader(connector, self.levels, group=consumer.type, consumer=consumer.id)
        self.archive = consumer.new_archive()
        self.settler = Settler(
            self.wire,
            self.leases,
            where=connector.where,
            consumer=consumer.id,
            result_ttl=consumer.result_ttl,
            on_settled=consumer.settled_one,
            bounds=consumer.dead_letters,
            archive=self.archive,
        )
        self.executor = Executor(
            policy,
            self.settler,
            self.leases,
            slots=consumer.concurrency,
            log_ttl=consumer.log_ttl,
            max_leaked=consumer.max_leaked_threads,
            on_free=self._freed,
            on_broken=consumer.stop_broken,
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
            letters_max_age_ms=consumer.dead_letters.max_age_ms,
        )
        self.control = ControlChannel(
            connector,
            {keys.control: keys.queue for keys in consumer.queues},
            on_hint=self._hint,
            on_reconnect=self._look_at_all,
        )
        self.promoters = {keys.queue: Promoter(self.wire, keys) for keys in consumer.queues}
        self.relays = {
            keys.queue: Relay(self.wire, keys, bounds=consumer.dead_letters)
            for keys in consumer.queues
        }
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
        services |= {f"promoter-{queue}": it.run() for queue, it in self.promoters.items()}
        services |= {f"relay-{queue}": it.run() for queue, it in self.relays.items()}
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
        self.executor.close()
        if self.archive is not None:
            await self.archive.close()
        await self.reader.channel.close()
        await self.wire.close()

    def _freed(self) -> None:
        self.fetcher.freed()

    def _hint(self, queue: str, hint: str) -> None:
        match hint.partition(" ")[0]:
            case "due":
                self.promoters[queue].wake()
            case "outbox":
                self.relays[queue].wake()
            case _:
                self.fetcher.wake()

    def _look_at_all(self) -> None:
        self.fetcher.wake()
        for queue, promoter in self.promoters.items():
            promoter.wake()
            self.relays[queue].wake()

    def _unblock(self, client: int) -> None:
        # Only a hint: when the connection is gone, the read ends by itself.
        self.wire.send("CLIENT", "UNBLOCK", client).add_done_callback(_ignore)


def _ignore(done: asyncio.Future[object]) -> None:
    if not done.cancelled():
        done.exception()
