"""The facade: register handlers, emit jobs, run a worker."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractAsyncContextManager
from types import ModuleType, TracebackType
from typing import Any, ClassVar, Generic, Self, Unpack

from typing_extensions import TypeVar

from consumers.admin.figures import QueueStats
from consumers.connections.connector import Connector
from consumers.jobs.names import check_name
from consumers.telemetry import Telemetry
from processors.processor import Processor
from processors.retries.retry import RetryPolicy
from taskmanager import settings
from taskmanager.admin.dlq import DeadLetterQueue
from taskmanager.admin.schedules import ScheduleHandle
from taskmanager.assembly import Assembly
from taskmanager.configuration import Configuration, RedisSource, Seconds, TaskManagerOptions
from taskmanager.emit.face import EmitFace
from taskmanager.errors import AlreadyInitializedError, AlreadyStarted, ConflictingOptions
from taskmanager.handlers.context import Context
from taskmanager.handles.handle import JobHandle
from taskmanager.handles.info import JobInfo, ScheduleInfo
from taskmanager.options.arguments import DEFAULT_QUEUE
from taskmanager.options.processor import read_processor
from taskmanager.options.tables import naming_options, same
from taskmanager.settings import Settings
from taskmanager.sync import Sync
from taskmanager.tasks.face import TaskFace
from taskmanager.tasks.task import Home

T = TypeVar("T", default=Any)


class TaskManager(EmitFace, TaskFace, Generic[T]):
    """Registers handlers, emits jobs and runs them; one object for producers and workers.

    redis is a URL (redis://, rediss://, unix://, or embedded:// for a private
    server) or a redis-py client, which lends its settings and is neither used
    nor closed; db is another name for it. With streamdb beside it, queues live
    there, and db keeps results, logs and progress only.
    ctx is what handlers find in their context; lifespan makes it instead: a
    function that returns an async context manager, entered once a worker process.
    include names modules with handlers, imported when a worker starts. processor
    says what counts for all handlers: {"retry": {...}, "dlq": {...}, "debounce": 300};
    the last skips a job whose id has completed a run within so many seconds. telemetry
    hears of the worker's outcomes, batch by batch, see consumers.telemetry.
    The other arguments and their defaults are those of Settings: durations are in
    seconds or a timedelta; what is not given comes from the environment's
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
        max_loop_lag: Seconds | None = None,
        expose: int | None = None,
        telemetry: Telemetry | None = None,
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
                "max_loop_lag": max_loop_lag,
                "expose": expose,
            },
        )
        if ctx is not None and lifespan is not None:
            raise ConflictingOptions("ctx", "lifespan", "TaskManager")
        TaskFace.__init__(self, include)
        options = read_processor(processor)
        self._retry_policy = options.retry
        assembly = Assembly(
            self._configuration,
            options,
            registry=self._registry,
            modules=self._modules,
            alerts=self._alerts,
            app={} if ctx is None else ctx,
            lifespan=lifespan,
            telemetry=telemetry,
        )
        self._jobs = assembly.jobs
        self._queues = assembly.queues
        self._schedules = assembly.schedules
        self._emitter = assembly.emitter
        self._open_tasks(Home(assembly.emitter, assembly.jobs, self._registry))
        self._context = assembly.context
        self._life = assembly.life
        self._create_processor = assembly.create_processor
        self._dlq = assembly.dlq
        self._sync = assembly.sync

    @classmethod
    def init(
        cls, redis: RedisSource | None = None, **options: Unpack[TaskManagerOptions[Any]]
    ) -> TaskManager[Any]:
        """Return the one task manager of this process, constructed by the first call.

        Takes what the constructor takes. A call with other options than the
        first one raises AlreadyInitializedError.
        """
        given: dict[str, Any] = {
            name: value for name, value in options.items() if value is not None
        }
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

    # Reading

    @property
    def sync(self) -> Sync:
        """The methods of this object that are awaited, as calls that block; for any thread."""
        return self._sync

    def get_context(self) -> Context[T]:
        """Return the context that handlers get, whose emit works outside handlers as well.

        With lifespan= it is empty until start, which fills this same object.
        """
        return self._context

    def handle(self, id: str, queue: str = DEFAULT_QUEUE) -> JobHandle:
        """Return a handle of a job by its id; it stands for the live or latest run."""
        return JobHandle(id, queue, None, jobs=self._jobs)

    async def get_job(self, id: str, queue: str = DEFAULT_QUEUE) -> JobInfo | None:
        """Return what is known of a job; None when nothing is."""
        return await self._jobs.known(queue, id)

    async def stats(self, queue: str = DEFAULT_QUEUE) -> QueueStats:
        """Return the figures of a queue."""
        return await self._queues.stats(queue)

    async def queue_names(self) -> list[str]:
        """Return the names of the queues that jobs were emitted to or workers read, sorted."""
        return await self._queues.names()

    async def drain(self, queue: str = DEFAULT_QUEUE) -> None:
        """Return when no job of a queue is waiting, due or running, wherever workers are.

        Jobs that are due later, retries included, are not waited for.
        """
        await self._queues.drain(queue)

    @property
    def dlq(self) -> DeadLetterQueue:
        """The dead letters of all queues, to be listed, read, replayed and purged."""
        return self._dlq

    # Pausing, schedules

    async def pause(
        self, queue: str = DEFAULT_QUEUE, *, event: str | None = None, wait: bool = False
    ) -> None:
        """Let no job of a queue, or of one event in it, start any more; what runs goes on.

        Emits are taken as before. With wait it returns once every live worker obeys:
        then nothing starts. A worker that is stopped or cut off is waited for until it is
        not listed any more, a minute after its last sign of life.
        """
        await self._queues.pause(queue, event, wait=wait)

    async def resume(self, queue: str = DEFAULT_QUEUE, *, event: str | None = None) -> None:
        """Take back the pause of a queue, or of one event in it; each has its own."""
        await self._queues.resume(queue, event)

    async def schedules(self, queue: str | None = None) -> list[ScheduleInfo]:
        """Return the schedules of a queue, or of all queues, with their next fires."""
        return await self._schedules.list(queue)

    def schedule(self, name: str, queue: str = DEFAULT_QUEUE) -> ScheduleHandle:
        """Return a handle of a schedule, to pause, resume, remove or run it now."""
        check_name("schedule", name)
        check_name("queue", queue)
        return ScheduleHandle(name, queue, schedules=self._schedules)

    # Running

    async def connect(self) -> None:
        """Get ready to emit and to ask on this event loop, running no handlers.

        For programs that run elsewhere what they emit, such as web applications; stop() ends
        it, and ``async with tm`` is both. Redis is connected at the first use: if it is away,
        that use raises RedisUnavailable, and the next one tries again. A second call does
        nothing. Raises NotConfigured.
        """
        await self._life.connect()

    async def start(self) -> None:
        """Run the handlers that are registered: this process becomes a worker.

        Returns when jobs are fetched; they then run on this event loop, and in threads, until
        stop(). Without handlers it only connects; see connect() for a process that has handlers
        and is not to run them. Waits connect_timeout seconds for Redis, then raises
        RedisUnavailable. A second call does nothing; while a stop is under way it waits for that
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
        third ends the process with exit code 4. When a handler blocks the event loop
        for longer than max_loop_lag, the process ends with exit code 1. Raises NoHandlers
        without any.
        """
        await self._life.run(burst=burst, on_start=on_start)

    def create_unified_processor(self) -> Processor:
        """Return the policy that a worker runs with: one Processor over all handlers.

        It has their options and middleware and what processor= says of retries; dead letters
        and debounce are the worker's. For a consumers.Consumer of your own, and for tests of
        handlers with consumers.process_job. Modules that include= names are imported.
        """
        self.import_handlers()
        return self._create_processor()

    async def until_idle(self) -> None:
        """Return when no job is waiting, held or running in this worker's queues."""
        await self._life.until_idle()

    async def __aenter__(self) -> Self:
        """Connect, running no handlers; see connect()."""
        await self.connect()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Stop; see stop()."""
        await self.stop()

    def __repr__(self) -> str:
        queues = ", ".join(self._registry.queues) or "none"
        return f"<TaskManager of {self._configuration}, queues with handlers: {queues}>"

    # Settings

    def configure(self, **values: Any) -> None:
        """Set settings that win over the constructor's; what the command line does.

        The names are those of Settings; None means not given.
        """
        if self._registry.frozen:
            raise AlreadyStarted("configure")
        self._configuration.override(values)

    @property
    def settings(self) -> Settings:
        """The settings in force; the environment is read at the first use."""
        return self._configuration.settings

    @property
    def retry_policy(self) -> RetryPolicy | None:
        """How processor= has jobs retried whose handlers do not say; None: not at all."""
        return self._retry_policy

    @property
    def queues(self) -> tuple[str, ...]:
        """The queues that a worker reads: those with handlers, or fewer when settings say so."""
        return self._registry.queues_to_read(self.settings.queues)

    @property
    def connector(self) -> Connector:
        """Where Redis is; an embedded server is started. Raises NotConfigured."""
        return self._configuration.connector

    @property
    def is_embedded(self) -> bool:
        """Whether it is to have a private server, which belongs to the process that starts it."""
        return self._configuration.is_embedded


def _differing(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    return [
        name
        for name in before.keys() | now.keys()
        if name not in before or name not in now or not same(before[name], now[name])
    ]
