"""Put together what a started consumer consists of, and end it again."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import replace
from typing import Any

from redis.exceptions import RedisError, ResponseError

from consumers.connections.clock import ServerClock
from consumers.connections.connector import Connector
from consumers.connections.hints import Hints
from consumers.connections.wire import Wire
from consumers.fetch.admission import Admission
from consumers.fetch.fetcher import Fetcher
from consumers.fetch.follower import Follower
from consumers.fetch.levels import Levels
from consumers.fetch.reader import Reader
from consumers.fetch.reclaimer import Reclaimer
from consumers.fetch.solo import SoloGate
from consumers.jobs.routes import Profile
from consumers.lease.leases import Leases
from consumers.lease.renewer import Renewer
from consumers.open.opener import Opener
from consumers.policy import Policy
from consumers.run.executor import Executor
from consumers.run.notes import NoteWriter
from consumers.run.pauses import Pauses
from consumers.settle.archive import Archive
from consumers.settle.settler import Settler
from consumers.store.settling import Settled
from consumers.terms import Terms
from consumers.upkeep.auditor import Auditor
from consumers.upkeep.heartbeat import Heartbeat, identity
from consumers.upkeep.janitor import Janitor
from consumers.upkeep.listener import Listener
from consumers.upkeep.promoter import Promoter
from consumers.upkeep.relay import Relay
from consumers.upkeep.service import ServiceMaker

logger = logging.getLogger("taskmanager.worker")

# How long Redis gets to answer the last read, and to take the last outcomes.
LAST_WORDS = 3.0


class Parts:
    """What a started consumer consists of, and the tasks that it owns.

    on_settled gets the outcomes that Redis has answered, on_broken the reason why this process
    cannot go on. on_dead_loop is called, in a thread, when the event loop seems to be dead.
    """

    def __init__(
        self,
        terms: Terms,
        connector: Connector,
        policy: Policy,
        *,
        archive: Archive | None,
        services: Mapping[str, ServiceMaker],
        on_settled: Callable[[Sequence[Settled]], None],
        on_broken: Callable[[str], None],
        on_dead_loop: Callable[[], None],
    ) -> None:
        self.terms = terms
        self.archive = archive
        self.wire = Wire(connector, name=f"writer-{terms.id}")
        self.leases = Leases()
        self.pauses = Pauses()
        self.clock = ServerClock() if archive is None else archive.clock
        self.auditor = Auditor(self.wire, terms.queues)
        self.levels = Levels(terms.profile, policy, self.pauses)
        self._make_runs(connector, policy, on_settled, on_broken)
        self._make_reads(connector)
        self._make_renewal(connector, on_dead_loop)
        self._make_upkeep(connector, policy)
        self.services = {
            (keys.queue, name): make(self.wire, keys)
            for keys in terms.queues
            for name, make in services.items()
        }
        self.hints = self._new_hints(connector)
        self.grace_ends = float("inf")
        self.grace_shortened = asyncio.Event()
        self._fetching: asyncio.Task[None] | None = None
        self._tasks: list[asyncio.Task[None]] = []

    def _make_runs(
        self,
        connector: Connector,
        policy: Policy,
        on_settled: Callable[[Sequence[Settled]], None],
        on_broken: Callable[[str], None],
    ) -> None:
        terms = self.terms
        self.settler = Settler(
            self.wire,
            self.leases,
            where=connector.where,
            consumer=terms.id,
            result_ttl=terms.result_ttl,
            on_settled=on_settled,
            bounds=terms.dead_letters,
            archive=self.archive,
        )
        self.executor = Executor(
            policy,
            self.settler,
            self.leases,
            self.pauses,
            self.levels.may_run,
            slots=terms.slots,
            max_leaked=terms.max_leaked_threads,
            on_free=lambda: None,
            on_broken=on_broken,
        )

    def _make_reads(self, connector: Connector) -> None:
        terms = self.terms
        self.opener = Opener(self.wire, self.leases, terms, where=connector.where)
        self.reader = Reader(
            connector,
            self.levels,
            group=terms.type,
            consumer=terms.id,
            on_repaired=self.auditor.wake,
        )
        follower = Follower(
            self.opener, self.reader, self.executor, clock=self.clock, confirm=self._confirm
        )
        self.fetcher = Fetcher(
            reader=self.reader,
            leases=self.leases,
            settler=self.settler,
            reclaimer=Reclaimer(
                self.reader, self.levels, self.leases, on_missing=self.auditor.wake
            ),
            follower=follower,
            admission=self._new_admission(),
            slots=terms.slots,
            unblock=self._unblock,
            most_held=terms.prefetch,
        )
        self.executor.on_free = self.fetcher.freed

    def _new_admission(self) -> Admission:
        terms = self.terms
        return Admission(
            self.executor,
            SoloGate(self.wire, consumer=terms.id, max_deliveries=terms.max_deliveries),
            notes=NoteWriter(
                self.wire, terms.id, round(terms.log_ttl * 1000), self.archive, clock=self.clock
            ),
            epochs=self.opener.epochs,
            clock=self.clock,
        )

    def _make_renewal(self, connector: Connector, on_dead_loop: Callable[[], None]) -> None:
        self.renewer = Renewer(
            self.leases,
            connector,
            consumer=self.terms.id,
            on_lost=self.executor.lose,
            on_cancelled=self.executor.cancel,
            max_lag=self.terms.max_loop_lag,
            on_dead_loop=on_dead_loop,
        )

    def _make_upkeep(self, connector: Connector, policy: Policy) -> None:
        terms = self.terms
        self.heartbeat = Heartbeat(
            self.wire,
            terms.fleet,
            worker_id=terms.id,
            queues=terms.queues,
            facts=[
                identity(name=terms.name, type=terms.type, slots=terms.slots),
                lambda: {"started": self.executor.started(), "pauses": self.pauses.numbers()},
            ],
            # At each beat: the profile may have been replaced by then.
            state=lambda queue: self.terms.state(
                policy.events(queue), running=self.executor.running, stopping=self.pauses.closed
            ),
        )
        self.janitor = Janitor(
            self.wire,
            self.settler,
            self.leases,
            fleet=terms.fleet,
            queues=terms.queues,
            default_lanes=self.opener.default_lane,
            consumer=terms.id,
            no_handler_deadline=terms.no_handler_deadline,
            letters_max_age_ms=terms.dead_letters.max_age_ms,
        )
        self.promoters = {keys.queue: Promoter(self.wire, keys) for keys in terms.queues}
        self.relays = {
            keys.queue: Relay(self.wire, keys, bounds=terms.dead_letters) for keys in terms.queues
        }

    def _new_hints(self, connector: Connector) -> Hints:
        queues = {keys.queue: keys for keys in self.terms.queues}
        listener = Listener(
            queues, fetch=self.fetcher.wake, cancel=self.fetcher.intake.cancel,
            promoters=self.promoters, relays=self.relays, services=self.services, clock=self.clock,
        )  # fmt: skip
        channels = {keys.control: queue for queue, keys in queues.items()}
        return Hints(connector, channels, on_hint=listener.hint, on_reconnect=listener.look_at_all)

    def become(self, profile: Profile) -> None:
        """Run from now on what a worker with this profile may run; say so with the next beat."""
        self.terms = replace(self.terms, profile=profile)
        self.levels.become(profile)
        self.fetcher.wake()
        self.heartbeat.wake()

    async def register(self) -> None:
        """List this worker; full memory delays it to a later heartbeat."""
        try:
            await self.heartbeat.beat()
        except RedisError as error:
            logger.warning("worker %s is not listed yet: %s", self.heartbeat.worker_id, error)

    def start(self) -> None:
        """Begin to fetch, to renew leases and to keep the queues in order."""
        self.renewer.start()
        self._fetching = asyncio.create_task(self.fetcher.run(), name="fetcher")
        services: dict[str, Coroutine[Any, Any, None]] = {
            "heartbeat": self.heartbeat.run(),
            "janitor": self.janitor.run(),
            "auditor": self.auditor.run(),
            "hints": self.hints.run(),
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
        self.hints.stop()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.renewer.stop()
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

    async def _confirm(self) -> None:
        with contextlib.suppress(RedisError):  # The next beat says it as well.
            await self.heartbeat.beat()

    def _unblock(self, client: int) -> None:
        def told(done: asyncio.Future[object]) -> None:
            # Only a hint: when the connection is gone, the read ends by itself.
            error = None if done.cancelled() else done.exception()
            if isinstance(error, ResponseError):
                self.reader.cannot_be_woken(client, error)

        self.wire.send("CLIENT", "UNBLOCK", client).add_done_callback(told)
