"""Watch for commands that take Redis long, and tell its work from being kept from a processor.

The slow log measures by the clock on the wall. On a busy machine the server loses
its processor for tens of milliseconds in the midst of a command, and that says
nothing of the command.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from tests.support.preemption import waited_ms
from tests.support.servers import RedisServer

# Often, so that few other commands fall between two looks.
_LOOK = 0.003
_ENTRIES = 100


@dataclass(frozen=True)
class SlowCommand:
    """A command that took long by the clock on the wall; all in milliseconds.

    worked is how long the server had a processor between the looks before and after
    the command, waited how long it was ready to go on there and had none.
    """

    name: str
    took: float
    worked: float
    waited: float

    def is_explained(self, above_ms: float) -> bool:
        """Whether the command itself took no longer than above_ms.

        Either all that the server did around it is no more; or the command is not,
        without the time in which the server could not run.
        """
        return self.worked <= above_ms or self.took - self.waited <= above_ms


class SlowCommands:
    """Those of a server since the watch began.

    Each look asks in one transaction for the slow log and for the server's processor
    time. A command that is new in the log ran after the look before and was over at
    this one, so it took no more of that time than passed between the two.
    """

    def __init__(self, server: RedisServer, *, above_ms: float) -> None:
        self.above_ms = above_ms
        self.found: list[SlowCommand] = []
        self._pid = server.pid
        self._redis = server.client()
        self._redis.config_set("slowlog-log-slower-than", round(above_ms * 1000))
        self._redis.slowlog_reset()
        self._worked = self._waited = 0.0
        self._last_id = -1
        self._look()
        self._stop = threading.Event()
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="slow-commands")
        self._thread.start()

    @property
    def unexplained(self) -> list[SlowCommand]:
        """Those that took the server itself longer than allowed; ask when the watch is over."""
        return [it for it in self.found if not it.is_explained(self.above_ms)]

    def end(self) -> None:
        """Look once more and stop."""
        self._stop.set()
        self._thread.join()
        with self._redis:
            if self._error is not None:
                raise self._error
            self._look()

    def _run(self) -> None:
        try:
            while not self._stop.wait(_LOOK):
                self._look()
        except BaseException as error:
            self._error = error

    def _look(self) -> None:
        # Outside of the transaction, so the time is to span all of it.
        waited_before = waited_ms(self._pid)
        entries, worked = self._ask()
        waited = waited_ms(self._pid) - self._waited
        for entry in reversed(entries):
            if entry["id"] > self._last_id:
                self._last_id = entry["id"]
                name = entry["command"][:60].decode(errors="backslashreplace")
                took = entry["duration"] / 1000
                self.found.append(SlowCommand(name, took, worked - self._worked, waited))
        self._worked, self._waited = worked, waited_before

    def _ask(self) -> tuple[list[dict[str, Any]], float]:
        """Return the slow log and the server's processor time in ms, of one moment."""
        with self._redis.pipeline(transaction=True) as both:
            both.slowlog_get(_ENTRIES)
            both.info("cpu")
            entries, used = both.execute()
        return entries, (used["used_cpu_user"] + used["used_cpu_sys"]) * 1000


@contextmanager
def watching_slow_commands(server: RedisServer, *, above_ms: float) -> Iterator[SlowCommands]:
    """Find the commands of this block that take a server longer than above_ms."""
    slow = SlowCommands(server, above_ms=above_ms)
    try:
        yield slow
    finally:
        slow.end()
