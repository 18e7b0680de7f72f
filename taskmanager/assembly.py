"""Build the parts of a task manager, and open what its worker needs."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from typing import Any

from consumers.connections.wire import Wire
from consumers.consumer import Consumer
from consumers.emit.producer import Producer
from consumers.store.keys import Keys
from consumers.telemetry import Telemetry, check_telemetry
from processors.debounce import RanBefore
from processors.processor import Processor
from processors.schedules.scheduler import Scheduler
from taskmanager.admin.dlq import DeadLetterQueue
from taskmanager.admin.jobs import Jobs
from taskmanager.admin.queues import Queues
from taskmanager.admin.schedules import Schedules
from taskmanager.clients.clients import Client, Clients
from taskmanager.configuration import Configuration
from taskmanager.emit.duplicates import BETWEEN_LOOKS, Duplicates, Pace
from taskmanager.emit.emitter import Emitter
from taskmanager.handlers.alerts import Alerts
from taskmanager.handlers.context import Context, refill
from taskmanager.handlers.modules import Modules
from taskmanager.handlers.registry import Registry
from taskmanager.options.processor import ProcessorSettings
from taskmanager.sync import Sync
from taskmanager.worker.job_log import JobLog
from taskmanager.worker.lifecycle import LifeCycle
from taskmanager.worker.listeners import Listeners
from taskmanager.worker.worker import Closer, Consumes

logger = logging.getLogger("taskmanager.worker")

Lifespan = Callable[[], AbstractAsyncContextManager[Any]]


class Assembly:
    """The parts of one task manager. None of them connects before its first use.

    `app` is what handlers find in their context, until a lifespan replaces it.
    """

    def __init__(
        self,
        configuration: Configuration,
        options: ProcessorSettings,
        *,
        registry: Registry,
        modules: Modules,
        alerts: Alerts,
        app: object,
        lifespan: Lifespan | None,
        telemetry: Telemetry | None,
    ) -> None:
        self._configuration = configuration
        self._options = options
        self._registry = registry
        self._alerts = alerts
        self._lifespan = lifespan
        self._telemetry = check_telemetry(telemetry)
        self._ran_before: RanBefore | None = None
        # The policy of the latest worker.
        self._processor: Processor | None = None
        self._job_log = JobLog(self._say_handed_on)
        self._pace = Pace(BETWEEN_LOOKS)
        self.clients = Clients(self._open_client)
        self.jobs = Jobs(self.clients)
        self.queues = Queues(self.clients)
        self.schedules = Schedules(self.clients, self.jobs, self.queues)
        self.dlq = DeadLetterQueue(self.clients, self.jobs, self.queues)
        self.emitter = Emitter(self.clients, self.jobs, self.schedules, known=registry)
        self.sync = Sync(
            self.emitter, jobs=self.jobs, queues=self.queues, schedules=self.schedules, dlq=self.dlq
        )
        self.context: Context[Any] = Context(app, self.emitter)
        self.life = LifeCycle(
            registry,
            modules=modules,
            clients=self.clients,
            open_lifespan=self._open_lifespan,
            open_consumer=self._open_consumer,
            patience=lambda: self._configuration.settings.shutdown_timeout,
        )

    def _open_client(self) -> Client:
        chosen = self._configuration.settings
        producer = Producer(
            self._configuration.connector,
            namespace=chosen.namespace,
            emit_timeout=chosen.emit_timeout,
            max_queue_depth=chosen.max_queue_depth,
        )
        client = Client(
            self._configuration.connector,
            producer,
            self._configuration.archive,
            result_ttl_ms=round(chosen.result_ttl * 1000),
        )
        producer.on_dropped = Duplicates(client, self._pace).dropped
        return client

    def create_processor(self) -> Processor:
        """Return the policy of a worker: it covers every handler registered so far."""
        handlers = self._registry.bind(
            self.context,
            self.emitter,
            self._ran_before,
            deadline=self._configuration.settings.no_handler_deadline,
        )
        able = self._configuration.settings.capabilities
        return Processor(handlers, retry=self._options.retry, capabilities=able)

    def set_capabilities(self, names: Iterable[str]) -> None:
        """Change what workers of this task manager can do; the running one does so on its loop."""
        chosen = self._configuration.set_capabilities(names)
        self.life.with_consumer(lambda consumer: self._become(consumer, chosen))

    def _become(self, consumer: Consumes, capabilities: tuple[str, ...]) -> None:
        # In this order: the consumer asks the policy for its events as soon as it changes.
        if self._processor is not None:
            self._processor.set_capabilities(capabilities)
        consumer.set_capabilities(capabilities)
        logger.info("capabilities are now: %s", ", ".join(capabilities) or "none")
        self._say_left_out(capabilities)

    def _say_left_out(self, capabilities: tuple[str, ...]) -> None:
        for (queue, event), lacks in self._registry.left_out(capabilities).items():
            logger.info(
                "event %r in queue %r is left out: this worker lacks %s",
                event, queue, ", ".join(lacks),
            )  # fmt: skip

    def _open_consumer(self) -> Consumer:
        chosen = self._configuration.settings
        queues = self._registry.queues_to_read(chosen.queues)
        self._registry.refuse_idle(queues, chosen.capabilities)
        self._say_left_out(chosen.capabilities)
        self._processor = self.create_processor()
        return Consumer(
            self._configuration.connector,
            policy=self._processor,
            queues=queues,
            type=chosen.type,
            capabilities=chosen.capabilities,
            levels=chosen.levels,
            region=chosen.region,
            prefetch=chosen.prefetch,
            concurrency=chosen.concurrency,
            namespace=chosen.namespace,
            lease=chosen.lease,
            max_deliveries=chosen.max_deliveries,
            result_ttl=chosen.result_ttl,
            log_ttl=chosen.log_ttl,
            shutdown_timeout=chosen.shutdown_timeout,
            connect_timeout=chosen.connect_timeout,
            no_handler_deadline=chosen.no_handler_deadline,
            max_loop_lag=chosen.max_loop_lag,
            on_dead_loop=self.life.leave_dead_loop,
            dead_letters=self._options.bounds,
            on_dead=self._alerts,
            name=chosen.name,
            results=self._configuration.archive,
            services={"cron": self._new_scheduler},
            telemetry=self._listeners(),
        )

    def _listeners(self) -> Telemetry:
        listeners = {
            "debounce": self._ran_before,
            "the log of jobs": self._job_log,
            "telemetry": self._telemetry,
        }
        return Listeners({name: it for name, it in listeners.items() if it is not None})

    def _say_handed_on(self, queue: str, event: str) -> None:
        chosen, unhandled = self._configuration.settings, self._registry.unhandled
        deadline = chosen.no_handler_deadline
        if lacks := self._registry.left_out(chosen.capabilities).get((queue, event)):
            unhandled.handed_on_lacking(queue, event, lacks, deadline=deadline)
        else:
            unhandled.handed_on(queue, event, deadline=deadline)

    def _new_scheduler(self, wire: Wire, keys: Keys) -> Scheduler:
        return Scheduler(wire, keys, own=self._registry.schedules(keys.queue))

    async def _open_lifespan(self) -> Closer:
        async with AsyncExitStack() as stack:
            if self._lifespan is not None:
                app = await stack.enter_async_context(self._lifespan())
                refill(self.context, {} if app is None else app)
            stack.push_async_callback(self._alerts.finish)
            stack.callback(self._job_log.finish)
            self._ran_before = self._open_debounce(stack)
            return stack.pop_all().aclose

    def _open_debounce(self, stack: AsyncExitStack) -> RanBefore | None:
        """Return what skips ids that already ran, as `processor=` asks, or None.

        The stack closes its connection.
        """
        window_ms = self._options.debounce_ms
        if window_ms is None:
            return None
        chosen = self._configuration
        wire = Wire(chosen.archive or chosen.connector, name="debounce")
        stack.push_async_callback(wire.close)
        return RanBefore(wire, chosen.settings.namespace, window_ms)
