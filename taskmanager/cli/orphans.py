"""End a worker when the process that started it is gone without a word."""

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
    """Stops this process once its parent is gone, like a first SIGTERM does.

    A handler that blocks the event loop would prevent that. So once the loop has not run for
    `patience` seconds, the process exits with 4. Without a loop the app is still being imported,
    and the SIGTERM alone ends that.

    The id of the parent comes from the parent itself, since the parent may be gone before it could
    be looked up. None: there is no parent to watch. `loop` is set once there is one.
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
        # Nothing is logged: whatever blocks the loop may hold a lock that logging needs.
        os._exit(FORCED)

    def _turns(self) -> bool:
        turned = threading.Event()
        try:
            if self.loop is not None:
                self.loop.call_soon_threadsafe(turned.set)
        except RuntimeError:
            return True  # It is closed, and the process about to end.
        return turned.wait(self.patience)
