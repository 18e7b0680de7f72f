"""The connections of each event loop to Redis.

The facade has other connections only in a worker, opened by assembly.py, and where a command checks
that Redis is there.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from consumers.admin.dead_letters import DeadLetters
from consumers.admin.explainer import Explainer
from consumers.admin.inspector import Inspector
from consumers.admin.live import LiveWorkers
from consumers.admin.operator import Operator
from consumers.admin.results import Results
from consumers.connections.connector import Connector
from consumers.connections.wire import Wire
from consumers.emit.producer import Producer
from consumers.jobs.names import check_name
from consumers.store.keys import Keys
from processors.schedules.timetable import Timetable
from taskmanager.clients.portal import portal

T = TypeVar("T")


class Client:
    """The client of one event loop: a producer, and everything that reads on its connection."""

    def __init__(
        self,
        connector: Connector,
        producer: Producer,
        archive: Connector | None = None,
        *,
        result_ttl_ms: int,
    ) -> None:
        # Where results, logs and progress are, if they have their own Redis.
        self._archive = None if archive is None else Wire(archive, name="archive")
        self.producer = producer
        self.where = connector.where
        # For how long a request is repeated, in seconds.
        self.patience = producer.emit_timeout
        # How long the outcome of a job that is cancelled here is kept.
        self.result_ttl_ms = result_ttl_ms
        self._connector = connector
        self._results: Results | None = None
        self._letters: dict[str, DeadLetters] = {}
        self._workers: dict[str, LiveWorkers] = {}
        self._started: set[asyncio.Task[Any]] = set()
        # Set when it is about to close: background work that waits for its turn stops waiting.
        self.closing = asyncio.Event()

    def keys(self, queue: str) -> Keys:
        """Return the keys of a queue; raises InvalidName."""
        return Keys(check_name("queue", queue), self.producer.namespace)

    def inspector(self, queue: str) -> Inspector:
        """Return what reads a queue."""
        return Inspector(self.producer.wire, self.keys(queue), archive=self._archive)

    def explainer(self, queue: str) -> Explainer:
        """Return what explains the jobs of a queue."""
        return Explainer(self.producer.wire, self.keys(queue), archive=self._archive)

    def operator(self, queue: str) -> Operator:
        """Return what changes a queue."""
        return Operator(self.producer.wire, self.keys(queue), archive=self._archive)

    def timetable(self, queue: str) -> Timetable:
        """Return the schedules of a queue."""
        return Timetable(self.producer.wire, self.keys(queue))

    def start(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        """Do work in the background, awaited or not; close waits for it."""
        task = asyncio.create_task(work)
        self._started.add(task)
        task.add_done_callback(self._started.discard)
        return task

    def letters(self, queue: str) -> DeadLetters:
        """Return the dead letters of a queue."""
        if queue not in self._letters:
            keys = self.keys(queue)
            self._letters[queue] = DeadLetters(self.producer.wire, keys, where=self.where)
        return self._letters[queue]

    def workers(self, queue: str) -> LiveWorkers:
        """Return the live workers of a queue."""
        if queue not in self._workers:
            self._workers[queue] = LiveWorkers(
                self.producer.wire, self.keys(queue), where=self.where, patience=self.patience
            )
        return self._workers[queue]

    @property
    def results(self) -> Results:
        """What waits for jobs to end; it subscribes at the first wait."""
        if self._results is None:
            self._results = Results(self._connector, self.producer.wire, archive=self._archive)
        return self._results

    async def close(self) -> None:
        """Finish what was emitted and disconnect."""
        self.closing.set()
        await self.producer.flush()
        while self._started:
            await asyncio.wait(self._started)
        if self._results is not None:
            await self._results.close()
        if self._archive is not None:
            await self._archive.close()
        await self.producer.close()


class Clients:
    """The clients of one task manager, in any event loop, thread and forked child.

    `open_client` makes one on the running loop. Each loop in each process gets its own.
    """

    def __init__(self, open_client: Callable[[], Client]) -> None:
        self._open_client = open_client
        self._clients: dict[asyncio.AbstractEventLoop, Client] = {}
        self._pid = os.getpid()
        self._inherited: list[object] = []

    def here(self) -> Client:
        """Return the client of the running loop; it connects with its first command."""
        self._forget_other_process()
        loop = asyncio.get_running_loop()
        client = self._clients.get(loop)
        if client is None:
            self._forget_closed_loops()
            client = self._clients[loop] = self._open_client()
            portal.at_close(loop, self.close)
        return client

    async def close(self) -> None:
        """Close the client of the running loop; a later use opens another."""
        self._forget_other_process()
        client = self._clients.pop(asyncio.get_running_loop(), None)
        if client is not None:
            await client.close()

    def _forget_other_process(self) -> None:
        if self._pid != os.getpid():
            # Kept, not dropped: dropping it would close connections that the parent uses.
            self._inherited.append(self._clients)
            self._clients = {}
            self._pid = os.getpid()

    def _forget_closed_loops(self) -> None:
        for loop in list(self._clients):
            if loop.is_closed():
                self._clients.pop(loop, None)
