"""Say at the start when Redis is set up to delete jobs for want of memory."""

from __future__ import annotations

import logging
import re

from redis.exceptions import ResponseError

from consumers.connections.wire import Wire

logger = logging.getLogger("taskmanager.redis")

_POLICY = re.compile(rb"^maxmemory_policy:(\S+)", re.MULTILINE)
_SAFE = "noeviction"


async def warn_of_eviction(wire: Wire) -> None:
    """Log a warning when the eviction policy is any but noeviction.

    An allkeys policy deletes jobs that wait, a volatile one results and what makes
    a repeated batch harmless. A user who may not ask Redis is told nothing.
    """
    try:
        found = _POLICY.search(await wire.send("INFO", "memory"))
    except ResponseError as error:
        logger.debug("the eviction policy cannot be read: %s", error)
        return
    policy = found[1].decode() if found is not None else _SAFE
    if policy != _SAFE:
        logger.warning(
            "Redis has maxmemory-policy %s: when its memory is full, it deletes jobs and the "
            "records that keep them from running twice. Set it to %s", policy, _SAFE,
        )  # fmt: skip
