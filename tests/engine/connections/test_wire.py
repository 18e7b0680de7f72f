"""The shared connection: order, failures, and who gets which reply."""

from __future__ import annotations

import asyncio
import gc
import shutil
import ssl
import subprocess
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import redis.asyncio
from redis.exceptions import AuthenticationError, ConnectionError, ResponseError

from consumers.connections.connector import Connector
from consumers.connections.wire import NotSent, Wire
from tests.support.proxy import FaultProxy
from tests.support.servers import RedisServer
from tests.support.waiting import aeventually

pytestmark = pytest.mark.foreign_keys


@pytest.fixture(autouse=True)
async def nothing_is_reported_to_the_loop() -> AsyncIterator[None]:
    """ "Never retrieved" and errors in callbacks fail the test."""
    reported: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: reported.append(context))
    yield
    gc.collect()
    await asyncio.sleep(0)
    assert not reported


@pytest.fixture
async def wire(server: RedisServer) -> AsyncIterator[Wire]:
    wire = Wire(Connector.of(server.url), name="a-wire")
    yield wire
    await wire.close()


async def test_replies_come_back_to_their_commands(wire: Wire) -> None:
    replies = await asyncio.gather(
        wire.send("SET", b"key", "value"),
        wire.send("GET", "key"),
        wire.send(b"INCRBY", "n", 3),
        wire.send("GET", "missing"),
        wire.send("MGET", "key", "missing"),
        wire.send("INCRBYFLOAT", "f", 1.5),
    )

    assert replies == [b"OK", b"value", 3, None, [b"value", None], b"1.5"]


async def test_10000_concurrent_sends_keep_their_order(wire: Wire) -> None:
    echoed = await asyncio.gather(*[wire.send("ECHO", n) for n in range(10_000)])
    numbered = await asyncio.gather(*[wire.send("INCR", "n") for _ in range(10_000)])

    assert echoed == [b"%d" % n for n in range(10_000)]
    assert numbered == list(range(1, 10_001))


async def test_a_command_that_is_not_written_yet_can_be_taken_back(wire: Wire) -> None:
    before = wire.send("INCR", "n")
    withdrawn = wire.send("INCRBY", "n", 100)
    after = wire.send("INCR", "n")

    assert wire.withdraw(withdrawn)
    assert [await before, await after] == [1, 2]
    assert not wire.withdraw(after)
    assert not withdrawn.done()


async def test_commands_of_one_turn_leave_in_one_write(
    wire: Wire, aredis: redis.asyncio.Redis
) -> None:
    await wire.send("PING")
    before = await aredis.info("stats")

    await asyncio.gather(*[wire.send("INCR", "n") for _ in range(100)])

    after = await aredis.info("stats")
    # Two reads of the server: that of the commands and that of the second INFO.
    assert after["total_reads_processed"] - before["total_reads_processed"] == 2


async def test_large_commands_behind_a_full_socket_keep_their_order(wire: Wire) -> None:
    values = [bytes([65 + n % 26]) * 300_000 for n in range(100)]

    # In many turns of the loop, so that some meet a paused socket.
    sent = []
    for value in values:
        sent.append(wire.send("ECHO", value))
        await asyncio.sleep(0)

    assert await asyncio.gather(*sent) == values


async def test_an_error_reply_does_not_disturb_its_neighbours(wire: Wire) -> None:
    await wire.send("SET", "text", "abc")

    before, error, nested, after = await asyncio.gather(
        wire.send("GET", "text"),
        wire.send("INCR", "text"),
        wire.send("EVAL", "return {1, redis.error_reply('MY no')}", 0),
        wire.send("GET", "text"),
        return_exceptions=True,
    )

    assert (before, after) == (b"abc", b"abc")
    assert isinstance(error, ResponseError)
    assert nested[0] == 1
    assert isinstance(nested[1], ResponseError)


async def test_an_argument_of_the_wrong_type_sends_nothing(wire: Wire) -> None:
    for wrong in (None, True, object(), ["a"]):
        with pytest.raises(TypeError):
            wire.send("ECHO", wrong)  # type: ignore[arg-type]

    assert await wire.send("ECHO", "fine") == b"fine"


async def test_a_killed_connection_fails_what_is_in_flight_and_the_next_send_works(
    wire: Wire, aredis: redis.asyncio.Redis
) -> None:
    number = await wire.send("CLIENT", "ID")
    blocked = [wire.send("BLPOP", "nothing", 0), *[wire.send("INCR", "n") for _ in range(50)]]
    await aeventually(lambda: _is_blocked(aredis, number))

    await aredis.execute_command("CLIENT", "KILL", "ID", number)

    outcomes = await asyncio.gather(*blocked, return_exceptions=True)
    assert {type(outcome) for outcome in outcomes} == {ConnectionError}
    assert len({id(outcome) for outcome in outcomes}) == 51
    assert not wire.connected
    assert await wire.send("INCR", "n") == 1
    assert await wire.send("CLIENT", "ID") != number


async def _is_blocked(client: redis.asyncio.Redis, number: int) -> bool:
    found = await client.execute_command("CLIENT", "LIST", "ID", number)
    return "cmd=blpop" in str(found)


async def test_a_connection_that_ended_while_idle_is_made_again(
    wire: Wire, aredis: redis.asyncio.Redis
) -> None:
    number = await wire.send("CLIENT", "ID")

    await aredis.execute_command("CLIENT", "KILL", "ID", number)
    await aeventually(lambda: not wire.connected)

    assert await wire.send("PING") == b"PONG"


async def test_a_server_that_is_away_fails_one_burst_at_a_time(server: RedisServer) -> None:
    with FaultProxy(server.port) as proxy:
        wire = Wire(Connector.of(proxy.url), name=None)
        proxy.refuse()

        refused = [wire.send("INCR", "n") for _ in range(10)]
        outcomes = await asyncio.gather(*refused, return_exceptions=True)
        # Accepted first and reset then: the commands may have been written, or not.
        assert {type(outcome) for outcome in outcomes} <= {ConnectionError, NotSent}

        proxy.pass_all()
        assert await wire.send("INCR", "n") == 1
        await wire.close()


async def test_without_a_connection_surely_nothing_was_sent() -> None:
    wire = Wire(Connector.of("redis://127.0.0.1:1"), name=None)

    with pytest.raises(NotSent, match=r"127\.0\.0\.1:1"):
        await wire.send("PING")
    await wire.close()


async def test_a_half_open_connection_is_dropped_by_the_watchdog(server: RedisServer) -> None:
    with FaultProxy(server.port) as proxy:
        wire = Wire(Connector.of(proxy.url), name=None, reply_timeout=0.3)
        assert await wire.send("PING") == b"PONG"
        proxy.swallow()

        outcomes = await asyncio.gather(
            *[wire.send("INCR", "n") for _ in range(10)], return_exceptions=True
        )

        assert {type(outcome) for outcome in outcomes} == {ConnectionError}
        assert "no reply within 0.3 s" in str(outcomes[0])
        proxy.pass_all()
        assert await wire.send("PING") == b"PONG"
        await wire.close()


async def test_the_watchdog_looks_at_the_oldest_command_only(
    server: RedisServer, aredis: redis.asyncio.Redis
) -> None:
    wire = Wire(Connector.of(server.url), name=None, reply_timeout=2.0)
    loop = asyncio.get_running_loop()
    end = loop.time() + 3.0

    # Never idle for longer than the timeout, so never dropped.
    number = await wire.send("CLIENT", "ID")
    while loop.time() < end:
        await wire.send("BLPOP", "nothing", 0.5)

    assert await wire.send("CLIENT", "ID") == number
    await wire.close()


async def test_a_blocked_event_loop_does_not_cost_the_connection(
    server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Redis may be kept from a processor as well.
    monkeypatch.setattr("consumers.connections.link.GRACE", 5.0)
    wire = Wire(Connector.of(server.url), name=None, reply_timeout=0.2)
    number = await wire.send("CLIENT", "ID")
    replies = [wire.send("ECHO", b"x" * 300_000) for _ in range(5)]
    await asyncio.sleep(0)

    time.sleep(0.5)  # What a careless handler does.

    assert [len(reply) for reply in await asyncio.gather(*replies)] == [300_000] * 5
    assert await wire.send("CLIENT", "ID") == number
    await wire.close()


@pytest.mark.parametrize("scheme", ["redis", "unix"])
async def test_a_wrong_password_is_told_and_not_shown(
    server: RedisServer, aredis: redis.asyncio.Redis, scheme: str
) -> None:
    await aredis.acl_setuser("u", enabled=True, passwords=["+right"], categories=["+@all"])
    address = server.unix_url if scheme == "unix" else f"redis://127.0.0.1:{server.port}/0"
    wire = Wire(Connector.of(address.replace("://", "://u:wrongsecret@")), name=None)

    with pytest.raises(AuthenticationError) as caught:
        await wire.send("PING")

    assert "wrongsecret" not in str(caught.value)
    await wire.close()


@pytest.mark.parametrize("database", [0, 3])
async def test_a_missing_password_is_told(
    server: RedisServer, aredis: redis.asyncio.Redis, database: int
) -> None:
    await aredis.acl_setuser("default", enabled=True, passwords=["+right"])
    wire = Wire(Connector.of(f"redis://127.0.0.1:{server.port}/{database}"), name=None)
    try:
        with pytest.raises(AuthenticationError, match=r"^it requires a password, and none was"):
            await wire.send("PING")
    finally:
        await aredis.acl_setuser("default", enabled=True, nopass=True)
        await wire.close()


async def test_user_password_database_and_name_are_used(
    server: RedisServer, aredis: redis.asyncio.Redis
) -> None:
    await aredis.acl_setuser(
        "u", enabled=True, passwords=["+ri:g@ht"], categories=["+@all"], keys=["*"]
    )
    wire = Wire(Connector.of(f"redis://u:ri%3Ag%40ht@127.0.0.1:{server.port}/3"), name="named")

    assert await wire.send("ACL", "WHOAMI") == b"u"
    assert await wire.send("CLIENT", "GETNAME") == b"named"
    assert b" db=3 " in await wire.send("CLIENT", "LIST", "ID", await wire.send("CLIENT", "ID"))
    await wire.close()


async def test_a_unix_socket_works(server: RedisServer) -> None:
    wire = Wire(Connector.of(server.unix_url), name=None)

    assert await asyncio.gather(*[wire.send("ECHO", n) for n in range(3)]) == [b"0", b"1", b"2"]
    await wire.close()


async def test_closing_fails_what_is_in_flight_and_what_comes_later(wire: Wire) -> None:
    await wire.send("PING")
    blocked = wire.send("BLPOP", "nothing", 0)
    await asyncio.sleep(0)
    unsent = wire.send("PING")

    await wire.close()
    await wire.close()
    late = wire.send("PING")

    outcomes = await asyncio.gather(blocked, unsent, late, return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [ConnectionError, NotSent, NotSent]


async def test_closing_while_it_connects_leaves_nothing_open(server: RedisServer) -> None:
    with FaultProxy(server.port) as proxy:
        proxy.swallow()
        wire = Wire(Connector.of(proxy.url), name="a-name")
        waiting = wire.send("PING")
        await aeventually(lambda: proxy.open == 1)

        await wire.close()

        with pytest.raises(ConnectionError):
            await waiting
        # A swallowing proxy does not notice the end of its client.
        proxy.refuse()


async def test_what_nobody_waits_for_fails_without_a_word(
    wire: Wire, aredis: redis.asyncio.Redis
) -> None:
    number = await wire.send("CLIENT", "ID")
    wire.send("BLPOP", "nothing", 0)
    wire.send("PING")
    await aeventually(lambda: _is_blocked(aredis, number))

    await aredis.execute_command("CLIENT", "KILL", "ID", number)

    await aeventually(lambda: not wire.connected)


async def test_an_unused_wire_closes() -> None:
    await Wire(Connector.of("redis://127.0.0.1:1"), name=None).close()


@pytest.mark.skipif(shutil.which("openssl") is None, reason="needs openssl to make a certificate")
async def test_tls_works_and_verifies_the_certificate(server: RedisServer, tmp_path: Path) -> None:
    certificate, key = _make_certificate(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    tunnel = _Tunnel(server.port)
    listener = await asyncio.start_server(tunnel.accept, "127.0.0.1", 0, ssl=context)
    url = f"rediss://localhost:{listener.sockets[0].getsockname()[1]}/0"

    trusting = Wire(Connector.of(f"{url}?ssl_ca_certs={certificate}"), name=None)
    replies = await asyncio.gather(*[trusting.send("ECHO", b"x" * 50_000) for _ in range(50)])
    assert [len(reply) for reply in replies] == [50_000] * 50
    await trusting.close()

    suspicious = Wire(Connector.of(url), name=None)
    with pytest.raises(ConnectionError, match="certificate verify failed"):
        await suspicious.send("PING")
    await suspicious.close()

    listener.close()
    await tunnel.close()


class _Tunnel:
    """Passes bytes of accepted connections to a port and back."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._tasks: set[asyncio.Task[None]] = set()

    async def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        upstream = await asyncio.open_connection("127.0.0.1", self._port)
        for source, target in ((reader, upstream[1]), (upstream[0], writer)):
            self._tasks.add(asyncio.create_task(self._pump(source, target)))

    async def close(self) -> None:
        await asyncio.wait(self._tasks, timeout=5.0)

    async def _pump(self, source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
        try:
            while data := await source.read(65536):
                target.write(data)
                await target.drain()
        except OSError:
            pass
        finally:
            target.transport.abort()


def _make_certificate(folder: Path) -> tuple[Path, Path]:
    certificate, key = folder / "cert.pem", folder / "key.pem"
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"]
    command += ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"]
    command += ["-keyout", str(key), "-out", str(certificate)]
    subprocess.run(command, check=True, capture_output=True)
    return certificate, key
