"""One question at a time: several commands, deadlines, and what becomes of the connection."""

from __future__ import annotations

import asyncio

import pytest
import redis.asyncio
from redis.exceptions import ConnectionError, ResponseError, TimeoutError

from consumers.connections.channel import Channel, SyncChannel
from consumers.connections.connector import Connector
from tests.support.proxy import FaultProxy
from tests.support.servers import RedisServer
from tests.support.waiting import PATIENCE, aeventually

pytestmark = pytest.mark.foreign_keys


async def test_several_commands_get_a_reply_each_and_errors_are_values(server: RedisServer) -> None:
    channel = Channel(Connector.of(server.url), name="a-reader")

    replies = await channel.ask(("SET", "k", "v"), ("INCR", "k"), ("GET", "k"), timeout=PATIENCE)

    assert (replies[0], replies[2]) == (b"OK", b"v")
    assert isinstance(replies[1], ResponseError)
    await channel.close()


async def test_a_channel_knows_its_number_while_it_is_connected(server: RedisServer) -> None:
    channel = Channel(Connector.of(server.url), name="a-reader")
    assert (channel.connected, channel.client_id) == (False, None)

    number, name = await channel.ask(("CLIENT", "ID"), ("CLIENT", "GETNAME"), timeout=PATIENCE)

    assert (channel.connected, channel.client_id, name) == (True, number, b"a-reader")
    await channel.close()
    assert (channel.connected, channel.client_id) == (False, None)


async def test_a_blocking_read_can_be_unblocked(
    server: RedisServer, aredis: redis.asyncio.Redis
) -> None:
    channel = Channel(Connector.of(server.url), name=None)
    await channel.ask(("PING",), timeout=PATIENCE)
    read = ("XREAD", "BLOCK", 5000, "STREAMS", "s", "$")
    asking = asyncio.create_task(channel.ask(read, ("XLEN", "s"), timeout=PATIENCE))

    await aeventually(lambda: aredis.client_unblock(channel.client_id))

    assert await asking == [None, 0]
    assert channel.connected
    await channel.close()


async def test_a_reply_that_does_not_come_costs_the_connection(server: RedisServer) -> None:
    channel = Channel(Connector.of(server.url), name=None)
    await channel.ask(("PING",), timeout=PATIENCE)
    number = channel.client_id

    with pytest.raises(TimeoutError, match=r"no reply within 0\.2 s"):
        await channel.ask(("BLPOP", "nothing", 0), timeout=0.2)

    assert not channel.connected
    assert await channel.ask(("ECHO", "x"), timeout=PATIENCE) == [b"x"]
    assert channel.client_id != number
    await channel.close()


async def test_a_cancelled_question_never_answers_the_next_one(server: RedisServer) -> None:
    channel = Channel(Connector.of(server.url), name=None)
    await channel.ask(("PING",), timeout=PATIENCE)
    asking = asyncio.create_task(channel.ask(("ECHO", "old"), timeout=PATIENCE))
    await asyncio.sleep(0)

    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking

    assert not channel.connected
    assert await channel.ask(("ECHO", "new"), timeout=PATIENCE) == [b"new"]
    await channel.close()


async def test_a_question_cancelled_while_connecting_leaves_nothing_open(
    server: RedisServer,
) -> None:
    with FaultProxy(server.port) as proxy:
        proxy.swallow()
        channel = Channel(Connector.of(proxy.url), name="a-name")
        asking = asyncio.create_task(channel.ask(("PING",), timeout=PATIENCE))
        await aeventually(lambda: proxy.open == 1)

        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking

        proxy.refuse()
        proxy.pass_all()
        assert await channel.ask(("PING",), timeout=PATIENCE) == [b"PONG"]
        await channel.close()


async def test_a_killed_connection_fails_the_question_and_the_next_one_works(
    server: RedisServer, aredis: redis.asyncio.Redis
) -> None:
    channel = Channel(Connector.of(server.url), name=None)
    await channel.ask(("PING",), timeout=PATIENCE)
    asking = asyncio.create_task(channel.ask(("BLPOP", "nothing", 0), timeout=PATIENCE))
    await asyncio.sleep(0)

    await aredis.execute_command("CLIENT", "KILL", "ID", channel.client_id)

    with pytest.raises(ConnectionError):
        await asking
    assert await channel.ask(("PING",), timeout=PATIENCE) == [b"PONG"]
    await channel.close()


async def test_a_second_question_at_the_same_time_is_a_mistake(server: RedisServer) -> None:
    channel = Channel(Connector.of(server.url), name=None)
    first = asyncio.create_task(channel.ask(("ECHO", "x"), timeout=PATIENCE))
    await asyncio.sleep(0)

    with pytest.raises(RuntimeError, match="one question at a time"):
        await channel.ask(("PING",), timeout=PATIENCE)

    assert await first == [b"x"]
    await channel.close()


async def test_closing_ends_an_open_question(server: RedisServer) -> None:
    channel = Channel(Connector.of(server.url), name=None)
    await channel.ask(("PING",), timeout=PATIENCE)
    asking = asyncio.create_task(channel.ask(("BLPOP", "nothing", 0), timeout=PATIENCE))
    await asyncio.sleep(0)

    await channel.close()
    await channel.close()

    with pytest.raises(ConnectionError, match="closed"):
        await asking
    with pytest.raises(ConnectionError, match="closed"):
        await channel.ask(("PING",), timeout=PATIENCE)


async def test_closing_while_it_connects_ends_the_question(server: RedisServer) -> None:
    channel = Channel(Connector.of(server.url), name="a-name")
    asking = asyncio.create_task(channel.ask(("PING",), timeout=PATIENCE))
    await asyncio.sleep(0)

    await channel.close()

    with pytest.raises(ConnectionError, match="closed"):
        await asking


async def test_a_server_that_is_loading_or_asks_for_a_login_is_not_usable(
    server: RedisServer, aredis: redis.asyncio.Redis
) -> None:
    channel = Channel(Connector.of(server.url), name=None)
    await aredis.config_set("requirepass", "secret")

    try:
        with pytest.raises(ConnectionError):
            await channel.ask(("PING",), timeout=PATIENCE)
    finally:
        await aredis.config_set("requirepass", "")

    assert await channel.ask(("PING",), timeout=PATIENCE) == [b"PONG"]
    await channel.close()


def test_a_synchronous_channel_answers_the_same(server: RedisServer) -> None:
    channel = SyncChannel(Connector.of(server.url), name="a-thread")

    replies = channel.ask(
        ("SET", "k", "v"), ("INCR", "k"), ("CLIENT", "GETNAME"), ("CLIENT", "ID"), timeout=PATIENCE
    )

    assert replies[::2] == [b"OK", b"a-thread"]
    assert isinstance(replies[1], ResponseError)
    assert (channel.connected, channel.client_id) == (True, replies[3])
    channel.close()
    channel.close()
    assert not channel.connected
    with pytest.raises(ConnectionError, match="closed"):
        channel.ask(("PING",), timeout=PATIENCE)


def test_a_synchronous_channel_drops_what_does_not_answer(server: RedisServer) -> None:
    channel = SyncChannel(Connector.of(server.url), name=None)
    channel.ask(("PING",), timeout=PATIENCE)

    with pytest.raises(TimeoutError):
        channel.ask(("PING",), ("BLPOP", "nothing", 0), timeout=0.2)

    assert not channel.connected
    assert channel.ask(("ECHO", "x"), timeout=PATIENCE) == [b"x"]
    channel.close()


def test_a_synchronous_channel_survives_a_broken_network(server: RedisServer) -> None:
    with FaultProxy(server.port) as proxy:
        channel = SyncChannel(Connector.of(proxy.url), name=None)
        channel.ask(("PING",), timeout=PATIENCE)
        proxy.refuse()

        for _ in range(2):
            with pytest.raises(ConnectionError):
                channel.ask(("PING",), timeout=PATIENCE)

        proxy.pass_all()
        assert channel.ask(("PING",), timeout=PATIENCE) == [b"PONG"]
        channel.close()
