"""What SIGTERM and SIGINT mean to a worker: finish, then cancel, then leave."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
from collections.abc import Callable, Iterator

FORCED = 4

_SIGNALS = (signal.SIGTERM, signal.SIGINT)


@contextlib.contextmanager
def handled(*actions: Callable[[], object]) -> Iterator[None]:
    """Call the first action at the first signal, the next at the next; then leave with 4.

    Where signals cannot be handled (not the main thread, Windows) nothing is changed.
    """
    loop = asyncio.get_running_loop()
    left = list(actions)

    def on_signal() -> None:
        if left:
            left.pop(0)()
        else:
            logging.shutdown()
            os._exit(FORCED)

    installed = [number for number in _SIGNALS if _install(loop, number, on_signal)]
    try:
        yield
    finally:
        for number in installed:
            loop.remove_signal_handler(number)


def _install(
    loop: asyncio.AbstractEventLoop, number: signal.Signals, action: Callable[[], None]
) -> bool:
    try:
        loop.add_signal_handler(number, action)
    except (NotImplementedError, ValueError, RuntimeError):
        return False
    return True
