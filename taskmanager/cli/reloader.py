"""Keep one worker running, and restart it when its code has changed."""

from __future__ import annotations

import logging
import os
import signal
import threading
from collections.abc import Callable, Collection, Iterable
from pathlib import Path
from queue import SimpleQueue
from typing import Any

from taskmanager.cli.assignment import own_command
from taskmanager.cli.changes import Event, fault_of, forget_compiled
from taskmanager.cli.exits import FAILURE, FORCED, OK, STUCK_S, VERDICTS
from taskmanager.cli.front import Front, held_back, in_terminal
from taskmanager.settings import environment

logger = logging.getLogger("taskmanager.cli")

# A worker that ends like this at our signal did not handle signals yet: it held no jobs.
_TOLD_TO_END = (-signal.SIGTERM, -signal.SIGINT)
# Without a terminal, a signal to our whole group reaches the worker through us only.
_BY_ITSELF: dict[str, Any] = {
    "setpgroup": 0,
    "file_actions": [(os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0)],
}


class Reloader:
    """Keeps one worker at a time, and starts a new one after each change.

    `changes` yields the files that have changed, until the event it is given is set. While one of
    them does not parse, that is logged and the worker keeps running. A worker that ends on its own
    is started again at the next change. If it ends with 0, or cannot start at all, everything ends.
    """

    def __init__(
        self, changes: Callable[[Event], Iterable[Collection[Path]]], *, stuck: float = STUCK_S
    ) -> None:
        self._changes = changes
        self._stuck = stuck
        self._ending = False
        self._forced = False
        self._due = False
        self._changed: set[Path] = set()
        # Files that do not parse; used in the watcher's thread.
        self._faulty: set[Path] = set()
        # So that a change and the start of a worker never miss each other.
        self._guard = threading.Lock()
        # Unlike Event.set, its put may be called in a signal handler.
        self._news: SimpleQueue[None] = SimpleQueue()
        # From here on signals are handled, whether or not there is a worker.
        self._front = Front(on_end=self._end)

    def run(self, start: Callable[[int], int]) -> int:
        """Return the exit code once everything has ended.

        `start` starts a worker and returns its process id. It is given the number of earlier
        starts.
        """
        stopping = threading.Event()
        watcher = threading.Thread(
            target=self._watch, args=(stopping,), name="reloader", daemon=True
        )
        with held_back():
            watcher.start()
        try:
            return self._keep_running(start)
        finally:
            stopping.set()

    def _keep_running(self, start: Callable[[int], int]) -> int:
        starts = 0
        while not self._ending:
            code = self._run_one(start, starts)
            starts += 1
            if self._ending or (_is_final(code, starts) and not self._due):
                return FORCED if self._forced else _exit_code(code)
            if not self._due:
                self._await_change(code)
        return OK

    def _run_one(self, start: Callable[[int], int], starts: int) -> int:
        with self._guard, held_back():
            if self._ending:
                return OK
            for path in self._changed:
                forget_compiled(path)
            self._changed.clear()
            self._due = False
            self._front.worker = start(starts)
        return self._front.wait()

    def _await_change(self, code: int) -> None:
        how = f"exit code {code}" if code >= 0 else f"signal {signal.Signals(-code).name}"
        logger.warning("the worker ended with %s; it restarts when a .py file changes", how)
        while not (self._due or self._ending):
            self._news.get()

    def _end(self) -> None:
        first, self._ending = not self._ending, True
        self._news.put(None)
        worker = self._front.worker
        if first and worker is not None:
            _later(self._stuck / 3, self._say_stuck, worker)
            self._look_again_at(worker)

    def _say_stuck(self, worker: int) -> None:
        if self._front.worker == worker and not self._front.debugs:
            logger.warning(
                "the worker has not stopped yet; a handler may be blocking its event loop. It will "
                "be killed in %.0f s, or at once on a third Ctrl-C or SIGTERM",
                self._stuck * 2 / 3,
            )

    # In the watcher's thread

    def _watch(self, stopping: Event) -> None:
        try:
            for paths in self._changes(stopping):
                self._take(paths)
        except Exception as error:
            # For example, more folders than the system watches for one user. The worker continues.
            logger.error("no longer watching for changes: %s", error)

    def _take(self, paths: Collection[Path]) -> None:
        # Earlier faulty files, too: one may be fixed or deleted by now, and others import it.
        faults = {it: fault for it in self._faulty.union(paths) if (fault := fault_of(it))}
        self._faulty = set(faults)
        for path in sorted(faults):
            logger.warning("not reloading until this is fixed: %s", faults[path])
        with self._guard:
            self._changed.update(paths)
            if not faults and not self._due:
                self._due = True
                logger.info("%s changed, restarting the worker", _named(paths))
                self._end_worker()

    def _end_worker(self) -> None:
        worker = self._front.worker
        if worker is None:
            self._news.put(None)
        else:
            self._front.send(signal.SIGTERM)
            self._look_again_at(worker)

    def _look_again_at(self, worker: int) -> None:
        _later(self._stuck, self._kill_stuck, worker)

    def _kill_stuck(self, worker: int) -> None:
        if self._front.worker != worker:
            return
        if self._front.debugs:
            self._look_again_at(worker)
            return
        logger.warning(
            "killing the worker: it did not stop within %g s, a handler may be blocking its event "
            "loop. Its running jobs run again once their leases expire",
            self._stuck,
        )
        self._forced = self._ending
        self._front.send(signal.SIGKILL)


def start_worker(starts: int, *place: str, **settings: str) -> int:
    """Start a worker with our own command line; return its process id.

    `starts` is the number of earlier starts. The settings are put into its environment. In a
    terminal it begins in the foreground, so that its app can ask something, and leaves it on its
    own.
    """
    again = ["--again"] if starts else []
    command = own_command("--reloaded", *again, *place)
    return os.posix_spawn(
        command[0],
        command,
        environment(**settings),
        # At this moment we hold signals back, and ignore SIGTTOU as a terminal's front does.
        setsigmask=(),
        setsigdef=(signal.SIGTTOU,),
        **({} if in_terminal() else _BY_ITSELF),
    )


def _later(seconds: float, action: Callable[[int], None], worker: int) -> None:
    timer = threading.Timer(seconds, action, (worker,))
    timer.daemon = True
    # A signal delivered to the timer's thread would not wake the main thread.
    with held_back():
        timer.start()


def _named(paths: Collection[Path]) -> str:
    more = f" and {len(paths) - 1} more" if len(paths) > 1 else ""
    return f"{min(paths).name}{more}"


def _is_final(code: int, starts: int) -> bool:
    return code == OK or (starts == 1 and code in VERDICTS)


def _exit_code(code: int) -> int:
    if code in _TOLD_TO_END:
        return OK
    return FAILURE if code < 0 else code
