"""The facade: register handlers, emit jobs, run a worker."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractAsyncContextManager
from types import ModuleType, TracebackType
from typing import Any, ClassVar, Generic, Self, Unpack

from typing_extensions import TypeVar

from consumers.connections.connector import Connector
from consumers.telemetry import Telemetry
from processors.processor import Processor
from processors.retries.retry import RetryPolicy
from taskmanager import settings
from taskmanager.admin.face import AdminFace
from taskmanager.assembly import Assembly
from taskmanager.configuration import Configuration, RedisSource, Seconds, TaskManagerOptions
from taskmanager.emit.face import EmitFace
from taskmanager.errors import AlreadyInitializedError, AlreadyStarted, ConflictingOptions
from taskmanager.handlers.context import Context
from taskmanager.options.processor import read_processor
from taskmanager.options.tables import naming_options, same
from taskmanager.settings import Settings
from taskmanager.sync import Sync
from taskmanager.tasks.face import TaskFace
from taskmanager.tasks.task import Home

T = TypeVar("T", default=Any)


class TaskManager(EmitFace, TaskFace, AdminFace, Generic[T]):
    """Registers handlers, emits jobs and runs workers. Producers and workers use the same class.

    Creating a task manager connects to nothing; Redis is contacted at the first use.

    - `redis`: where Redis is: a URL (`redis://`, `rediss://`, `unix://`, or `embedded://` for a
      private server that this process starts) or a redis-py client. A client only lends its
      connection settings; it is never used or closed. `db` is another name for this argument.
    - `streamdb`: a second Redis, for the queues. `db` then keeps results, logs and progress only.
    - `ctx`: the object whose contents handlers find in their context, see `Context`.
    - `lifespan`: a function that returns an async context manager. A worker enters it when it
      starts and leaves it when it stops; what it yields takes the place of `ctx`.
    - `include`: modules with handlers or tasks, imported when a worker starts.
    - `processor`: rules for every handler, see `ProcessorOptions`: retries, dead letters, and how
      long an id that has completed is skipped.
    - `telemetry`: an object with a method `settled_many`. The worker calls it with each batch of
      recorded outcomes; see `consumers.telemetry`.

    The other arguments are settings; `Settings` explains them and has their defaults. Durations are
    seconds or a timedelta. A setting that is not given comes from the environment variable
    `TASKMANAGER_` plus its name in capitals, such as `TASKMANAGER_LEASE`.

    Raises a subclass of InvalidInput if an argument is not allowed.
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
        type: str | None = None,
        capabilities: Iterable[str] | None = None,
        levels: Iterable[int] | None = None,
        region: str | None = None,
        prefetch: int | None = None,
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
                "type": type,
                "capabilities": capabilities,
                "levels": levels,
                "region": region,
                "prefetch": prefetch,
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
        self._set_capabilities = assembly.set_capabilities
        self._dlq = assembly.dlq
        self._sync = assembly.sync

    @classmethod
    def init(
        cls, redis: RedisSource | None = None, **options: Unpack[TaskManagerOptions[Any]]
    ) -> TaskManager[Any]:
        """Return the one task manager of this process. The first call creates it.

        Takes the constructor's arguments. Later calls may leave them out or repeat them; a call
        with other arguments than the first raises AlreadyInitializedError.
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
        """Make the next `init` create a new task manager; for tests. The old one is not stopped."""
        with TaskManager._singleton_lock:
            TaskManager._singleton = None
            TaskManager._singleton_options = {}

    # Reading

    @property
    def sync(self) -> Sync:
        """Blocking versions of the awaitable methods, for threads without an event loop."""
        return self._sync

    def get_context(self) -> Context[T]:
        """Return the context that handlers receive. Its `emit` works outside handlers as well.

        With `lifespan=` the context is empty until a worker starts and fills this same object.
        """
        return self._context

    # Running

    async def connect(self) -> None:
        """Prepare this event loop for emitting and reading. No handlers run.

        Use it in programs that leave the work to separate workers, such as web applications. Call
        `stop()` at the end, or use `async with tm`, which does both. Redis itself is contacted at
        the first use. If it is away, that use raises RedisUnavailable and the next one tries again.
        Calling it again does nothing. Raises NotConfigured if no Redis was given.
        """
        await self._life.connect()

    async def start(self) -> None:
        """Start a worker in this process: run the registered handlers until `stop()`.

        Returns once jobs are being fetched. Handlers then run on this event loop and in threads.
        Without handlers it only connects. A process that has handlers but must not run them calls
        `connect()` instead.

        Waits up to `connect_timeout` seconds for Redis, then raises RedisUnavailable. Calling it
        again does nothing; during a stop it waits for the stop and starts again. While the worker
        runs, registering a handler raises AlreadyStarted.
        """
        await self._life.start()

    async def stop(self, timeout: Seconds | None = None) -> None:
        """Stop the worker and disconnect. Running jobs may finish; emitted jobs are sent first.

        No new jobs start. Jobs still running after `timeout` seconds (default: the setting
        `shutdown_timeout`) are cancelled and returned to the queue, without counting as failed.
        `timeout=0` does so at once, even while another call is still waiting.

        Returns at once if nothing was started. The task manager may be started again. An error that
        the lifespan raises at its end is raised here, after everything else has stopped.
        """
        patience = None if timeout is None else settings.seconds("timeout", timeout)
        await self._life.stop(patience)

    async def run(
        self, *, burst: bool = False, on_start: Callable[[], object] | None = None
    ) -> None:
        """Run a worker until SIGTERM or SIGINT, as the command `worker` does.

        - `burst`: also stop when nothing is left to do.
        - `on_start`: called once, when jobs are being fetched.

        The first signal lets running jobs finish, the second cancels them, and the third ends the
        process with exit code 4. The process ends with exit code 1 if a handler blocks the event
        loop for longer than `max_loop_lag`. Raises NoHandlers if none are registered, and
        WorkerBroken if the worker cannot continue.
        """
        await self._life.run(burst=burst, on_start=on_start)

    def set_capabilities(self, names: Iterable[str]) -> None:
        """Set the capabilities of the worker, in place of the others, even while it runs.

        Call it from any thread, for example when a device fails, or in the lifespan. Jobs that
        require a missing one and have not begun go to other workers; running jobs continue. Without
        a worker, it counts for the next start. Raises a kind of InvalidInput.
        """
        self._set_capabilities(names)

    @property
    def left_out(self) -> dict[tuple[str, str], list[str]]:
        """The handlers that a worker leaves out here, as (queue, event), with what it lacks."""
        return self._registry.left_out(self.settings.capabilities)

    def create_unified_processor(self) -> Processor:
        """Return the policy that this task manager's worker uses: a Processor over all handlers.

        It contains the handlers, their options, the middleware and the retry rules of `processor=`.
        Limits of dead letters and debounce are left out; a worker adds them. So are handlers that
        require capabilities which the settings do not name. Pass it to `consumers.Consumer`, or to
        `consumers.process_job` to test a handler. Modules named by `include=` are imported.
        """
        self.import_handlers()
        return self._create_processor()

    async def until_idle(self) -> None:
        """Wait until no job is waiting in this worker's queues, and none is held or running here.

        Delayed jobs and retries that are not due yet do not count. Without a worker it returns.
        """
        await self._life.until_idle()

    async def __aenter__(self) -> Self:
        """Connect, without running handlers; see `connect()`."""
        await self.connect()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Stop; see `stop()`."""
        await self.stop()

    def __repr__(self) -> str:
        queues = ", ".join(self._registry.queues) or "none"
        return f"<TaskManager of {self._configuration}, queues with handlers: {queues}>"

    # Settings

    def configure(self, **values: Any) -> None:
        """Set settings that override the constructor and the environment, as the command line does.

        Takes the names of `Settings`; None means not given. Raises AlreadyStarted while a worker
        runs, UnknownOption and InvalidOption.
        """
        if self._registry.frozen:
            raise AlreadyStarted("configure")
        self._configuration.override(values)

    @property
    def settings(self) -> Settings:
        """The settings in force. The environment is read at the first use."""
        return self._configuration.settings

    @property
    def retry_policy(self) -> RetryPolicy | None:
        """The retry policy that `processor=` sets for all handlers. None if it sets no retries."""
        return self._retry_policy

    @property
    def queues(self) -> tuple[str, ...]:
        """The queues that a worker reads: the setting `queues`, or all queues with a handler.

        Raises InvalidOption if the setting names a queue without a handler.
        """
        return self._registry.queues_to_read(self.settings.queues)

    @property
    def connector(self) -> Connector:
        """What opens connections to Redis. Starts an embedded server if one is configured.

        Raises NotConfigured if no Redis was given.
        """
        return self._configuration.connector

    @property
    def is_embedded(self) -> bool:
        """Whether a private server is configured, which ends with the process that starts it."""
        return self._configuration.is_embedded


def _differing(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    return [
        name
        for name in before.keys() | now.keys()
        if name not in before or name not in now or not same(before[name], now[name])
    ]
