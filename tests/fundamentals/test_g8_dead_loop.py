"""G8 has a bound: a loop that never turns again does not keep its jobs from the others."""

from __future__ import annotations

import asyncio
import logging
import threading

import pytest
import redis as redis_py

from consumers.jobs.job import Job
from tests.support.engine import SHORT_LEASE, QueueView, emitting, working, working_thread
from tests.support.facade import python
from tests.support.servers import RedisServer
from tests.support.waiting import aeventually

_DEADLOCK = """
import asyncio, logging, sys, threading
from taskmanager import Job, TaskManager

logging.basicConfig()
tm = TaskManager(sys.argv[1], lease=1, max_loop_lag=1)

@tm.registerHandler(event="work")
async def work(job: Job):
    threading.Event().wait()

async def main():
    await tm.emit("work")
    await tm.run()

asyncio.run(main())
"""


async def test_g8_the_jobs_of_a_loop_that_is_dead_run_elsewhere(
    server: RedisServer, redis: redis_py.Redis, caplog: pytest.LogCaptureFixture
) -> None:
    queue, may_end, called = QueueView(redis), threading.Event(), list[int]()
    ran = list[str]()

    async def deadlock(job: Job[None]) -> None:
        if job.delivery == 1:
            may_end.wait(60.0)
        ran.append(job.id)

    async def wait(job: Job[None]) -> None:
        if job.delivery == 1:
            await asyncio.sleep(60)
        ran.append(job.id)

    handlers = {"deadlock": deadlock, "wait": wait}
    options = {"concurrency": 2, "max_loop_lag": 1.0, "on_dead_loop": lambda: called.append(1)}
    async with emitting(server.url) as emit:
        with working_thread(server.url, handlers, lease=SHORT_LEASE, **options) as dead:
            try:
                await emit("wait")
                await aeventually(lambda: dead.running == 1, within=20.0)
                await emit("deadlock")
                await aeventually(lambda: called, within=20.0)
                async with working(server.url, handlers, concurrency=2):
                    await aeventually(lambda: len(ran) == 2, within=30.0)
                    await aeventually(queue.is_empty, within=20.0)
            finally:
                may_end.set()
            # It turns again: what it lost is not recorded, and it goes on.
            await aeventually(lambda: dead.running == 0, within=20.0)
            await emit("wait", id="next")
            await aeventually(lambda: len(queue.pending()) == 1, within=20.0)

    assert sorted(ran[:2]) == ["deadlock-1", "wait-1"]
    assert called == [1]
    [said] = [it for it in caplog.records if "max_loop_lag" in it.getMessage()]
    assert said.levelno == logging.ERROR
    assert "deadlock" in said.getMessage()


def test_g8_a_process_whose_loop_is_dead_ends_as_failed(
    server: RedisServer, redis: redis_py.Redis
) -> None:
    ended = python(_DEADLOCK, server)

    assert ended.returncode == 1
    assert "max_loop_lag" in ended.stderr
    assert ended.stderr.endswith("exiting with code 1, because the event loop is blocked\n")
    assert len(QueueView(redis).pending()) == 1
