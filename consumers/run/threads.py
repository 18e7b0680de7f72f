"""Run synchronous functions in threads that do not keep a process from ending."""

from __future__ import annotations

import asyncio
import contextvars
import threading
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any

from consumers.jobs.outcome import Ended, Raised, Returned

_Task = tuple[Callable[[], Any], "asyncio.Future[Ended]", asyncio.AbstractEventLoop]


class HandlerThreads:
    """At most size daemon threads, started when they are needed.

    Whatever a function raises becomes a value: under asyncio's own threads a
    StopIteration hangs its caller for ever, and a SystemExit ends the thread. Those
    belong to the application, too: its calls may fill them for as long as they like.
    """

    def __init__(self, size: int, name: str = "handler") -> None:
        self._size = size
        self._name = name
        self._tasks: SimpleQueue[_Task | None] = SimpleQueue()
        self._threads: list[threading.Thread] = []
        self._busy = 0

    @property
    def busy(self) -> int:
        """How many functions are running or waiting for a thread."""
        return self._busy

    def submit(self, call: Callable[..., Any], *args: Any) -> asyncio.Future[Ended]:
        """Call a function in a thread, in a copy of the caller's context; return its end.

        Cancelling the future does not stop the function.
        """
        loop = asyncio.get_running_loop()
        done: asyncio.Future[Ended] = loop.create_future()
        context = contextvars.copy_context()
        self._busy += 1
        if self._busy > len(self._threads) and len(self._threads) < self._size:
            self._start_thread()
        self._tasks.put((lambda: context.run(call, *args), done, loop))
        return done

    def replace_one(self) -> None:
        """Allow one thread more, in place of one whose function does not end."""
        self._size += 1

    def close(self) -> None:
        """Let idle threads end; busy ones end with their function, or with the process."""
        for _ in self._threads:
            self._tasks.put(None)

    def _start_thread(self) -> None:
        name = f"{self._name}-{len(self._threads)}"
        thread = threading.Thread(target=self._work, name=name, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _work(self) -> None:
        while (task := self._tasks.get()) is not None:
            call, done, loop = task
            self._tell(loop, done, _end_of(call))
            # An idle thread keeps nothing of its last job.
            del task, call, done

    def _tell(
        self, loop: asyncio.AbstractEventLoop, done: asyncio.Future[Ended], ended: Ended
    ) -> None:
        try:
            loop.call_soon_threadsafe(self._set, done, ended)
        except RuntimeError:
            # The loop was closed while the function ran: nobody waits any more.
            return

    def _set(self, done: asyncio.Future[Ended], ended: Ended) -> None:
        self._busy -= 1
        if not done.done():
            done.set_result(ended)


def _end_of(call: Callable[[], Any]) -> Ended:
    try:
        return Returned(call())
    except BaseException as error:
        return Raised(error)
