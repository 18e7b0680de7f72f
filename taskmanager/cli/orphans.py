"""Have a worker end when the process that started it is gone without having said so."""

from __future__ import annotations

import os
import signal
import threading
import time
from typing import TYPE_CHECKING

from taskmanager.cli.exits import FORCED, STUCK_S

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop

PARENT_CHECK_SECONDS = 1.0


class ParentWatch:
    """Stops this process, as a first SIGTERM does, once its parent is gone.

    A handler that blocks the event loop keeps that from happening. So the process exits with 4
    once the loop has not turned for patience, in seconds. Without a loop, the app is imported
    still, and the SIGTERM alone ends that.

    The id of the parent comes from the parent itself, which may be gone before anybody looks
    for it. None: there is no parent to watch.
    """

    def __init__(self, parent: int | None, *, patience: float = STUCK_S) -> None:
        self.loop: AbstractEventLoop | None = None
        self.patience = patience
        if parent is not None:
            threading.Thread(
                target=self._watch, args=(parent,), name="parent-watch", daemon=True
            ).start()

    def _watch(self, parent: int) -> None:
        while os.getppid() == parent:
            time.sleep(PARENT_CHECK_SECONDS)
        os.kill(os.getpid(), signal.SIGTERM)
        while self._turns():
            time.sleep(PARENT_CHECK_SECONDS)
        # Nothing is logged: what blocks the loop may hold what that needs.
        os._exit(FORCED)

    def _turns(self) -> bool:
        turned = threading.Event()
        try:
            if self.loop is not None:
                self.loop.call_soon_threadsafe(turned.set)
        except RuntimeError:
            return True  # It is closed, and the process about to end.
        return turned.wait(self.patience)
