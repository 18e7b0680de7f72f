"""What SIGTERM and SIGINT do to a worker: finish, then cancel, then exit. And how to exit."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any, NoReturn, TypeAlias

FAILED, FORCED = 1, 4

_Action: TypeAlias = "Callable[[int, FrameType | None], Any] | int | signal.Handlers | None"

_SIGNALS = (signal.SIGTERM, signal.SIGINT)


def leave() -> NoReturn:
    """End the process at once, as failed, because its event loop no longer runs.

    Nothing is awaited or flushed: whatever blocks the loop may block that as well.
    """
    os._exit(FAILED)


@contextlib.contextmanager
def handled(*actions: Callable[[], object]) -> Iterator[None]:
    """Call the first action on the loop at the first signal, and so on; then exit with 4.

    The exit works even if a handler blocks the loop. Outside the main thread, where signals cannot
    be handled, nothing changes.
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
                before = signal.signal(number, on_signal)
                restored.callback(_put_back, number, on_signal, before)
        yield


def _put_back(number: int, ours: _Action, before: _Action) -> None:
    # A handler that the application has set since then stays. None is a handler outside
    # Python, as in a server that embeds it, which cannot be set again.
    if before is not None and signal.getsignal(number) is ours:
        signal.signal(number, before)
