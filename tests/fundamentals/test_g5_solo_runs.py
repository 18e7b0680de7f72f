"""G5: how a job runs that crashed before: alone for a while, and counted exactly."""

from __future__ import annotations

import redis as redis_py

from consumers.job import Job
from consumers.transitions import SOLO
from tests.support.engine import QueueView, emitting, working
from tests.support.proxy import FaultProxy
from tests.support.servers import RedisServer
from tests.support.waiting import aeventually


async def test_g5_a_solo_run_whose_recording_was_not_answered_is_counted_once(
    server: RedisServer, redis: redis_py.Redis
) -> None:
    queue, pointers = QueueView(redis), list[bytes | None]()

    async def work(job: Job[None]) -> None:
        pointers.append(queue.live(job.id))

    async with emitting(server.url) as emit:
        await emit("suspect")
    queue.abandon(crashes=5)
    queue.expire()
    with FaultProxy(server.port) as proxy:
        proxy.drop_reply_of(SOLO, times=4)
        async with working(proxy.url, {"suspect": work}):
            await aeventually(queue.is_empty, within=30.0)
        assert proxy.dropped == 4

    assert queue.letters() == []
    [pointer] = pointers
    assert pointer is not None
    assert pointer.split()[1] == b"1"
