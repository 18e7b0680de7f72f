"""Start, run and stop the worker of a task manager, which has at most one at a time."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

from taskmanager.clients.clients import Clients
from taskmanager.errors import NoHandlers
from taskmanager.handlers.modules import Modules
from taskmanager.handlers.registry import Registry
from taskmanager.worker import stop_signals
from taskmanager.worker.worker import Closer, Consumes, Worker

logger = logging.getLogger("taskmanager.worker")


class LifeCycle:
    """Starts and stops a worker as often as wanted. TaskManager documents what each step promises.

    Handlers are imported before a start and cannot change until the stop. Without handlers, a start
    only makes the client of the running loop. `open_lifespan` and `open_consumer` are for the
    worker. `patience` returns how many seconds a stop gives running jobs.
    """

    def __init__(
        self,
        registry: Registry,
        *,
        modules: Modules,
        clients: Clients,
        open_lifespan: Callable[[], Awaitable[Closer]],
        open_consumer: Callable[[], Consumes],
        patience: Callable[[], float],
    ) -> None:
        self._registry = registry
        self._modules = modules
        self._clients = clients
        self._open_lifespan = open_lifespan
        self._open_consumer = open_consumer
        self._patience = patience
        self.worker: Worker | None = None
        # Whether the process exists for the worker, and must end if the worker cannot continue.
        self._owns_process = False

    async def connect(self) -> None:
        """Make the client of the running loop."""
        self._clients.here()

    async def start(self) -> None:
        """Start a worker, or only connect without handlers. Waits for a stop that is under way."""
        while (worker := self._current_worker()) is not None and worker.stopping:
            await worker.stopped()
            self._forget(worker)
        if worker is None:
            self._modules.import_all()
        if worker is None and self._registry:
            worker = self.worker = self._new_worker()
        self._registry.frozen = True
        try:
            await (worker.start() if worker is not None else self.connect())
        except BaseException:
            # Other calls may wait for the same start, or the worker may still be stopping.
            if worker is None or worker.over:
                self._forget(worker)
            raise

    async def stop(self, patience: float | None = None) -> None:
        """Stop the worker, giving running jobs `patience` seconds, and disconnect."""
        worker = self._current_worker()
        try:
            if worker is not None:
                await worker.stop(patience)
        finally:
            # After a cancelled call the stop continues; the next call does the rest.
            if worker is None or worker.ended:
                self._forget(worker)
                await self._clients.close()

    async def run(self, *, burst: bool, on_start: Callable[[], object] | None) -> None:
        """Start, and stop at a signal or, with `burst`, when idle. May raise NoHandlers."""
        self._modules.import_all()
        if not self._registry:
            raise NoHandlers(self._modules.names)
        self._owns_process = True
        stopping = asyncio.Event()
        forced: list[asyncio.Task[None]] = []

        def begin() -> None:
            self._say_stopping()
            stopping.set()

        with stop_signals.handled(
            begin, lambda: forced.append(asyncio.create_task(self.stop(0.0)))
        ):
            try:
                await _unless(stopping, self._start_and_say(on_start))
                if not stopping.is_set():
                    await _unless(stopping, self._work(burst))
            finally:
                await self.stop()
                await asyncio.gather(*forced)
                self._owns_process = False

    def leave_dead_loop(self) -> None:
        """End the process if `run` started it: its event loop seems to be dead."""
        if self._owns_process:
            logger.error(
                "exiting with code %d, because the event loop is blocked", stop_signals.FAILED
            )
            stop_signals.leave()

    async def until_idle(self) -> None:
        """Return when no job is waiting, held or running in the worker's queues."""
        worker = self._current_worker()
        if worker is not None:
            await worker.until_idle()

    def with_consumer(self, action: Callable[[Consumes], object]) -> None:
        """Call a function with the worker's consumer, on its loop, if there is one."""
        if self.worker is not None:
            self.worker.with_consumer(action)

    def _say_stopping(self) -> None:
        running = 0 if self.worker is None else self.worker.running
        if not running:
            logger.info("stopping: no jobs are running")
            return
        jobs, them = (
            ("1 running job", "it") if running == 1 else (f"{running:,} running jobs", "them")
        )
        logger.info(
            "stopping: waiting up to %g s for %s; a second Ctrl-C or SIGTERM cancels %s",
            self._patience(), jobs, them,
        )  # fmt: skip

    async def _start_and_say(self, on_start: Callable[[], object] | None) -> None:
        await self.start()
        if on_start is not None:
            on_start()

    async def _work(self, burst: bool) -> None:
        """Return when a burst is over; raise WorkerBroken if the worker stops on its own."""
        assert self.worker is not None, "the worker was not started"
        ends = [asyncio.ensure_future(self.worker.until_broken())]
        if burst:
            ends.append(asyncio.ensure_future(self.until_idle()))
        try:
            done, _ = await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for end in ends:
                end.cancel()
        for end in done:
            end.result()

    def _new_worker(self) -> Worker:
        return Worker(open_lifespan=self._open_lifespan, open_consumer=self._open_consumer)

    def _current_worker(self) -> Worker | None:
        """Return the worker, or None if its loop was closed without a stop: it ended with the loop.

        Raises OtherLoop if it runs on another loop.
        """
        if self.worker is not None and self.worker.loop.is_closed():
            self.worker = None
        if self.worker is not None:
            self.worker.refuse_other_loop()
        return self.worker

    def _forget(self, worker: Worker | None) -> None:
        if worker is self.worker:
            self.worker = None
            self._registry.frozen = False


async def _unless(stopping: asyncio.Event, work: Coroutine[Any, Any, None]) -> None:
    """Await work, or cancel it as soon as `stopping` is set."""
    task = asyncio.ensure_future(work)
    waiting = asyncio.ensure_future(stopping.wait())
    try:
        await asyncio.wait([task, waiting], return_when=asyncio.FIRST_COMPLETED)
    finally:
        waiting.cancel()
        if not task.done():
            task.cancel()
            await asyncio.wait([task])
    if not task.cancelled():
        task.result()
