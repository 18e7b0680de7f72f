"""What is in a queue, and how to pause, resume and drain it."""

from __future__ import annotations

import asyncio

from consumers.admin.explanation import QueueExplanation
from consumers.admin.figures import QueueStats
from consumers.admin.inspector import queue_names
from consumers.admin.routes import RouteInfo, live_routes
from consumers.admin.workers import WorkerInfo, live_workers
from consumers.jobs.names import check_name
from consumers.store.keys import Fleet
from taskmanager.clients.answers import answering, changing, refusing
from taskmanager.clients.clients import Clients

# Each check sends Redis a few commands per lane.
_DRAIN_LOOK = 0.05


class Queues:
    """The queues of one task manager, on any event loop.

    Its methods raise RedisUnavailable if Redis does not answer. Calling them again is safe.
    """

    def __init__(self, clients: Clients) -> None:
        self._clients = clients

    async def stats(self, queue: str) -> QueueStats:
        """Return the figures of a queue."""
        client = self._clients.here()
        with answering(client.where):
            return await client.inspector(queue).stats()

    async def names(self) -> list[str]:
        """Return the names of all queues."""
        client = self._clients.here()
        with answering(client.where):
            return await queue_names(client.producer.wire, Fleet(client.producer.namespace))

    async def workers(self, queue: str) -> list[WorkerInfo]:
        """Return the live workers of a queue; raises BrokenKey."""
        client = self._clients.here()
        with answering(client.where):
            return await live_workers(client.producer.wire, client.keys(queue))

    async def routes(self, queue: str) -> list[RouteInfo]:
        """Return the routes of a queue; raises BrokenKey."""
        client = self._clients.here()
        with answering(client.where):
            return await live_routes(client.producer.wire, client.keys(queue))

    async def explain(self, queue: str) -> QueueExplanation:
        """Return why the jobs of a queue wait; raises BrokenKey."""
        client = self._clients.here()
        with answering(client.where), refusing(client.where, client.keys(queue)):
            return await client.explainer(queue).queue()

    async def drain(self, queue: str) -> None:
        """Return when no job of a queue is waiting, due or running."""
        quiet = 0
        # Twice, because the lanes are not all read at the same moment: a job may be on
        # its way from one to another.
        while quiet < 2:
            quiet = quiet + 1 if await self._is_quiet(queue) else 0
            if quiet < 2:
                await asyncio.sleep(_DRAIN_LOOK)

    async def pause(self, queue: str, event: str | None, *, wait: bool) -> None:
        """Stop a queue, or one event in it, from starting jobs; see TaskManager.pause."""
        _check_event(event)
        client = self._clients.here()
        operator = client.operator(queue)
        with changing(client.where, client.keys(queue)):
            number = await operator.pause(event)
            if wait:
                await operator.until_obeyed(number)

    async def resume(self, queue: str, event: str | None) -> None:
        """End the pause of a queue, or of one event in it; see TaskManager.resume."""
        _check_event(event)
        client = self._clients.here()
        operator = client.operator(queue)
        with changing(client.where, client.keys(queue)):
            await operator.resume(event)

    async def _is_quiet(self, queue: str) -> bool:
        client = self._clients.here()
        with answering(client.where):
            # First: a job that becomes due in between is counted as waiting.
            due = await client.inspector(queue).due()
            stats = await client.inspector(queue).stats()
        return due + stats.waiting + stats.active == 0


def _check_event(event: str | None) -> None:
    if event is not None:
        check_name("event", event)
