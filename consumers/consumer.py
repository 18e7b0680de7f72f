"""A consumer: fetches jobs of its queues, runs them, records their outcomes."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType

from redis.exceptions import RedisError

from consumers.assembly import LAST_WORDS, Parts
from consumers.connections.connector import Connector
from consumers.jobs.bounds import DeadLetterBounds
from consumers.jobs.lanes import DEFAULT_TYPE
from consumers.jobs.outcome import Buried
from consumers.policy import Policy
from consumers.settle.archive import Archive
from consumers.store.delivery import Delivery
from consumers.store.settling import Settled
from consumers.telemetry import Telemetry, check_telemetry, tell
from consumers.terms import Terms
from consumers.upkeep.service import ServiceMaker

logger = logging.getLogger("taskmanager.worker")

# How long handlers get to end after they were cancelled.
CANCEL_PATIENCE = 2.0


class Consumer:
    """Fetches jobs of some queues, runs them on this event loop, and records their outcomes.

    Arguments:

    - `redis`: a URL, a redis-py client, or a Connector.
    - `policy`: which handlers there are, and what the end of a run means; for example a Processor.
    - `queues`: the queues to read.
    - `type`, `capabilities`, `levels`, `region`, `name`: what this worker is and can do, see
      `consumers.jobs.routes.Profile`. It gets only jobs that it may run.
    - `prefetch`: how many jobs it may hold beside those that run; None leaves that to it.
    - `concurrency`, `namespace`, `lease`, `max_deliveries`, `result_ttl`, `log_ttl`,
      `shutdown_timeout`, `connect_timeout`, `no_handler_deadline`, `max_loop_lag`: as in
      `taskmanager.Settings`. Durations are in seconds.
    - `max_leaked_threads`: how many runs may continue in their threads after their timeout. With
      more, the consumer returns its jobs to the queue and stops.
    - `dead_letters`: how many dead letters are kept, and for how long.
    - `on_dead`: called with the delivery and the outcome of each job that was recorded as dead.
    - `on_dead_loop`: called in a thread when the event loop was blocked for `max_loop_lag`; it may
      end the process.
    - `results`: another Redis for results, logs and progress.
    - `services`: functions that make background services to run beside the jobs, by name.
    - `telemetry`: receives the outcomes, see `consumers.telemetry`.

    It keeps some of these as attributes. `terms` has the checked settings. `broken` is an
    asyncio.Event that is set if the consumer stopped because it cannot continue; `broken_because`
    is the reason. `settled` counts the outcomes recorded since the start, and `fenced` the rejected
    ones, whose jobs other workers had taken over.
    """

    def __init__(
        self,
        redis: object,
        *,
        policy: Policy,
        queues: Sequence[str] = ("default",),
        type: str = DEFAULT_TYPE,
        capabilities: Iterable[str] = (),
        levels: Iterable[int] | None = None,
        region: str | None = None,
        concurrency: int = 1,
        prefetch: int | None = None,
        namespace: str = "tm",
        lease: float = 30.0,
        max_deliveries: int = 5,
        result_ttl: float = 300.0,
        log_ttl: float = 86400.0,
        shutdown_timeout: float = 25.0,
        connect_timeout: float = 30.0,
        no_handler_deadline: float = 3600.0,
        max_leaked_threads: int = 8,
        max_loop_lag: float = 3600.0,
        dead_letters: DeadLetterBounds = DeadLetterBounds(),  # noqa: B008 - it is frozen
        on_dead: Callable[[Delivery, Buried], None] | None = None,
        on_dead_loop: Callable[[], None] = lambda: None,
        name: str | None = None,
        results: object | None = None,
        services: Mapping[str, ServiceMaker] = MappingProxyType({}),
        telemetry: Telemetry | None = None,
    ) -> None:
        self.terms = Terms.checked(
            name=name,
            type=type,
            capabilities=capabilities,
            levels=levels,
            region=region,
            namespace=namespace,
            queues=queues,
            concurrency=concurrency,
            prefetch=prefetch,
            lease=lease,
            max_deliveries=max_deliveries,
            result_ttl=result_ttl,
            log_ttl=log_ttl,
            shutdown_timeout=shutdown_timeout,
            connect_timeout=connect_timeout,
            no_handler_deadline=no_handler_deadline,
            max_leaked_threads=max_leaked_threads,
            max_loop_lag=max_loop_lag,
            dead_letters=dead_letters,
        )
        self.policy = policy
        self.services = services
        self.on_dead = on_dead
        self.on_dead_loop = on_dead_loop
        self.telemetry = check_telemetry(telemetry)
        self._connector = Connector.of(redis)
        self._results = None if results is None else Connector.of(results)
        # Set when it stops by itself because it cannot go on; broken_because says why.
        self.broken = asyncio.Event()
        self.broken_because: str | None = None
        # Counted since the start: jobs whose outcome was recorded, and refused ones.
        self.settled = 0
        self.fenced = 0
        self._parts: Parts | None = None
        # Those of a start that is under way.
        self._starting: Parts | None = None
        self._stopping: asyncio.Task[None] | None = None
        self._breaking: asyncio.Task[None] | None = None

    @property
    def id(self) -> str:
        """The id of this start of the worker in Redis. Every start has a new one."""
        return self.terms.id

    @property
    def running(self) -> int:
        """How many jobs are running."""
        return self._parts.executor.running if self._parts is not None else 0

    async def start(self) -> None:
        """Connect, prepare the queues, and begin to fetch jobs.

        Waits `connect_timeout` seconds for Redis, then raises RedisUnavailable. Raises
        LayoutMismatch if a queue belongs to an incompatible version. Does nothing if it runs
        already.
        """
        if self._parts is not None:
            return
        parts = self._starting = self._assembled()
        try:
            await parts.opener.open_all(self.terms.connect_timeout)
            # Who pauses a queue waits for the workers that are listed.
            await parts.register()
        except BaseException:
            await parts.close()
            raise
        finally:
            self._starting = None
        self._parts = parts
        self.broken.clear()
        self.broken_because = None
        parts.start()
        logger.info("worker %s started, ready for jobs", self.id)

    async def stop(self, timeout: float | None = None) -> None:
        """Stop fetching, return waiting jobs to the queue, let running jobs finish, and disconnect.

        Jobs that still run after `timeout` seconds (default: `shutdown_timeout`) are cancelled and
        returned to the queue, without counting as failed. Another call with a shorter timeout
        shortens the first.
        """
        if self._parts is None:
            return
        patience = self.terms.shutdown_timeout if timeout is None else timeout
        parts = self._parts
        parts.grace_ends = min(parts.grace_ends, time.monotonic() + patience)
        parts.grace_shortened.set()
        if self._stopping is None:
            self._stopping = asyncio.create_task(self._stop(parts))
        await asyncio.shield(self._stopping)

    def set_capabilities(self, names: Iterable[str]) -> None:
        """Have these capabilities, and no others, from now on.

        Jobs that require others and have not begun go back to their lanes; those that run continue.
        Raises InvalidName for a value that is not a name.
        """
        profile = self.terms.profile.with_capabilities(names)
        self.terms = replace(self.terms, profile=profile)
        # A start may take long, and change as well.
        for parts in (self._parts, self._starting):
            if parts is not None:
                parts.become(profile)

    async def until_idle(self) -> None:
        """Return when nothing waits in the lanes of this consumer, and nothing runs here.

        Delayed jobs and retries that are not due yet do not count.
        """
        while self._parts is not None and self._stopping is None:
            with contextlib.suppress(RedisError):
                if self._is_quiet() and await self._waiting() == 0 and self._is_quiet():
                    return
            await asyncio.sleep(0.05)

    # What the parts tell

    def settled_many(self, settled: Sequence[Settled]) -> None:
        """Count outcomes that Redis has answered, and pass them to the telemetry. Internal."""
        if self.telemetry is not None:
            telemetry = self.telemetry
            tell("telemetry", settled, lambda: telemetry.settled_many(settled))
        for it in settled:
            if not it.recorded:
                self.fenced += 1
                job_id = it.settlement.delivery.envelope.id
                logger.warning(
                    "the outcome of job %s was rejected (lease lost); another worker may run it",
                    job_id,
                )
                continue
            self.settled += 1
            if isinstance(it.settlement.outcome, Buried):
                self._tell_dead(it, it.settlement.outcome)

    def _tell_dead(self, settled: Settled, buried: Buried) -> None:
        on_dead, delivery = self.on_dead, settled.settlement.delivery
        if on_dead is not None:
            tell("on_dead", [settled], lambda: on_dead(delivery, buried))

    def _assembled(self) -> Parts:
        return Parts(
            self.terms,
            self._connector,
            self.policy,
            archive=self._new_archive(),
            services=self.services,
            on_settled=self.settled_many,
            on_broken=self.stop_broken,
            on_dead_loop=self.on_dead_loop,
        )

    def _new_archive(self) -> Archive | None:
        """Return where results are kept when they have a Redis of their own."""
        if self._results is None:
            return None
        ttl_ms = round(self.terms.result_ttl * 1000)
        return Archive(self._results, consumer=self.id, result_ttl_ms=ttl_ms)

    # Stopping

    def stop_broken(self, why: str) -> None:
        """Return every job to the queue and stop, because this process cannot continue."""
        if self.broken.is_set():
            return
        logger.error("worker %s cannot continue and is stopping: %s", self.id, why)
        self.broken_because = why
        self.broken.set()
        self._breaking = asyncio.create_task(self.stop())

    async def _stop(self, parts: Parts) -> None:
        try:
            await self._wind_down(parts)
        finally:
            await parts.close(say_goodbye=True)
            self._parts = None
            self._stopping = None
            logger.info("worker %s stopped: %s", self.id, self._recorded())

    def _recorded(self) -> str:
        outcomes = "outcome" if self.settled == 1 else "outcomes"
        rejected = f", {self.fenced:,} rejected (lease lost)" if self.fenced else ""
        return f"{self.settled:,} {outcomes} recorded{rejected}"

    async def _wind_down(self, parts: Parts) -> None:
        parts.fetcher.stop()
        parts.fetcher.release_held()
        await parts.fetched()
        parts.fetcher.release_held()
        await parts.start_no_more()
        await parts.run_down()
        await parts.executor.release_all(patience=CANCEL_PATIENCE)
        parts.settler.hurry()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LAST_WORDS):
                await parts.settler.flushed()

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
        waiting = 0 if streams or parts.pauses.any else 1
        for stream in streams:
            length, pending = await asyncio.gather(
                parts.wire.send("XLEN", stream.key),
                parts.wire.send("XPENDING", stream.key, stream.group),
            )
            waiting += length - pending[0]
        for keys in self.terms.queues:
            waiting += await parts.wire.send("XLEN", keys.outbox)
        return waiting
