"""Hints come, interruptions are noticed, and nothing ends the channel but its owner."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator

import pytest
import redis.asyncio

from consumers.connections.connector import Connector
from consumers.connections.hints import Hints
from tests.support.proxy import FaultProxy
from tests.support.servers import RedisServer
from tests.support.waiting import PATIENCE, aeventually

CHANNELS = {"tm:{q}:control": "q", "tm:{other}:control": "other"}


class Heard:
    """What was called back."""

    def __init__(self) -> None:
        self.hints: list[tuple[str, str]] = []
        self.reconnects = 0

    def hint(self, queue: str, hint: str) -> None:
        self.hints.append((queue, hint))
        if hint == "break":
            raise ValueError("a callback that fails")

    def reconnect(self) -> None:
        self.reconnects += 1


@contextlib.asynccontextmanager
async def listening(url: str, heard: Heard, **options: float) -> AsyncIterator[Hints]:
    control = Hints(
        Connector.of(url), CHANNELS, on_hint=heard.hint, on_reconnect=heard.reconnect, **options
    )
    running = asyncio.create_task(control.run())
    try:
        await asyncio.wait_for(control.subscribed.wait(), PATIENCE)
        yield control
    finally:
        control.stop()
        await asyncio.wait_for(running, PATIENCE)


async def test_hints_reach_the_callback_with_their_queue(
    server: RedisServer, aredis: redis.asyncio.Redis
) -> None:
    heard = Heard()

    async with listening(server.url, heard):
        await aredis.publish("tm:{q}:control", "lanes")
        await aredis.publish("tm:{other}:control", "grün")
        await aredis.publish("tm:{third}:control", "not ours")
        await aredis.publish("tm:{q}:control", b"\xff")

        await aeventually(lambda: len(heard.hints) == 3)

    assert heard.hints == [("q", "lanes"), ("other", "grün"), ("q", "�")]
    assert heard.reconnects == 0


async def test_it_resumes_after_its_connection_is_killed(
    server: RedisServer, aredis: redis.asyncio.Redis
) -> None:
    heard = Heard()

    async with listening(server.url, heard):
        for times in (1, 2, 3):
            await aredis.execute_command("CLIENT", "KILL", "TYPE", "pubsub")
            await aeventually(lambda times=times: heard.reconnects == times)
        await aredis.publish("tm:{q}:control", "again")

        await aeventually(lambda: heard.hints == [("q", "again")])


async def test_it_waits_for_a_server_that_is_not_there_yet(server: RedisServer) -> None:
    heard = Heard()
    with FaultProxy(server.port) as proxy:
        proxy.refuse()
        control = Hints(
            Connector.of(proxy.url), CHANNELS, on_hint=heard.hint, on_reconnect=heard.reconnect
        )
        running = asyncio.create_task(control.run())
        await aeventually(lambda: not control.subscribed.is_set())
        proxy.pass_all()

        await asyncio.wait_for(control.subscribed.wait(), PATIENCE)

        assert heard.reconnects == 0
        control.stop()
        await running


async def test_a_half_open_connection_is_noticed(
    server: RedisServer, aredis: redis.asyncio.Redis
) -> None:
    heard = Heard()
    with FaultProxy(server.port) as proxy:
        async with listening(proxy.url, heard, ping_interval=0.2, silence_limit=1.0) as control:
            proxy.swallow()
            await aeventually(lambda: not control.subscribed.is_set())
            proxy.reset_all()
            proxy.pass_all()
            await aeventually(lambda: heard.reconnects >= 1)

            await aredis.publish("tm:{q}:control", "again")
            await aeventually(lambda: heard.hints == [("q", "again")])


async def test_pings_keep_a_quiet_channel(server: RedisServer) -> None:
    heard = Heard()

    async with listening(server.url, heard, ping_interval=0.1, silence_limit=1.0) as control:
        # Longer than the limit: nothing but pings passes meanwhile.
        await asyncio.sleep(2.5)

        assert control.subscribed.is_set()
        assert heard.reconnects == 0


async def test_a_callback_that_fails_costs_only_its_hint(
    server: RedisServer, aredis: redis.asyncio.Redis, caplog: pytest.LogCaptureFixture
) -> None:
    heard = Heard()

    async with listening(server.url, heard):
        await aredis.publish("tm:{q}:control", "break")
        await aredis.publish("tm:{q}:control", "fine")
        await aeventually(lambda: heard.hints == [("q", "break"), ("q", "fine")])

    assert heard.reconnects == 0
    assert "a callback that fails" in caplog.text


async def test_an_interruption_is_logged_without_the_password(
    server: RedisServer, aredis: redis.asyncio.Redis, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    await aredis.acl_setuser(
        "u", enabled=True, passwords=["+topsecret"], categories=["+@all"], channels=["*"]
    )
    heard = Heard()

    async with listening(f"redis://u:topsecret@127.0.0.1:{server.port}/0", heard):
        await aredis.execute_command("CLIENT", "KILL", "TYPE", "pubsub")
        await aeventually(lambda: heard.reconnects == 1)

    assert f"redis://u:***@127.0.0.1:{server.port}/0" in caplog.text
    assert "topsecret" not in caplog.text


async def test_a_missing_right_is_told_and_tried_again(
    server: RedisServer, aredis: redis.asyncio.Redis, caplog: pytest.LogCaptureFixture
) -> None:
    await aredis.acl_setuser(
        "u", enabled=True, passwords=["+pw"], categories=["+@all"], reset_channels=True
    )
    control = Hints(
        Connector.of(f"redis://u:pw@127.0.0.1:{server.port}/0"),
        CHANNELS,
        on_hint=Heard().hint,
        on_reconnect=Heard().reconnect,
    )
    running = asyncio.create_task(control.run())

    await aeventually(
        lambda: "no notification connection to" in caplog.text and "ermission" in caplog.text
    )
    await aredis.execute_command("ACL", "SETUSER", "u", "allchannels")

    await asyncio.wait_for(control.subscribed.wait(), PATIENCE)
    control.stop()
    await running


async def test_stopping_ends_it_even_while_it_connects(
    server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("consumers.connections.link.CONNECT_TIMEOUT", 3600.0)
    with FaultProxy(server.port) as proxy:
        proxy.swallow()
        control = Hints(
            Connector.of(proxy.url),
            CHANNELS,
            on_hint=Heard().hint,
            on_reconnect=Heard().reconnect,
            name="a-name",
        )
        running = asyncio.create_task(control.run())
        await aeventually(lambda: proxy.open == 1)

        control.stop()
        control.stop()
        await asyncio.wait_for(running, PATIENCE)
        await control.run()
        proxy.refuse()


async def test_cancelling_run_leaves_nothing_open(
    server: RedisServer, aredis: redis.asyncio.Redis
) -> None:
    heard = Heard()
    control = Hints(
        Connector.of(server.url), CHANNELS, on_hint=heard.hint, on_reconnect=heard.reconnect
    )
    running = asyncio.create_task(control.run())
    await asyncio.wait_for(control.subscribed.wait(), PATIENCE)

    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running

    assert not control.subscribed.is_set()
    await aeventually(lambda: _subscribers(aredis))


async def _subscribers(client: redis.asyncio.Redis) -> bool:
    return await client.pubsub_numsub("tm:{q}:control") == [(b"tm:{q}:control", 0)]
