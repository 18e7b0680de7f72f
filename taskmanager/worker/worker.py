"""The worker inside a task manager: its lifespan and its consumer, from start to stop."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from typing import Protocol

from taskmanager.clients.portal import running_loop
from taskmanager.errors import OtherLoop, WorkerBroken
from taskmanager.worker import logs

# Closes the lifespan.
Closer = Callable[[], Awaitable[object]]


class Consumes(Protocol):
    """What a worker needs from the engine's consumer. `broken` is set when it stops on its own."""

    broken: asyncio.Event
    broken_because: str | None

    @property
    def running(self) -> int:
        """How many jobs are running."""

    async def start(self) -> None:
        """Return when jobs are being fetched."""

    async def stop(self, timeout: float | None = None) -> None:
        """Let running jobs finish for `timeout` seconds; a later call may shorten that."""

    async def until_idle(self) -> None:
        """Return when no job is waiting, held or running."""

    def set_capabilities(self, names: Iterable[str]) -> None:
        """Have these capabilities, and no others, from now on."""


class Worker:
    """Starts once and stops once, on the event loop on which it was made.

    `open_lifespan` returns what closes the lifespan again. `open_consumer` is called once the
    lifespan is open.
    """

    def __init__(
        self,
        *,
        open_lifespan: Callable[[], Awaitable[Closer]],
        open_consumer: Callable[[], Consumes],
    ) -> None:
        self.loop = asyncio.get_running_loop()
        self._open_lifespan = open_lifespan
        self._open_consumer = open_consumer
        self._starting: asyncio.Task[None] | None = None
        # How many calls wait for the start, and whether any of them has returned.
        self._starters = 0
        self._started = False
        self._stopping: asyncio.Task[None] | None = None
        self._consumer: Consumes | None = None
        self._close_lifespan: Closer | None = None

    @property
    def running(self) -> int:
        """How many jobs are running."""
        return 0 if self._consumer is None else self._consumer.running

    @property
    def stopping(self) -> bool:
        """Whether stop was called."""
        return self._stopping is not None

    @property
    def ended(self) -> bool:
        """Whether a stop has finished, well or not."""
        return self._stopping is not None and self._stopping.done()

    @property
    def over(self) -> bool:
        """Whether nothing of it is left: it was stopped, or its start failed."""
        if self._stopping is not None or self._starting is None:
            return self.ended
        return self._starting.done() and not _went_well(self._starting)

    def refuse_other_loop(self) -> None:
        """Raise OtherLoop unless called on the worker's own loop."""
        if asyncio.get_running_loop() is not self.loop:
            raise OtherLoop()

    async def start(self) -> None:
        """Return when jobs are being fetched. Concurrent calls wait for one start.

        A start that fails stops the worker, and so does a start whose callers were all cancelled.
        """
        if self._starting is None:
            self._starting = asyncio.create_task(self._start())
        self._starters += 1
        try:
            await asyncio.shield(self._starting)
            self._started = True
        except asyncio.CancelledError:
            if self._starters == 1 and not self._started and self._stopping is None:
                await self.stop(0)
            raise
        finally:
            self._starters -= 1

    def with_consumer(self, action: Callable[[Consumes], object]) -> None:
        """Call a function with the consumer, on the worker's loop, from any thread; if it has one.

        On that loop it is called at once.
        """
        if running_loop() is self.loop:
            self._call(action)
        elif not self.loop.is_closed():
            self.loop.call_soon_threadsafe(self._call, action)

    def _call(self, action: Callable[[Consumes], object]) -> None:
        if self._consumer is not None:
            action(self._consumer)

    async def until_idle(self) -> None:
        """Return when no job is waiting, held or running."""
        assert self._consumer is not None, "the worker was not started"
        await self._consumer.until_idle()

    async def until_broken(self) -> None:
        """Raise WorkerBroken when the worker stops on its own; otherwise never return."""
        assert self._consumer is not None, "the worker was not started"
        await self._consumer.broken.wait()
        raise WorkerBroken(self._consumer.broken_because or "it is broken")

    async def stop(self, timeout: float | None = None) -> None:
        """Stop, no matter how far the start has come. A shorter timeout speeds up a running stop.

        Raises what the lifespan raises, after everything else has stopped. If the call is
        cancelled, the stop continues.
        """
        if self._stopping is None:
            self._stopping = asyncio.create_task(self._stop(timeout))
        elif self._consumer is not None:
            await self._consumer.stop(timeout)
        await asyncio.shield(self._stopping)

    async def stopped(self) -> None:
        """Return when a stop that is under way has finished, well or not."""
        if self._stopping is not None:
            await asyncio.wait([self._stopping])

    async def _start(self) -> None:
        try:
            self._close_lifespan = await self._open_lifespan()
            # The app has configured its logging by now, at its import or in its lifespan.
            logs.unmute()
            self._consumer = self._open_consumer()
            await self._consumer.start()
        except BaseException:
            await self._end(timeout=0)
            raise

    async def _stop(self, timeout: float | None) -> None:
        starting = self._starting
        if starting is not None and not starting.done():
            starting.cancel()
            await asyncio.wait([starting])
        await self._end(timeout)

    async def _end(self, timeout: float | None) -> None:
        try:
            if self._consumer is not None:
                await self._consumer.stop(timeout)
        finally:
            close, self._close_lifespan = self._close_lifespan, None
            if close is not None:
                await close()


def _went_well(task: asyncio.Task[None]) -> bool:
    return not task.cancelled() and task.exception() is None
