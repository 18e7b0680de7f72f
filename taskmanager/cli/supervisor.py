"""Keep several worker processes alive. They share nothing but Redis."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from taskmanager.cli.exits import FAILURE, OK, VERDICTS

logger = logging.getLogger("taskmanager.cli")

# A worker that lived this long did not die of its start.
QUICK_S = 10.0
GIVE_UP_AFTER = 5
FIRST_PAUSE_S = 0.5
LONGEST_PAUSE_S = 30.0
# More doublings than the longest pause takes. Doubling without a limit would overflow.
_MOST_DOUBLINGS = 10


@dataclass(frozen=True, slots=True)
class Start:
    """One start of a worker: `index` is its number, `count` how often it was started, both from 1.

    The worker writes a byte to the file descriptor `ready` once it runs.
    """

    index: int
    count: int
    ready: int


class Supervisor:
    """Starts a process for each number from 1 to `processes`, and starts it again when it dies.

    A process that ends with 0 wanted to end, and is not started again. A process that never ran is
    given up after five starts. One that did run is always started again, no matter what its jobs do
    to it.
    """

    def __init__(
        self,
        command: Callable[[Start], Sequence[str]],
        *,
        processes: int,
        quick: float = QUICK_S,
        first_pause: float = FIRST_PAUSE_S,
    ) -> None:
        self.command = command
        self.processes = processes
        self.quick = quick
        self.first_pause = first_pause
        self._children: dict[int, asyncio.subprocess.Process] = {}
        self._stopping = asyncio.Event()

    async def run(self) -> int:
        """Return once every process has ended: with 0, or the worst of their exit codes."""
        return max(await asyncio.gather(*(self._keep_alive(i + 1) for i in range(self.processes))))

    def stop(self) -> None:
        """Send every process a SIGTERM and start no more.

        It is called for each signal that the supervisor receives, so that the second and third
        signal mean the same as with a single worker.
        """
        self._stopping.set()
        for child in self._children.values():
            _terminate(child)

    async def _keep_alive(self, index: int) -> int:
        starts = quick_deaths = 0
        has_run = False
        while not self._stopping.is_set():
            starts += 1
            started = time.monotonic()
            code, ran = await self._run_once(index, starts)
            has_run = has_run or ran
            if self._stopping.is_set() or code == OK:
                return _exit_code(code)
            if not has_run and starts == 1 and code in VERDICTS:
                return self._end_all(code)
            if not has_run and starts >= GIVE_UP_AFTER:
                logger.error("worker %d died %d times during its start; giving up", index, starts)
                return self._end_all(FAILURE)
            quick_deaths = quick_deaths + 1 if time.monotonic() - started < self.quick else 0
            await self._pause(index, code, quick_deaths)
        return OK

    async def _run_once(self, index: int, count: int) -> tuple[int, bool]:
        """Return the exit code, and whether the worker reported that it runs."""
        said, ready = os.pipe()
        try:
            os.set_blocking(said, False)
            return await self._live(Start(index, count, ready)), _was_said(said)
        finally:
            os.close(said)

    async def _live(self, start: Start) -> int:
        index = start.index
        try:
            # A separate process group: Ctrl-C reaches the workers through us only.
            # Otherwise each would count it twice and cancel its running jobs.
            child = await asyncio.create_subprocess_exec(
                *self.command(start),
                stdin=asyncio.subprocess.DEVNULL,
                process_group=0,
                pass_fds=(start.ready,),
            )
        except OSError as error:
            logger.warning("worker %d cannot be started: %s", index, error)
            return FAILURE
        finally:
            os.close(start.ready)
        self._children[index] = child
        if self._stopping.is_set():  # The signal came while the process was being started.
            _terminate(child)
        try:
            return await child.wait()
        finally:
            del self._children[index]

    async def _pause(self, index: int, code: int, quick_deaths: int) -> None:
        doublings = min(max(quick_deaths - 1, 0), _MOST_DOUBLINGS)
        pause = min(self.first_pause * 2**doublings, LONGEST_PAUSE_S)
        logger.warning("worker %d ended with %s; restarting it in %g s", index, _why(code), pause)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(pause):
                await self._stopping.wait()

    def _end_all(self, code: int) -> int:
        if not self._stopping.is_set():
            self.stop()
        return code


def _was_said(said: int) -> bool:
    try:
        return os.read(said, 1) != b""
    except BlockingIOError:
        return False  # A process of the dead worker's still holds the other end.


def _terminate(child: asyncio.subprocess.Process) -> None:
    # Not child.terminate(): it polls first, and may so take the exit code away from
    # child.wait(), which then reports 255.
    with contextlib.suppress(ProcessLookupError):
        os.kill(child.pid, signal.SIGTERM)


def _exit_code(code: int) -> int:
    if code == -signal.SIGTERM:
        return OK  # It was told to stop before it had begun to listen, so it held nothing.
    return FAILURE if code < 0 else code


def _why(code: int) -> str:
    return f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
