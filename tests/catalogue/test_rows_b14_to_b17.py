"""Rows B14 to B17 of the fault catalogue: connections end, or cannot be made."""

from __future__ import annotations

import asyncio
from collections import Counter

import pytest
import redis as redis_py
import redis.asyncio as redis_async
from redis.credentials import CredentialProvider

from consumers.errors import RedisUnavailable
from consumers.jobs.job import Job
from tests.catalogue.own_servers import facts, refusals
from tests.support.engine import SHORT_LEASE, QueueView, emitting, working
from tests.support.servers import RedisServer
from tests.support.waiting import aeventually

pytestmark = pytest.mark.timeout(300)


async def test_row_b14_connections_that_are_killed_again_and_again_leave_nobody_deaf(
    server: RedisServer, redis: redis_py.Redis
) -> None:
    queue, ran = QueueView(redis), Counter[str]()

    async def work(job: Job[None]) -> None:
        ran[job.id] += 1

    async with (
        emitting(server.url, emit_timeout=60.0) as emit,
        working(server.url, {"work": work}, concurrency=4, lease=SHORT_LEASE) as worker,
    ):
        emits = []
        for _ in range(30):
            redis.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
            redis.execute_command("CLIENT", "KILL", "TYPE", "pubsub")
            emits += [emit("work") for _ in range(5)]
            # Into whatever they are doing just then.
            await asyncio.sleep(0.05)
        emits.append(emit("work", id="afterwards"))
        await aeventually(lambda: ran["afterwards"])
        await asyncio.gather(*emits)
        fetcher = worker._parts.fetcher  # type: ignore[union-attr]
        await aeventually(lambda: queue.stats("completed") == 151)
        passes = fetcher.passes
        # Of a lane that is new only a hint, or a look at the queue, tells.
        await emit("work", priority=7)
        await aeventually(lambda: queue.stats("completed") == 152)
        await aeventually(lambda: fetcher.passes > passes)

    assert len(ran) == 152
    assert queue.stats("emitted") == 152


async def test_row_b15_idle_connections_that_are_closed_make_no_noise(
    server: RedisServer, redis: redis_py.Redis, caplog: pytest.LogCaptureFixture
) -> None:
    may_end = asyncio.Event()

    async def work(job: Job[None]) -> None:
        await may_end.wait()

    redis.config_set("timeout", 1)
    async with (
        emitting(server.url) as emit,
        # Renewed less often than connections are closed.
        working(server.url, {"work": work}, concurrency=2, lease=6.0) as worker,
    ):
        await emit("work")
        await aeventually(lambda: worker.running == 1)
        with server.client() as client:
            before = facts(client, "stats")["total_connections_received"]
        # What is measured is a time in which connections idle.
        await asyncio.sleep(6.0)
        with server.client() as client:
            made = facts(client, "stats")["total_connections_received"] - before
        may_end.set()
        await aeventually(lambda: worker.settled == 1)
        await emit("work")
        await aeventually(lambda: worker.settled == 2)

    assert caplog.messages == []
    assert made < 20


async def test_row_b16_a_redis_without_room_for_clients_is_asked_again_with_patience(
    server: RedisServer, redis: redis_py.Redis, caplog: pytest.LogCaptureFixture
) -> None:
    ran, may_end = list[tuple[str, int]](), asyncio.Event()

    async def work(job: Job[None]) -> None:
        ran.append((job.id, job.delivery))
        await may_end.wait()

    async with (
        emitting(server.url, emit_timeout=3.0) as emit,
        working(server.url, {"work": work}) as worker,
    ):
        await emit("work")
        await aeventually(lambda: worker.running == 1)
        redis.config_set("maxclients", 1)
        redis.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
        redis.execute_command("CLIENT", "KILL", "TYPE", "pubsub")
        with pytest.raises(RedisUnavailable, match="max number of clients"):
            await emit("work", id="refused")
        may_end.set()
        before = facts(redis, "stats")["rejected_connections"]
        # What is measured is a time in which nobody is let in.
        await asyncio.sleep(3.0)
        rejected = facts(redis, "stats")["rejected_connections"] - before
        redis.config_set("maxclients", 10_000)
        await aeventually(lambda: worker.settled == 1)
        await emit("work")
        await aeventually(lambda: worker.settled == 2)

    assert ran == [("work-1", 1), ("work-2", 1)]
    assert 0 < rejected < 60
    assert "Traceback" not in caplog.text
    assert len(caplog.messages) < 10, caplog.messages


class Rotating(CredentialProvider):
    """Knows the password of the moment, as a secret store does."""

    def __init__(self, password: str) -> None:
        self.password = password

    def get_credentials(self) -> tuple[str, str]:
        return ("worker", self.password)

    async def get_credentials_async(self) -> tuple[str, str]:
        return self.get_credentials()


@pytest.mark.parametrize("given", ["provider", "url"])
async def test_row_b17_a_password_that_was_changed_is_asked_for_or_missed_once(
    server: RedisServer, redis: redis_py.Redis, caplog: pytest.LogCaptureFixture, given: str
) -> None:
    """With a URL the old one is all there is: the worker waits until it is accepted again."""
    provider, ran = Rotating("old-secret"), list[str]()

    async def work(job: Job[None]) -> None:
        ran.append(job.id)

    url = server.url.replace("redis://", "redis://worker:old-secret@")
    with_provider = redis_async.Redis(port=server.port, credential_provider=provider)
    set_password(redis, "old-secret")
    async with (
        emitting(server.url) as emit,
        working(with_provider if given == "provider" else url, {"work": work}) as worker,
    ):
        await emit("work")
        await aeventually(lambda: worker.settled == 1)
        set_password(redis, "new-secret")
        provider.password = "new-secret"
        redis.execute_command("CLIENT", "KILL", "USER", "worker")
        await emit("work")
        if given == "url":
            # What is measured is a time in which it is not let in.
            await asyncio.sleep(4.0)
            assert ran == ["work-1"]
            set_password(redis, "old-secret")
        await aeventually(lambda: worker.settled == 2)

    assert ran == ["work-1", "work-2"]
    assert "secret" not in caplog.text
    assert len(caplog.messages) < 6, caplog.messages


async def test_row_b17_a_worker_whose_rights_were_taken_waits_for_them(
    server: RedisServer, redis: redis_py.Redis, caplog: pytest.LogCaptureFixture
) -> None:
    await check_it_waits_for_its_rights(server, redis)

    assert "no permissions" in caplog.text
    assert "secret" not in caplog.text
    assert "Traceback" not in caplog.text


async def test_row_b17_a_worker_whose_rights_were_taken_says_once_what_it_may_not_do(
    server: RedisServer, redis: redis_py.Redis, caplog: pytest.LogCaptureFixture
) -> None:
    await check_it_waits_for_its_rights(server, redis)

    # Each of its parts.
    said = [it for it in caplog.messages if "no permissions" in it]
    assert 0 < len(said) == len(set(said)) < 6, said


async def check_it_waits_for_its_rights(server: RedisServer, redis: redis_py.Redis) -> None:
    """Take them for a while, and see nothing lost: neither what waits nor what has run."""
    ran: list[tuple[str, int]] = []

    async def work(job: Job[None]) -> None:
        ran.append((job.id, job.delivery))

    url = server.url.replace("redis://", "redis://worker:secret@")
    set_password(redis, "secret")
    async with emitting(server.url) as emit, working(url, {"work": work}) as worker:
        await emit("work")
        await aeventually(lambda: worker.settled == 1)
        set_password(redis, "secret", "-@stream", "-@scripting")
        # A reader that was blocked before gets one more, whose outcome is refused then.
        await asyncio.gather(*(emit("work") for _ in range(3)))
        redis.config_resetstat()
        # What is measured is a time in which it may do nothing.
        await asyncio.sleep(4.0)
        assert worker.settled == 1
        assert 0 < refusals(redis, "NOPERM") < 40
        set_password(redis, "secret")
        await aeventually(lambda: worker.settled == 4)

    assert ran == [(f"work-{number}", 1) for number in range(1, 5)]


def set_password(redis: redis_py.Redis, password: str, *rights: str) -> None:
    """Let the worker's user log in with this one only; rights change that it may do all."""
    redis.execute_command(
        "ACL", "SETUSER", "worker", "reset", "on", f">{password}", "~*", "&*", "+@all", *rights
    )
