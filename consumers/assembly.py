"""Put together what a started consumer consists of, and end it again."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable, Coroutine, Mapping
from typing import Any, Protocol

from redis.exceptions import RedisError, ResponseError

from consumers.connections.connector import Connector
from consumers.connections.hints import ControlChannel
from consumers.connections.wire import Wire
from consumers.fetch.fetcher import Fetcher
from consumers.fetch.levels import Levels
from consumers.fetch.reader import Reader
from consumers.fetch.reclaimer import Reclaimer
from consumers.fetch.solo import SoloGate
from consumers.lease.leases import Keeper, Leases
from consumers.open.opener import Opener
from consumers.policy import Policy, ServiceMaker
from consumers.run.executor import Executor
from consumers.run.pauses import Pauses
from consumers.run.standstill import Standstill
from consumers.settle.archive import Archive
from consumers.settle.settler import Settler
from consumers.store.keys import Fleet, Keys
from consumers.store.settling import DeadLetterBounds, Settlement
from consumers.upkeep.auditor import Auditor
from consumers.upkeep.heartbeat import Heartbeat
from consumers.upkeep.janitor import Janitor
from consumers.upkeep.promoter import Promoter
from consumers.upkeep.relay import Relay

logger = logging.getLogger(__name__)

# How long Redis gets to answer the last read, and to take the last outcomes.
LAST_WORDS = 3.0


class Owner(Protocol):
    """The consumer, as its parts know it: what it was given, and whom they tell."""

    connector: Connector
    policy: Policy
    fleet: Fleet
    queues: list[Keys]
    type: str
    name: str
    id: str
    concurrency: int
    max_deliveries: int
    lease: float
    result_ttl: float
    log_ttl: float
    no_handler_deadline: float
    max_leaked_threads: int
    max_loop_lag: float
    on_dead_loop: Callable[[], None]
    dead_letters: DeadLetterBounds
    services: Mapping[str, ServiceMaker]

    def new_archive(self) -> Archive | None:
        """Return where results are kept when they have a Redis of their own."""

    def events(self) -> dict[str, list[str]]:
        """Return the events that are handled here, by queue."""

    async def refresh(self) -> None:
        """Read the queues' properties and lanes again."""

    def settled_one(self, settlement: Settlement, recorded: bool) -> None:
        """Take note of an outcome that Redis has answered."""

    def stop_broken(self, why: str) -> None:
        """Hand back every job and stop, because this process cannot go on."""


class Parts:
    """What a started consumer consists of, and the tasks that it owns."""

    def __init__(self, owner: Owner) -> None:
        connector, policy = owner.connector, owner.policy
        self.wire = Wire(connector, name=f"writer-{owner.id}")
        self.leases = Leases()
        self.pauses = Pauses()
        self.levels = Levels(owner.type, policy, self.pauses)
        self.auditor = Auditor(self.wire, owner.queues)
        self.reader = Reader(
            connector,
            self.levels,
            group=owner.type,
            consumer=owner.id,
            on_repaired=self.auditor.wake,
        )
        self.archive = owner.new_archive()
        self.settler = Settler(
            self.wire,
            self.leases,
            where=connector.where,
            consumer=owner.id,
            result_ttl=owner.result_ttl,
            on_settled=owner.settled_one,
            bounds=owner.dead_letters,
            archive=self.archive,
        )
        self.executor = Executor(
            policy,
            self.settler,
            self.leases,
            self.pauses,
            slots=owner.concurrency,
            log_ttl=owner.log_ttl,
            max_leaked=owner.max_leaked_threads,
            on_free=self._freed,
            on_broken=owner.stop_broken,
        )
        self.opener = Opener(
            self.wire,
            reader=self.reader,
            levels=self.levels,
            leases=self.leases,
            executor=self.executor,
            pauses=self.pauses,
            confirm=self._confirm,
            queues=owner.queues,
            type=owner.type,
            lease=owner.lease,
            where=connector.where,
        )
        self.fetcher = Fetcher(
            reader=self.reader,
            levels=self.levels,
            leases=self.leases,
            executor=self.executor,
            settler=self.settler,
            reclaimer=Reclaimer(
                self.reader, self.levels, self.leases, on_missing=self.auditor.wake
            ),
            gate=SoloGate(self.wire, consumer=owner.id, max_deliveries=owner.max_deliveries),
            slots=owner.concurrency,
            refresh=self._refresh,
            unblock=self._unblock,
        )
        self.keeper = Keeper(
            self.leases,
            connector,
            consumer=owner.id,
            on_lost=self.executor.lose,
            on_cancelled=self.executor.cancel,
            max_lag=owner.max_loop_lag,
            on_dead_loop=owner.on_dead_loop,
        )
        self.heartbeat = Heartbeat(
            self.wire,
            owner.fleet,
            worker_id=owner.id,
            name=owner.name,
            type=owner.type,
            slots=owner.concurrency,
            events=owner.events,
            started=self.executor.jobs,
            pauses=self.pauses.numbers,
        )
        self.janitor = Janitor(
            self.wire,
            self.settler,
            self.leases,
            fleet=owner.fleet,
            queues=owner.queues,
            default_lanes=self.opener.default_lane,
            consumer=owner.id,
            no_handler_deadline=owner.no_handler_deadline,
            letters_max_age_ms=owner.dead_letters.max_age_ms,
        )
        self.control = ControlChannel(
            connector,
            {keys.control: keys.queue for keys in owner.queues},
            on_hint=self._hint,
            on_reconnect=self._look_at_all,
        )
        self.promoters = {keys.queue: Promoter(self.wire, keys) for keys in owner.queues}
        self.relays = {
            keys.queue: Relay(self.wire, keys, bounds=owner.dead_letters) for keys in owner.queues
        }
        self.services = {
            (keys.queue, name): make(self.wire, keys)
            for keys in owner.queues
            for name, make in owner.services.items()
        }
        self._queues = owner.queues
        self._refresh_queues = owner.refresh
        self._standstill = Standstill(
            [keys.queue for keys in owner.queues], slots=owner.concurrency
        )
        self.grace_ends = float("inf")
        self.grace_shortened = asyncio.Event()
        self._fetching: asyncio.Task[None] | None = None
        self._tasks: list[asyncio.Task[None]] = []

    async def register(self) -> None:
        """List this worker; full memory delays it to a later heartbeat."""
        try:
            await self.heartbeat.beat()
        except RedisError as error:
            logger.warning("worker %s is not listed yet: %s", self.heartbeat.worker_id, error)

    def start(self) -> None:
        """Begin to fetch, to renew leases and to keep the queues in order."""
        self.keeper.start()
        self._fetching = asyncio.create_task(self.fetcher.run(), name="fetcher")
        services: dict[str, Coroutine[Any, Any, None]] = {
            "heartbeat": self.heartbeat.run(),
            "janitor": self.janitor.run(),
            "auditor": self.auditor.run(),
            "control": self.control.run(),
        }
        services |= {f"promoter-{queue}": it.run() for queue, it in self.promoters.items()}
        services |= {f"relay-{queue}": it.run() for queue, it in self.relays.items()}
        services |= {f"{name}-{queue}": it.run() for (queue, name), it in self.services.items()}
        self._tasks = [asyncio.create_task(run, name=name) for name, run in services.items()]

    async def fetched(self) -> None:
        """Return when the last read is answered; Redis being away does not hold it up."""
        if self._fetching is not None:
            await asyncio.wait({self._fetching}, timeout=LAST_WORDS)
            self._fetching.cancel()

    async def start_no_more(self) -> None:
        """Let nothing begin any more, and say so to those who wait for a pause."""
        self.pauses.closed = True
        with contextlib.suppress(RedisError, TimeoutError):
            async with asyncio.timeout(1.0):
                await self.heartbeat.beat()

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
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.keeper.stop()
        self.settler.close()
        if say_goodbye:
            with contextlib.suppress(RedisError, TimeoutError):
                async with asyncio.timeout(1.0):
                    await self.heartbeat.remove()
        self.executor.close()
        if self.archive is not None:
            await self.archive.close()
        await self.reader.channel.close()
        await self.wire.close()

    async def _refresh(self) -> None:
        self._standstill.look(self.executor.runs())
        await self._refresh_queues()

    def _freed(self) -> None:
        self.fetcher.freed()

    def _hint(self, queue: str, hint: str) -> None:
        match hint.partition(" ")[0]:
            case "due":
                self._due_hint(queue, hint)
            case "outbox":
                self.relays[queue].wake()
            case "cancel":
                self._cancel_hint(queue, hint)
            case word if (queue, word) in self.services:
                self.services[queue, word].wake()
            case _:
                self.fetcher.wake()

    def _due_hint(self, queue: str, hint: str) -> None:
        due_ms = int(hint.partition(" ")[2])
        self.promoters[queue].expect((due_ms - self.executor.clock.now_ms()) / 1000)

    def _cancel_hint(self, queue: str, hint: str) -> None:
        _, stream, entry = hint.split(" ")
        base = next(keys.base for keys in self._queues if keys.queue == queue)
        self.fetcher.cancel((f"{base}lane:{stream}", entry))

    async def _confirm(self) -> None:
        # The next beat says it as well.
        with contextlib.suppress(RedisError):
            await self.heartbeat.beat()

    def _look_at_all(self) -> None:
        self.fetcher.wake()
        for service in self.services.values():
            service.wake()
        for queue, promoter in self.promoters.items():
            promoter.wake()
            self.relays[queue].wake()

    def _unblock(self, client: int) -> None:
        def told(done: asyncio.Future[object]) -> None:
            # Only a hint: when the connection is gone, the read ends by itself.
            error = None if done.cancelled() else done.exception()
            if isinstance(error, ResponseError):
                self.reader.cannot_be_woken(client, error)

        self.wire.send("CLIENT", "UNBLOCK", client).add_done_callback(told)
