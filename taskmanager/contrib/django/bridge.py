"""Do work on an event loop that stays, no matter how Django calls.

Django's own loops may live for a single request, and connections would end with them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from consumers.run.run import current_run
from taskmanager.clients.portal import portal, running_loop, wait_on

T = TypeVar("T")


def wait(work: Coroutine[Any, Any, T]) -> T:
    """Do work and block until it is done; a running event loop stands still for that long."""
    run = current_run.get()
    if run is None or running_loop() is not None:
        return portal.run(work)
    return wait_on(run.loop, work)


async def done(work: Coroutine[Any, Any, T]) -> T:
    """Do work and return its result."""
    run = current_run.get()
    if run is not None and running_loop() is run.loop:
        return await work
    return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(work, portal.loop))
