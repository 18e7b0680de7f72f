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

from redis.exceptions import OutOfMemoryError

from consumers.connections.trouble import Trouble
from consumers.connections.wire import Wire
from consumers.store.fleet import describe_worker, list_worker
from consumers.store.keys import Fleet
from consumers.store.scripts import call
from consumers.upkeep.service import Steps

logger = logging.getLogger(__name__)


def _version() -> str:
    try:
        return version("taskmanager-streams")
    except PackageNotFoundError:
        return "unknown"


class Heartbeat(Steps):
    """Writes this worker's facts every few seconds, and removes them when it stops."""

    # `active` in stats may be this old at most twice over.
    interval = 5.0

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
        super().__init__(
            logger,
            Trouble(logger, "no heartbeat", logging.DEBUG),
            failed=f"the heartbeat of worker {worker_id} failed",
        )
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

    async def step(self) -> None:
        """Beat once."""
        await self.beat()

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
