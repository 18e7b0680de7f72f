"""Let threads without an event loop wait for work on one.

Synchronous handlers of a worker use the worker's loop. All other threads share one loop per
process, in a daemon thread that starts with the first call; a forked child starts its own. Under
gevent, too, it is a real thread, and waiting for it lets other greenlets run.
"""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import os
import threading
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, TypeVar

from consumers.connections.natives import Lock, new_event_loop, start_thread, taken_lock
from consumers.run.run import current_run
from taskmanager.errors import LoopHasEnded, LoopIsRunning

T = TypeVar("T")

# A loop may end while a thread waits for it, without waking the thread.
_LOOK_EVERY_S = 1.0


def refuse_running_loop(name: str, instead: str) -> None:
    """Raise LoopIsRunning if called on an event loop, which the call would block."""
    if running_loop() is not None:
        raise LoopIsRunning(name, instead)


def block(name: str, work: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """Run work on another thread's loop and wait for it; raises LoopIsRunning on a loop.

    `name` is what the user called.
    """
    refuse_running_loop(name, f"await {name.removeprefix('sync.')}(...)")
    run = current_run.get()
    return portal.run(work()) if run is None else wait_on(run.loop, work())


def running_loop() -> asyncio.AbstractEventLoop | None:
    """Return the event loop that runs in this thread, or None."""
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None


def wait_on(loop: asyncio.AbstractEventLoop, work: Coroutine[Any, Any, T]) -> T:
    """Run work on another thread's loop and return its result.

    Raises LoopHasEnded if the loop ends first. If the wait is interrupted, the work is cancelled.
    """
    if not loop.is_running():
        work.close()
        raise LoopHasEnded()
    future = asyncio.run_coroutine_threadsafe(work, loop)
    while True:
        try:
            return future.result(_LOOK_EVERY_S)
        except TimeoutError:
            # The TimeoutError may come from the work itself.
            if not future.done() and not loop.is_running():
                future.cancel()
                raise LoopHasEnded() from None
            if future.done():
                return future.result()
        except BaseException:
            # Ctrl-C, for example: nobody is left to wait for the work, unless it raised this.
            future.cancel()
            raise


class Portal:
    """The background loop of this process."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        # Free once the thread has ended.
        self._ended: Lock | None = None
        self._closers: list[Callable[[], Awaitable[None]]] = []

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        """The loop; it starts when first asked for."""
        with self._lock:
            if self._loop is None:
                self._loop = self._start()
            return self._loop

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Run work on the loop and return its result.

        An interpreter that is about to end starts no threads (from Python 3.12 on). Then the work
        is done in this thread.
        """
        try:
            loop = self.loop
        except RuntimeError:
            return self._run_here(work)
        return wait_on(loop, work)

    def at_close(
        self, loop: asyncio.AbstractEventLoop, closer: Callable[[], Awaitable[None]]
    ) -> None:
        """Call `closer` before the loop ends, if it is this one."""
        if loop is self._loop:
            self._closers.append(closer)

    def forget(self) -> None:
        """Start over without touching the loop; for a forked child, where its thread is gone."""
        self.__init__()  # type: ignore[misc]

    def close(self) -> None:
        """Run the closers and end the loop; a later call starts another."""
        with self._lock:
            loop, ended = self._loop, self._ended
            self._loop = self._ended = None
        if loop is None or ended is None:
            return
        with contextlib.suppress(Exception):
            asyncio.run_coroutine_threadsafe(self._close(), loop).result(_LOOK_EVERY_S)
        loop.call_soon_threadsafe(loop.stop)
        ended.acquire(timeout=_LOOK_EVERY_S)

    def _start(self) -> asyncio.AbstractEventLoop:
        loop, started, ended = new_event_loop(), taken_lock(), taken_lock()
        loop.call_soon(started.release)
        try:
            start_thread(lambda: self._serve(loop, ended), name="taskmanager-portal")
        except RuntimeError:
            loop.close()
            raise
        started.acquire()
        self._ended = ended
        return loop

    def _run_here(self, work: Coroutine[Any, Any, T]) -> T:
        with self._lock, contextlib.closing(new_event_loop()) as loop:
            self._loop = loop
            try:
                return loop.run_until_complete(self._and_close(work))
            finally:
                self._loop = None

    async def _and_close(self, work: Coroutine[Any, Any, T]) -> T:
        try:
            return await work
        finally:
            await self._close()

    def _serve(self, loop: asyncio.AbstractEventLoop, ended: Lock) -> None:
        asyncio.set_event_loop(loop)
        try:
            loop.run_forever()
            # Otherwise the interpreter reports each one that is pending at its end.
            loop.run_until_complete(_cancel_all())
        finally:
            loop.close()
            ended.release()

    async def _close(self) -> None:
        closers, self._closers = self._closers, []
        for closer in closers:
            with contextlib.suppress(Exception):
                await closer()


async def _cancel_all() -> None:
    left = asyncio.all_tasks() - {asyncio.current_task()}
    for task in left:
        task.cancel()
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(_LOOK_EVERY_S / 2):
            await asyncio.gather(*left, return_exceptions=True)


portal = Portal()


def _after_fork() -> None:
    # Threads do not survive a fork: locks they held and loops they ran are unusable here.
    # A run belongs to the worker: what the child does is not part of it.
    portal.forget()
    current_run.set(None)


atexit.register(portal.close)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
