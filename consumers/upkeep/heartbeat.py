"""Tell the fleet that this worker lives, and what it can do."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import socket
import time
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version

from redis.exceptions import OutOfMemoryError, ResponseError

from consumers.connections.trouble import Trouble
from consumers.connections.wire import Wire
from consumers.store.fleet import describe_worker, list_worker
from consumers.store.keys import Fleet, Keys
from consumers.store.queue_workers import WorkerState, register_worker
from consumers.store.refusals import is_foreign_value
from consumers.store.scripts import call
from consumers.upkeep.service import Steps

logger = logging.getLogger("taskmanager.worker")


# Some of what the fleet is to know of a worker, asked for at each beat. What is not a text
# becomes JSON.
FactSource = Callable[[], Mapping[str, object]]


def identity(*, name: str, type: str, slots: int) -> FactSource:
    """Return what does not change as long as a worker runs."""
    facts = {
        "name": name,
        "type": type,
        "slots": str(slots),
        "host": socket.gethostname(),
        "pid": str(os.getpid()),
        "version": _version(),
        "since": str(int(time.time() * 1000)),
    }
    return lambda: facts


def _version() -> str:
    try:
        return version("taskmanager-streams")
    except PackageNotFoundError:
        return "unknown"


class Heartbeat(Steps):
    """Writes this worker's facts every few seconds, and removes them when it stops.

    The facts go to the list of all workers, and the state in each queue to the registry of that
    queue. Both are read anew at each beat.
    """

    # `active` in stats may be this old at most twice over.
    interval = 5.0

    def __init__(
        self,
        wire: Wire,
        fleet: Fleet,
        *,
        worker_id: str,
        queues: Sequence[Keys],
        facts: Sequence[FactSource],
        state: Callable[[str], WorkerState],
    ) -> None:
        super().__init__(
            logger,
            Trouble(logger, "no heartbeat", logging.DEBUG),
            failed=f"the heartbeat of worker {worker_id} failed",
        )
        self._wire = wire
        self._fleet = fleet
        self.worker_id = worker_id
        self._queues = sorted(queues, key=lambda keys: keys.queue)
        self._facts = facts
        self._state = state
        self._not_registered = {
            keys: Trouble(logger, f"worker {worker_id} is not listed in queue {keys.queue}")
            for keys in queues
        }

    async def step(self) -> None:
        """Beat once."""
        await self.beat()

    async def beat(self) -> None:
        """List the worker and write its facts once, also while memory is full."""
        states = {keys: self._state(keys.queue) for keys in self._queues}
        facts = self._told(states)
        # A script each: on a cluster list, facts and queues lie in different slots.
        await asyncio.gather(
            call(self._wire, list_worker(self._fleet, self.worker_id)),
            call(self._wire, describe_worker(self._fleet, self.worker_id, facts)),
            self._list_queues(),
            *(self._register(keys, state) for keys, state in states.items()),
        )

    async def remove(self) -> None:
        """Take the worker off the lists."""
        key = self._fleet.worker(self.worker_id)
        await asyncio.gather(
            self._wire.send("ZREM", self._fleet.workers, self.worker_id),
            self._wire.send("DEL", key),
            *(self._wire.send("HDEL", keys.workers, self.worker_id) for keys in self._queues),
        )

    def _told(self, states: Mapping[Keys, WorkerState]) -> dict[str, str]:
        """Return the facts for the list of all workers."""
        events = {keys.queue: sorted(state.events) for keys, state in states.items()}
        facts: dict[str, object] = {"queues": list(events), "events": events}
        for source in self._facts:
            facts |= source()
        return {name: _text(it) for name, it in facts.items()}

    async def _register(self, keys: Keys, state: WorkerState) -> None:
        """List the worker in one queue. What somebody else put there is left alone."""
        try:
            await call(self._wire, register_worker(keys, self.worker_id, state))
        except ResponseError as error:
            if not is_foreign_value(error):
                raise
            self._not_registered[keys].say(error)
        else:
            self._not_registered[keys].over()

    async def _list_queues(self) -> None:
        names = (keys.queue for keys in self._queues)
        try:
            await self._wire.send("SADD", self._fleet.queues, *names)
        except OutOfMemoryError as error:
            # Nobody waits for a queue that is not listed yet: the next beat says it again.
            logger.debug("queues are not listed yet: %s", error)


def _text(fact: object) -> str:
    return fact if isinstance(fact, str) else json.dumps(fact)
