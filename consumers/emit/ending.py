"""Notice that an event loop is about to end, without a task that waits for it."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator, Callable


def at_the_end(call: Callable[[], None]) -> AsyncGenerator[None, None]:
    """Have something called when the running loop ends, after its tasks, and return what calls.

    Loops close asynchronous generators that are not done. Unlike a task, one is cancelled by nobody
    before, and is nothing to report where a loop ends without that. Close it (`aclose`) to have
    the call made now.
    """
    waiting = _then(call)
    # Its first step, which makes the loop know it, waits for nothing.
    with contextlib.suppress(StopIteration):
        waiting.__anext__().__await__().send(None)
    return waiting


async def _then(call: Callable[[], None]) -> AsyncGenerator[None, None]:
    try:
        yield
    finally:
        call()
