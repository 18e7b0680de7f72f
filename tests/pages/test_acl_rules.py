"""The Redis users that docs/redis.md creates can do what the page says, and need nothing more."""

from __future__ import annotations

import re
import shlex
from typing import Any

import pytest
import redis as redis_py

from consumers.open.rights import DISPENSABLE, commands
from taskmanager import Context, Job, TaskManager
from tests.pages.steps import ROOT
from tests.support.servers import RedisServer, chosen
from tests.support.waiting import PATIENCE

PAGE = (ROOT / "docs" / "redis.md").read_text()
LINES = [
    shlex.split(block.replace("\\\n", ""))
    for block in re.findall(r"^\$ redis-cli (ACL SETUSER .+?)```", PAGE, re.M | re.S)
]
USERS = {line[2]: line for line in LINES}
on_each_server = pytest.mark.parametrize("server", chosen(), ids=lambda it: it.id, indirect=True)


def manager_of(server: RedisServer, redis: redis_py.Redis, user: str) -> TaskManager[Any]:
    """Return a task manager of a user, made as the page says."""
    redis.execute_command(*USERS[user])
    return TaskManager(server.url.replace("redis://", f"redis://{user}:PASSWORD@"))


def refused(redis: redis_py.Redis) -> list[Any]:
    """Return what users were refused since the server is like new."""
    return [(it["username"], it["object"]) for it in redis.acl_log()]


def test_a_worker_is_given_each_command_of_the_scripts() -> None:
    given = {it[1:].upper().replace("|", " ") for it in USERS["jobs"] if it[0] == "+"}

    assert {*commands(), *DISPENSABLE} <= given


@on_each_server
async def test_a_worker_and_a_producer_need_no_other_rights(
    server: RedisServer, redis: redis_py.Redis
) -> None:
    redis.execute_command("ACL LOG", "RESET")
    worker, producer = (manager_of(server, redis, user) for user in ("jobs", "producer"))

    @worker.registerHandler(event="add", queue="other")
    @worker.registerHandler(event="add", max_retries=1, retry_delay_ms=1)
    async def add(job: Job[dict[str, int]], ctx: Context) -> int:
        await job.logger("here")
        if job.attempt == 1:
            raise ValueError("once more")
        ctx.emit("add", queue="other", on_success=True)
        return job.data["n"]

    await worker.start()
    async with producer:
        handle = await producer.emit("add", data={"n": 1}, idempotency_key="a")
        found = await handle.result(timeout=PATIENCE), await handle.status()
        later = await producer.emit("add", data={"n": 2}, delay=60)
        why = await later.explain()
        counted = await producer.explain_queue()
        cancelled = await later.cancel()
    await worker.drain("other")
    dead = await worker.dlq.list("other")
    await worker.pause(wait=True)
    stats = await worker.stats("other")
    await worker.stop()

    assert (found, bool(cancelled)) == ((1, "completed"), True)
    assert (why.reason, counted.jobs) == ("delayed", 1)
    assert (stats.dead, len(dead)) == (1, 1)
    assert refused(redis) == []
