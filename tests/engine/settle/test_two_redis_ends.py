"""What is told of a run's end where results have a Redis of their own: what the queue recorded."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass

import pytest
import redis as redis_py

from consumers.admin.facts import End, Facts
from consumers.admin.inspector import Inspector
from consumers.admin.operator import Operator
from consumers.connections.connector import Connector
from consumers.connections.wire import Wire
from consumers.jobs.outcome import Buried, Completed, RetryAt
from consumers.settle.archive import Archive
from consumers.store.delivery import Delivery
from consumers.store.settling import Settlement
from tests.support.queue import OTHER, RESULT_TTL_MS, Queue, new_job
from tests.support.servers import RedisServer

HOUR_MS = 3_600_000


@dataclass
class Ends:
    """A queue in one Redis and a worker's archive in another, seen from outside."""

    queue: Queue
    archive: Archive
    operator: Operator
    inspector: Inspector

    async def lost(self) -> Delivery:
        """Return a delivery that another worker has taken over, its value kept before that."""
        delivery = self.queue.one()
        await self.keep_late(delivery)
        self.queue.hand_over(delivery)
        return delivery

    async def keep_late(self, delivery: Delivery) -> None:
        """Keep what the worker that lost a delivery came to."""
        await self.archive.write([Settlement(delivery, Completed(b'"lost"'))])

    async def cancel(self) -> str:
        return (await self.operator.cancel("a", None, result_ttl_ms=RESULT_TTL_MS)).word

    async def told(self) -> Facts:
        return await self.inspector.job("a")


@pytest.fixture
async def ends(server: RedisServer, redis: redis_py.Redis) -> AsyncIterator[Ends]:
    queue, other = Queue(redis), Connector.of(f"redis://127.0.0.1:{server.port}/1")
    archive = Archive(other, consumer="me", result_ttl_ms=RESULT_TTL_MS)
    wire, kept = Wire(Connector.of(server.url), name="asks"), Wire(other, name="kept")
    yield Ends(
        queue,
        archive,
        Operator(wire, queue.keys, archive=kept),
        Inspector(wire, queue.keys, archive=kept),
    )
    for it in (archive, wire, kept):
        await it.close()


def successor(delivery: Delivery) -> Delivery:
    """Return the delivery to the worker that took one over."""
    return Delivery(delivery.stream, delivery.entry, 2, delivery.envelope, 0.0)


async def test_a_cancelled_jobs_end_is_not_what_a_worker_kept_that_had_lost_it(ends: Ends) -> None:
    delivery = await ends.lost()
    ends.queue.settle((successor(delivery), RetryAt(HOUR_MS)), consumer=OTHER)

    assert await ends.cancel() == "cancelled"

    assert (await ends.told()).end == End(1, "cancelled", b"cancelled")
    await ends.keep_late(delivery)
    assert (await ends.told()).end == End(1, "cancelled", b"cancelled")


async def test_a_later_run_of_a_cancelled_id_has_an_end_of_its_own(ends: Ends) -> None:
    ends.queue.emit(new_job())
    assert await ends.cancel() == "cancelled"
    again = ends.queue.one()

    await ends.keep_late(again)

    assert (await ends.told()).end == End(2, "completed", b'"lost"')


async def test_a_dead_job_is_told_as_dead_whatever_a_worker_kept_that_had_lost_it(
    ends: Ends,
) -> None:
    delivery = await ends.lost()

    ends.queue.settle((successor(delivery), Buried("failed")), consumer=OTHER, result_ttl_ms=0)

    facts = await ends.told()
    assert facts.state == "dead"
    assert facts.end is None
    assert facts.letter is not None
