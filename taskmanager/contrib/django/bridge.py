"""Do work on an event loop that stays, from wherever Django calls.

Django's own loops may live for a single request, and a connection would end with each.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from consumers.run.run import current_run
from taskmanager.clients.portal import portal, running_loop, wait_on

T = TypeVar("T")


def wait(work: Coroutine[Any, Any, T]) -> T:
    """Do work and block until it is done; on a running loop too, which stands still meanwhile."""
    run = current_run.get()
    if run is None or running_loop() is not None:
        return portal.run(work)
    return wait_on(run.loop, work)


async def done(work: Coroutine[Any, Any, T]) -> T:
    """Do work and return what it returns."""
    run = current_run.get()
    if run is not None and running_loop() is run.loop:
        return await work
    return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(work, portal.loop))
