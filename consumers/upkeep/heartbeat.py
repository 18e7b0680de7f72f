"""Tell the fleet that this worker lives, and what it can do."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import socket
import time
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version

from redis.exceptions import OutOfMemoryError, RedisError

from consumers.connections.wire import Wire
from consumers.store.fleet import describe_worker, list_worker
from consumers.store.keys import Fleet
from consumers.store.scripts import call

logger = logging.getLogger(__name__)

# `active` in stats may be this old at most twice over.
BEAT = 5.0


def _version() -> str:
    try:
        return version("taskmanager-streams")
    except PackageNotFoundError:
        return "unknown"


class Heartbeat:
    """Writes this worker's facts every few seconds, and removes them when it stops."""

    def __init__(
        self,
        wire: Wire,
        fleet: Fleet,
        *,
        worker_id: str,
        name: str,
        type: str,
        slots: int,
        events: Callable[[], dict[str, list[str]]],
        started: Callable[[], list[str]],
        pauses: Callable[[], dict[str, int]],
    ) -> None:
        self._wire = wire
        self._fleet = fleet
        self.worker_id = worker_id
        self._events = events
        self._started = started
        self._pauses = pauses
        self._fixed: dict[str, str] = {
            "name": name,
            "type": type,
            "slots": str(slots),
            "host": socket.gethostname(),
            "pid": str(os.getpid()),
            "version": _version(),
            "since": str(int(time.time() * 1000)),
        }

    async def run(self) -> None:
        """Beat until cancelled; an error delays the next beat, it never ends the loop."""
        while True:
            try:
                await self.beat()
            except RedisError as error:
                logger.debug("no heartbeat: %s", error)
            except Exception:
                logger.exception("the heartbeat of worker %s failed", self.worker_id)
            await asyncio.sleep(BEAT)

    async def beat(self) -> None:
        """List the worker and write its facts once, also while memory is full."""
        events = self._events()
        # Two scripts: on a cluster list and facts lie in different slots.
        await asyncio.gather(
            call(self._wire, list_worker(self._fleet, self.worker_id)),
            call(self._wire, describe_worker(self._fleet, self.worker_id, self._facts(events))),
            self._list_queues(sorted(events)),
        )

    async def remove(self) -> None:
        """Take the worker off the list."""
        key = self._fleet.worker(self.worker_id)
        await asyncio.gather(
            self._wire.send("ZREM", self._fleet.workers, self.worker_id),
            self._wire.send("DEL", key),
        )

    def _facts(self, events: dict[str, list[str]]) -> dict[str, str]:
        return {
            **self._fixed,
            "events": json.dumps(events),
            "queues": json.dumps(sorted(events)),
            "started": json.dumps(self._started()),
            "pauses": json.dumps(self._pauses()),
        }

    async def _list_queues(self, names: list[str]) -> None:
        try:
            await self._wire.send("SADD", self._fleet.queues, *names)
        except OutOfMemoryError as error:
            # Nobody waits for a queue that is not listed yet: the next beat says it again.
            logger.debug("queues are not listed: %s", error)
