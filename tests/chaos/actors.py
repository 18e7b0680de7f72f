"""The processes of a run, each behind a network of its own."""

from __future__ import annotations

import signal
from collections.abc import Callable

from tests.support.processes import Child
from tests.support.proxy import FaultProxy

# A SIGTERM that comes before a process listens ends it as well.
_AFTER_SIGTERM = (0, -signal.SIGTERM)
# main() returns or raises; or it was not there yet.
_AFTER_THE_LOOP = (0, 1, -signal.SIGUSR1)


class Actor:
    """A worker or a producer under a name, over all its starts.

    spawn starts the process, given how often it was started before.
    """

    def __init__(self, name: str, proxy: FaultProxy, spawn: Callable[[int], Child]) -> None:
        self.name = name
        self.proxy = proxy
        self.starts = 0
        self.child: Child | None = None
        self._spawn = spawn
        self._wanted = False
        # The exit codes that what was done to it explains.
        self._explained: set[int] = set()

    @property
    def running(self) -> bool:
        return self.child is not None and self.child.running

    def start(self) -> None:
        """Have it run from now on: as soon as it has ended, if it is still ending."""
        self._wanted = True

    def kill(self) -> None:
        """kill -9; it stays away until start."""
        self._end(-signal.SIGKILL)
        if self.child is not None:
            self.child.kill()

    def terminate(self) -> None:
        """SIGTERM: it may finish what it does; it stays away until start."""
        self._end(*_AFTER_SIGTERM)
        if self.child is not None:
            self.child.terminate()

    def end_loop(self) -> None:
        """Have its main() end, and the event loop with it; it stays away until start."""
        self._end(*_AFTER_THE_LOOP)
        if self.child is not None:
            self.child.prompt()

    def pause(self) -> None:
        if self.child is not None:
            self.child.pause()

    def resume(self) -> None:
        if self.child is not None:
            self.child.resume()

    def tend(self) -> str | None:
        """Start it when it is to run; return what is wrong with how it ended before, if so."""
        if self.running:
            return None
        wrong = self._wrong_end()
        if self._wanted:
            self._explained.clear()
            self.child = self._spawn(self.starts)
            self.starts += 1
        return wrong

    def stop(self, within: float) -> str | None:
        """Wait for its end after terminate; return what is wrong with it, if so."""
        if self.child is None:
            return None
        try:
            self.child.wait(within)
        except AssertionError as error:
            return f"{self.name} does not stop: {error}"
        return self._wrong_end()

    def _end(self, *codes: int) -> None:
        self._wanted = False
        self._explained.update(codes)

    def _wrong_end(self) -> str | None:
        child, self.child = self.child, None
        if child is None or (code := child.wait()) in self._explained:
            return None
        return f"{self.name} ended with {code}: {child.text[-3000:]}"
