"""Connecting to a host by its name."""

from __future__ import annotations

import asyncio
import errno
import socket
import ssl
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import redis as redis_py
from redis.exceptions import ConnectionError

from consumers.connections.connector import Connector
from consumers.connections.resolver import Resolver
from consumers.connections.wire import Wire
from consumers.errors import plain_reason
from tests.support.servers import RedisServer
from tests.support.waiting import aeventually


def by_name(server: RedisServer) -> str:
    return f"redis://localhost:{server.port}/0"


def rows_of(*addresses: str) -> list[tuple[Any, ...]]:
    return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (it, 0)) for it in addresses]


async def test_a_lost_connection_is_made_again_while_the_default_executor_is_full(
    server: RedisServer, redis: redis_py.Redis
) -> None:
    may_end = threading.Event()
    loop = asyncio.get_running_loop()
    loop.set_default_executor(ThreadPoolExecutor(1))
    wire = Wire(Connector.of(by_name(server)), name="a-wire")
    number = await wire.send("CLIENT", "ID")
    busy = loop.run_in_executor(None, may_end.wait)
    try:
        redis.client_kill_filter(_id=str(number))
        await aeventually(lambda: not wire.connected)

        assert await wire.send("PING") == b"PONG"
    finally:
        may_end.set()
        await busy
        await wire.close()


async def test_the_next_address_of_a_host_is_tried_when_one_refuses(
    server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_: rows_of("127.0.0.2", "127.0.0.1"))
    wire = Wire(Connector.of(f"redis://two-homes:{server.port}/0"), name=None)

    # The server listens at the second one only.
    assert await wire.send("PING") == b"PONG"
    await wire.close()


_REFUSED = OSError(errno.ECONNREFUSED, "Connect call failed")
_UNREACHABLE = OSError(errno.ENETUNREACH, "Connect call failed")
_UNTRUSTED = ssl.SSLError(1, "[SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed: CA")


@pytest.mark.parametrize(
    ("errors", "reason"),
    [
        ([_REFUSED, _REFUSED], "connection refused"),
        ([_UNREACHABLE, _REFUSED], "network is unreachable, connection refused"),
        ([_UNTRUSTED, _UNTRUSTED], "certificate verify failed: CA"),
        ([_REFUSED, _UNTRUSTED], "connection refused, certificate verify failed: CA"),
        ([TimeoutError(), _REFUSED], "no answer, connection refused"),
    ],
)
async def test_each_reason_of_the_addresses_of_a_host_is_given_once(
    monkeypatch: pytest.MonkeyPatch, errors: list[OSError], reason: str
) -> None:
    left = list(errors)

    async def connect(*_: object, **__: object) -> None:
        raise left.pop(0)

    monkeypatch.setattr(socket, "getaddrinfo", lambda *_: rows_of("127.0.0.2", "127.0.0.1"))
    monkeypatch.setattr(asyncio, "open_connection", connect)
    wire = Wire(Connector.of("redis://two-homes"), name=None)

    with pytest.raises(ConnectionError) as caught:
        await wire.send("PING")

    assert plain_reason(str(caught.value)) == reason
    await wire.close()


async def test_a_host_that_nobody_knows_is_told_with_its_name() -> None:
    wire = Wire(Connector.of("redis://nobody.invalid"), name=None)

    with pytest.raises(ConnectionError, match=r"connecting to nobody\.invalid:6379"):
        await wire.send("PING")
    await wire.close()


async def test_a_silent_name_server_holds_one_thread_however_often_it_is_asked(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[str] = []
    may_answer = threading.Event()

    def look_up(host: str, *_: object) -> list[tuple[Any, ...]]:
        asked.append(host)
        may_answer.wait()
        return rows_of("127.0.0.1")

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    resolver = Resolver()
    given_up = [asyncio.create_task(resolver.addresses("slow")) for _ in range(10)]
    other = asyncio.create_task(resolver.addresses("other"))
    await aeventually(lambda: sorted(asked) == ["other", "slow"])
    for task in given_up:
        task.cancel()
    late = asyncio.create_task(resolver.addresses("slow"))
    await asyncio.sleep(0)
    may_answer.set()

    assert await late == await other == ["127.0.0.1"]
    assert sorted(asked) == ["other", "slow"]
    assert await resolver.addresses("slow") == ["127.0.0.1"]
    assert len(asked) == 3
