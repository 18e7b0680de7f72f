"""What SIGTERM and SIGINT mean to a worker: finish, then cancel, then leave; and how to leave."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import Callable, Iterator
from typing import NoReturn

FAILED, FORCED = 1, 4

_SIGNALS = (signal.SIGTERM, signal.SIGINT)


def leave() -> NoReturn:
    """End the process at once, as failed: its event loop does not turn any more.

    Nothing is waited for or flushed; what blocks the loop may block that as well.
    """
    os._exit(FAILED)


@contextlib.contextmanager
def handled(*actions: Callable[[], object]) -> Iterator[None]:
    """Call the first action on the loop at the first signal, and so on; then exit with 4.

    The exit works although a handler blocks the loop. Outside the main thread,
    where signals cannot be handled, nothing is changed.
    """
    loop = asyncio.get_running_loop()
    left = list(actions)

    def on_signal(number: int, frame: object) -> None:
        if not left:
            os._exit(FORCED)
        loop.call_soon_threadsafe(left.pop(0))

    with contextlib.ExitStack() as restored:
        # ValueError: not the main thread.
        with contextlib.suppress(ValueError):
            for number in _SIGNALS:
                restored.callback(signal.signal, number, signal.signal(number, on_signal))
        yield
