"""Call the application's `on_dead` callbacks with dead letters."""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from consumers.admin.dead_letters import DeadLetter, letter_about
from consumers.jobs.outcome import Buried, Raised
from consumers.run.threads import HandlerThreads
from consumers.store.delivery import Delivery
from taskmanager.errors import InvalidHandler
from taskmanager.options.signatures import signature_of

logger = logging.getLogger("taskmanager.handlers")

# So that a callback that hangs does not collect dead letters without a bound.
MOST_WAITING = 10_000
# How long a stop waits for callbacks, in seconds.
PATIENCE = 5.0

OnDead = Callable[[DeadLetter], Awaitable[None] | None]
F = TypeVar("F", bound=Callable[[DeadLetter], Any])


class Alerts:
    """Calls every callback with each dead letter of this worker, one after another.

    An error in a callback is logged. Plain functions run in a separate thread. In the threads
    of asyncio's default executor they would wait for other work of the application.
    """

    def __init__(self) -> None:
        self._callbacks: list[Callable[[DeadLetter], Any]] = []
        self._waiting: deque[DeadLetter] = deque()
        self._telling: asyncio.Task[None] | None = None
        self._threads = _own_thread()

    def add(self, callback: F) -> F:
        """Register a function to be called with each DeadLetter of this worker."""
        try:
            signature_of(callback).bind("letter")
        except TypeError as error:
            raise InvalidHandler(
                callback, str(error), what="on_dead", form="def {name}(letter) or async def"
            ) from None
        self._callbacks.append(callback)
        return callback

    def __call__(self, delivery: Delivery, buried: Buried) -> None:
        """Report a job that was just recorded as dead."""
        if not self._callbacks:
            return
        letter = letter_about(delivery, buried)
        if len(self._waiting) >= MOST_WAITING:
            logger.error(
                "on_dead is too slow: skipping it for a dead letter", extra={"job": letter.id}
            )
            return
        self._waiting.append(letter)
        if self._telling is None or self._telling.done():
            self._telling = asyncio.create_task(self._tell_all(), name="on_dead")

    async def finish(self) -> None:
        """Return when all dead letters are reported; after five seconds drop the rest."""
        if self._telling is None:
            return
        _, late = await asyncio.wait({self._telling}, timeout=PATIENCE)
        for task in late:
            logger.error(
                "on_dead did not finish in time: skipping it for %d dead letters",
                len(self._waiting),
            )
            task.cancel()
        self._waiting.clear()
        # A callback that hangs keeps its thread, so the next worker needs another.
        self._threads.close()
        self._threads = _own_thread()

    async def _tell_all(self) -> None:
        while self._waiting:
            letter = self._waiting.popleft()
            for callback in self._callbacks:
                await self._tell(callback, letter)

    async def _tell(self, callback: Callable[[DeadLetter], Any], letter: DeadLetter) -> None:
        """Call a callback in its own task, so that a CancelledError ends only that task."""
        call = asyncio.create_task(self._call(callback, letter), name="on_dead")
        try:
            await asyncio.wait({call})
        except asyncio.CancelledError:
            call.cancel()
            raise

    async def _call(self, callback: Callable[[DeadLetter], Any], letter: DeadLetter) -> None:
        try:
            told = await self._told(callback, letter)
            if inspect.isawaitable(told):
                await told
        except BaseException:
            # A SystemExit that leaves the task would end the event loop.
            logger.exception(
                "an on_dead callback failed", extra={"job": letter.id, "queue": letter.queue}
            )

    async def _told(self, callback: Callable[[DeadLetter], Any], letter: DeadLetter) -> Any:
        if inspect.iscoroutinefunction(callback):
            return callback(letter)
        ended = await self._threads.submit(callback, letter)
        if isinstance(ended, Raised):
            raise ended.error
        return ended.value


def _own_thread() -> HandlerThreads:
    return HandlerThreads(1, name="on_dead")
