"""Processes that emit: the same ids at once, while Redis restarts, many at a time."""

from __future__ import annotations

import asyncio

import pytest
import redis as redis_py

from taskmanager import TaskManager
from tests.processes.stage import LEASE, SLACK, Stage
from tests.support.proxy import FaultProxy
from tests.support.servers import RedisServer

pytestmark = pytest.mark.timeout(300)


def test_ids_that_two_processes_emit_at_once_are_jobs_once(stage: Stage) -> None:
    jobs = 200
    scripts = [stage.script("emits.py", str(jobs)) for _ in range(2)]

    new = [int(script.wait_for_line(r"new: (\d+)")[1]) for script in scripts]

    assert [script.wait() for script in scripts] == [0, 0]
    assert sum(new) == stage.stat("emitted") == stage.waiting() == jobs
    assert stage.writers() == 2
    assert stage.starting("jobs", "-c", "8", "--burst").wait() == 0
    ran = sorted(it.job for it in stage.witness.started())
    assert ran == sorted(f"job-{number}" for number in range(jobs))


def test_g4_what_is_emitted_while_replies_are_lost_and_redis_restarts_is_run_once(
    durable_stage: Stage,
) -> None:
    stage, jobs = durable_stage, 300
    # It completes jobs before their emit is repeated: then only the door knows them.
    stage.worker("jobs", "-c", "8", lease=LEASE)
    with FaultProxy(stage.server.port) as network:
        script = stage.script("keeps_emitting.py", str(jobs), url=network.url)

        for emitted in (50, 100, 150):
            script.wait_for_line(rf"emitted {emitted}$")
            network.drop_reply("EVALSHA", 3)
            stage.server.kill()
            stage.server.start()

        assert script.wait() == 0, script.text
        assert network.dropped == 9
    stage.completed(jobs, 2 * SLACK)
    assert stage.stat("emitted") == jobs
    assert stage.waiting() == 0


async def test_a_hundred_emits_at_once_cost_at_most_three_scripts(
    server: RedisServer, redis: redis_py.Redis
) -> None:
    async with TaskManager(server.url) as tm:
        handles = await asyncio.gather(*(tm.emit("nap", id=f"job-{n}") for n in range(100)))

    stats = redis.info("commandstats")
    calls = [stats.get(f"cmdstat_{name}", {}).get("calls", 0) for name in ("eval", "evalsha")]
    assert all(handle.created for handle in handles)
    assert 1 <= sum(calls) <= 3
