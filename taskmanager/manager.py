"""The facade: register handlers, emit jobs, run a worker."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from datetime import timedelta
from types import ModuleType, TracebackType
from typing import Any, ClassVar, Generic, Self, Unpack

from typing_extensions import TypeVar

from consumers.connection import Connector
from consumers.consumer import Consumer
from consumers.inspector import QueueStats
from consumers.producer import Producer
from processors.processor import Processor
from taskmanager import settings
from taskmanager.clients import Client, Clients
from taskmanager.configuration import Configuration, RedisSource
from taskmanager.context import Context, refill
from taskmanager.dlq import DeadLetterQueue
from taskmanager.emission import Emission
from taskmanager.emitter import Emitter
from taskmanager.errors import (
    AlreadyInitializedError,
    AlreadyStarted,
    ConflictingOptions,
    InvalidOption,
)
from taskmanager.facts import JobInfo
from taskmanager.handle import JobHandle
from taskmanager.lifecycle import LifeCycle
from taskmanager.options import naming_options, same
from taskmanager.policies import read_policies
from taskmanager.reader import Reader
from taskmanager.registrar import Registrar
from taskmanager.request import DEFAULT_QUEUE, EmitArguments
from taskmanager.settings import Settings
from taskmanager.sync import Sync
from taskmanager.sync_handle import SyncJobHandle
from taskmanager.worker import Closer

T = TypeVar("T", default=Any)

Seconds = float | timedelta


class TaskManager(Registrar, Generic[T]):
    """Registers handlers, emits jobs and runs them; one object for producers and workers.

    redis is a URL (redis://, rediss://, unix://, or embedded:// for a private
    server) or a redis-py client, which lends its settings and is neither used
    nor closed; db is another name for it. With streamdb beside it, queues live
    there, and db keeps results, logs and progress only.
    ctx is what handlers find in their context; lifespan makes it instead: a
    function that returns an async context manager, entered once a worker process.
    include names modules with handlers, imported when a worker starts. processor
    says what counts for all handlers: {"retry": {...}, "dlq": {...}}.
    The other arguments and their defaults are in taskmanager.settings: durations
    are in seconds or a timedelta; what is not given comes from the environment's
    TASKMANAGER_<NAME>. Nothing is connected before the first use.
    """

    _singleton: ClassVar[TaskManager[Any] | None] = None
    _singleton_options: ClassVar[Mapping[str, Any]] = {}
    _singleton_lock: ClassVar[threading.Lock] = threading.Lock()

    @naming_options("TaskManager")
    def __init__(
        self,
        redis: RedisSource | None = None,
        *,
        db: RedisSource | None = None,
        streamdb: RedisSource | None = None,
        ctx: T | None = None,
        lifespan: Callable[[], AbstractAsyncContextManager[T]] | None = None,
        include: Iterable[str | ModuleType] = (),
        concurrency: int | None = None,
        processor: Mapping[str, Any] | None = None,
        namespace: str | None = None,
        lease: Seconds | None = None,
        max_deliveries: int | None = None,
        result_ttl: Seconds | None = None,
        log_ttl: Seconds | None = None,
        emit_timeout: Seconds | None = None,
        connect_timeout: Seconds | None = None,
        shutdown_timeout: Seconds | None = None,
        max_queue_depth: int | None = None,
        no_handler_deadline: Seconds | None = None,
    ) -> None:
        self._configuration = Configuration(
            redis,
            db=db,
            streamdb=streamdb,
            given={
                "concurrency": concurrency,
                "namespace": namespace,
                "lease": lease,
                "max_deliveries": max_deliveries,
                "result_ttl": result_ttl,
                "log_ttl": log_ttl,
                "emit_timeout": emit_timeout,
                "connect_timeout": connect_timeout,
                "shutdown_timeout": shutdown_timeout,
                "max_queue_depth": max_queue_depth,
                "no_handler_deadline": no_handler_deadline,
            },
        )
        self._policies = read_policies(processor)
        if ctx is not None and lifespan is not None:
            raise ConflictingOptions("ctx", "lifespan", "TaskManager")
        self._lifespan = lifespan
        super().__init__(include)
        self._clients = Clients(self._open_client)
        self._reader = Reader(self._clients)
        self._emitter = Emitter(self._clients, self._reader, check=self._registry.check_payload)
        self._context: Context[Any] = Context({} if ctx is None else ctx, self._emitter)
        self._life = LifeCycle(
            self._registry,
            modules=self._modules,
            clients=self._clients,
            open_lifespan=self._open_lifespan,
            open_consumer=self._open_consumer,
        )
        self.dlq = DeadLetterQueue(self._clients, self._reader)
        self.sync = Sync(self._emitter, self._reader, self.dlq)

    @classmethod
    def init(cls, redis: RedisSource | None = None, **options: Any) -> TaskManager[Any]:
        """Return the one task manager of this process, constructed by the first call.

        Takes what the constructor takes. A call with other options than the
        first one raises AlreadyInitializedError.
        """
        given = {name: value for name, value in options.items() if value is not None}
        if redis is not None:
            given["redis"] = redis
        with TaskManager._singleton_lock:
            if TaskManager._singleton is None:
                TaskManager._singleton = cls(**given)
                TaskManager._singleton_options = given
            elif differing := _differing(TaskManager._singleton_options, given):
                raise AlreadyInitializedError(differing)
            return TaskManager._singleton

    @classmethod
    def reset(cls) -> None:
        """Let init construct anew; for tests. The old one is not stopped."""
        with TaskManager._singleton_lock:
            TaskManager._singleton = None
            TaskManager._singleton_options = {}

    # Emitting

    def emit(self, event: str, **arguments: Unpack[EmitArguments]) -> Emission:
        """Emit a job; await what is returned to have it confirmed and get its JobHandle.

            await tm.emit("send-email", queue="emails", data={"to": "ada@example.com"})

        EmitArguments says what may be given. The job is checked and on its way
        when the call returns, awaited or not. Outside a handler, what was not
        awaited may be lost with an event loop that ends: await it, or leave
        ``async with tm`` or call stop() before. In a handler, it is awaited
        before the job ends, and a failure of it fails the job; in a synchronous
        handler the call itself blocks until confirmed.

        Raises InvalidInput of some kind before anything is sent, NoEventLoop in
        a thread without a loop (use emit_sync), OwnJob for the id that is
        running. Awaiting raises QueueFull, TooManyLanes, BrokenKey or, when
        Redis did not answer for emit_timeout seconds, RedisUnavailable.
        """
        return self._emitter.emit(event, arguments)

    async def emit_many(self, items: Iterable[Mapping[str, Any]]) -> list[JobHandle]:
        """Emit many jobs, each a dict of what emit takes; return their handles in order.

        All are checked before the first is sent. Failures later raise
        EmitManyError, which has the handles of the jobs that are stored.
        """
        return await self._emitter.emit_many(items)

    def emit_sync(self, event: str, **arguments: Unpack[EmitArguments]) -> SyncJobHandle:
        """Emit a job from a thread without an event loop; return when Redis has it.

        Works in any thread and in forked children (Flask, Django, scripts). On
        a running event loop it raises LoopIsRunning.
        """
        return self.sync.emit(event, **arguments)

    def get_context(self) -> Context[T]:
        """Return the context that handlers get, whose emit works outside handlers as well.

        With lifespan= it is empty until start, which fills this same object.
        """
        return self._context

    # Reading

    def handle(self, id: str, queue: str = DEFAULT_QUEUE) -> JobHandle:
        """Return a handle of a job by its id; it stands for the live or latest run."""
        return JobHandle(id, queue, None, reader=self._reader)

    async def get_job(self, queue: str, id: str) -> JobInfo | None:
        """Return what is known of a job; None when nothing is."""
        return await self._reader.job(queue, id)

    async def stats(self, queue: str = DEFAULT_QUEUE) -> QueueStats:
        """Return the figures of a queue."""
        return await self._reader.stats(queue)

    async def queue_names(self) -> list[str]:
        """Return the names of the queues that jobs were emitted to or workers read, sorted."""
        return await self._reader.queue_names()

    async def drain(self, queue: str = DEFAULT_QUEUE) -> None:
        """Return when no job of a queue is waiting, due or running, wherever workers are.

        Jobs that are due later, retries included, are not waited for.
        """
        await self._reader.drain(queue)

    # Running

    async def start(self) -> None:
        """Connect and, when handlers are registered, run their jobs; return when they are fetched.

        Waits connect_timeout seconds for Redis, then raises RedisUnavailable.
        A second call does nothing; while a stop is under way it waits for that
        and starts anew. Handlers cannot be registered any more.
        """
        await self._life.start()

    async def stop(self, timeout: Seconds | None = None) -> None:
        """Fetch no more, let running jobs finish, send what was emitted, disconnect.

        Jobs that still run after timeout seconds (default shutdown_timeout) are
        cancelled and handed back, without a failure counted; 0 does so at once,
        also while another stop waits. A stopped or never started one returns at
        once. It may be started again. What the lifespan raises at its end is
        raised when everything has stopped.
        """
        patience = None if timeout is None else settings.seconds("timeout", timeout)
        await self._life.stop(patience)

    async def run(
        self, *, burst: bool = False, on_start: Callable[[], object] | None = None
    ) -> None:
        """Start, and stop at SIGTERM or SIGINT; with burst, also when nothing is left to do.

        on_start is called once jobs are fetched, for those who wait for that.
        The first signal lets running jobs finish, the second cancels them, the
        third ends the process with exit code 4. Raises NoHandlers without any.
        """
        await self._life.run(burst=burst, on_start=on_start)

    async def until_idle(self) -> None:
        """Return when no job is waiting, held or running in this worker's queues."""
        await self._life.until_idle()

    async def __aenter__(self) -> Self:
        await self._life.connect()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.stop()

    # Settings

    def configure(self, **values: Any) -> None:
        """Set settings that win over the constructor's; what the command line does.

        The names are in taskmanager.settings; None means not given.
        """
        if self._registry.frozen:
            raise AlreadyStarted("configure")
        self._configuration.override(values)

    @property
    def settings(self) -> Settings:
        """The settings in force; the environment is read at the first use."""
        return self._configuration.settings

    @property
    def queues(self) -> tuple[str, ...]:
        """The queues that a worker reads: those with handlers, or fewer when settings say so."""
        registered = self._registry.queues
        wanted = self.settings.queues or registered
        if unhandled := [queue for queue in wanted if queue not in registered]:
            raise InvalidOption(
                "queues",
                ",".join(unhandled),
                f"it has no handler; queues with handlers: {', '.join(registered) or 'none'}",
            )
        return wanted

    @property
    def connector(self) -> Connector:
        """Where Redis is; an embedded server is started. Raises NotConfigured."""
        return self._configuration.connector

    def _open_client(self) -> Client:
        producer = Producer(
            self.connector,
            namespace=self.settings.namespace,
            emit_timeout=self.settings.emit_timeout,
            max_queue_depth=self.settings.max_queue_depth,
        )
        return Client(self.connector, producer, self._configuration.kept_connector)

    def _open_consumer(self) -> Consumer:
        chosen = self.settings
        return Consumer(
            self.connector,
            policy=Processor(
                self._registry.bind(self._context, self._emitter), retry=self._policies.retry
            ),
            queues=self.queues,
            concurrency=chosen.concurrency,
            namespace=chosen.namespace,
            lease=chosen.lease,
            max_deliveries=chosen.max_deliveries,
            result_ttl=chosen.result_ttl,
            log_ttl=chosen.log_ttl,
            shutdown_timeout=chosen.shutdown_timeout,
            connect_timeout=chosen.connect_timeout,
            no_handler_deadline=chosen.no_handler_deadline,
            dead_letters=self._policies.bounds,
            on_dead=self._alerts,
            name=chosen.name,
            results=self._configuration.kept_connector,
        )

    async def _open_lifespan(self) -> Closer:
        async with AsyncExitStack() as stack:
            if self._lifespan is not None:
                app = await stack.enter_async_context(self._lifespan())
                refill(self._context, {} if app is None else app)
            stack.push_async_callback(self._alerts.finish)
            return stack.pop_all().aclose


def _differing(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    return [
        name
        for name in before.keys() | now.keys()
        if name not in before or name not in now or not same(before[name], now[name])
    ]
