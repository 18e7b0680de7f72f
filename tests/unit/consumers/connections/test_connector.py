"""What a connector takes from URLs and clients, and what it never shows."""

from __future__ import annotations

import gc
import ssl
from typing import Any

import pytest
import redis
import redis.asyncio
import redis.asyncio.connection as async_connection
import redis.connection as sync_connection
from redis.asyncio.sentinel import Sentinel as AsyncSentinel
from redis.credentials import UsernamePasswordCredentialProvider
from redis.sentinel import Sentinel

from consumers.connections.connector import CONNECT_TIMEOUT, Connector, masked
from consumers.errors import InvalidInput

SECRET = "hunter2"


@pytest.mark.parametrize(
    ("url", "where"),
    [
        ("redis://localhost", "redis://localhost:6379/0"),
        ("redis://", "redis://localhost:6379/0"),
        ("redis://host:7000/3", "redis://host:7000/3"),
        ("redis://host/?db=4", "redis://host:6379/4"),
        ("redis://[::1]:7000/0", "redis://[::1]:7000/0"),
        (f"redis://:{SECRET}@host", "redis://:***@host:6379/0"),
        (f"redis://user:{SECRET}@host", "redis://user:***@host:6379/0"),
        (f"rediss://us%40er:{SECRET}@host/1", "rediss://us%40er:***@host:6379/1"),
        (f"redis://host?password={SECRET}", "redis://:***@host:6379/0"),
        ("unix:///run/redis.sock", "unix:///run/redis.sock?db=0"),
        (f"unix://user:{SECRET}@/run/redis.sock?db=2", "unix://user:***@/run/redis.sock?db=2"),
        ("redis://host?socket_timeout=3&decode_responses=1", "redis://host:6379/0"),
    ],
)
def test_where_is_the_url_without_the_password(url: str, where: str) -> None:
    assert Connector.of(url).where == where


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("", "it must start with redis://"),
        ("localhost:6379", "it must start with redis://"),
        ("http://host", "it must start with redis://"),
        ("redis://host:port", "its host, port or parameters cannot be read"),
        ("redis://host:99999", "its host, port or parameters cannot be read"),
        ("redis://host/name", "only a database number may follow"),
        ("redis://host/0#1", "it contains a '#'"),
        ("redis://host?db=x", "db must be a number"),
        ("redis://host?frob=1", "unknown parameter; allowed: db, password, username"),
        ("redis://host?ssl_cert_reqs=none", "unknown parameter"),
        ("rediss://host?ssl_cert_reqs=maybe", "redis-py refuses"),
        ("rediss://host?ssl_min_version=new", "redis-py refuses"),
        ("unix://run/redis.sock", "with three slashes"),
        ("unix://", "with three slashes"),
    ],
)
def test_a_url_that_would_be_guessed_at_is_refused(url: str, reason: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        Connector.of(url)

    assert reason in str(caught.value)
    assert "Give redis://[user:password@]host[:port][/db]" in str(caught.value)


@pytest.mark.parametrize(
    "url",
    [
        # Not percent-encoded, so that parts of the password look like something else.
        f"redis://:{SECRET}/x@host",
        f"redis://:1/{SECRET}@host",
        f"redis://:x#{SECRET}@host",
        f"redis://user:1#{SECRET}@host",
        f"redis://user:{SECRET}?1@host",
        f"redis://user:1?{SECRET}@host",
        # Something forgotten or misspelt.
        f"redis://:{SECRET}",
        f"redis://user:{SECRET}",
        f"user:{SECRET}@host",
        f"rediz://user:{SECRET}@host",
        f"redis://user:{SECRET}@host:port",
        f"redis://host/x?password=x@{SECRET}",
    ],
)
def test_the_password_of_a_refused_url_is_not_shown(url: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        Connector.of(url)

    assert SECRET not in str(caught.value)
    assert caught.value.__context__ is None


def test_masking_keeps_what_helps_to_find_the_mistake() -> None:
    assert masked(f"rediz://user:{SECRET}@host:1/2?x=3") == "rediz://***@host:1/2"
    assert masked("localhost:6379") == "localhost:6379"


def test_a_connector_does_not_show_the_password() -> None:
    connector = Connector.of(f"redis://user:{SECRET}@host")

    shown = [repr(connector), str(connector), repr(connector.open())]
    shown.append(repr(connector.open_sync(timeout=1.0)))

    assert not [text for text in shown if SECRET in text]
    assert repr(connector) == "<Connector redis://user:***@host:6379/0>"


@pytest.mark.parametrize(
    ("url", "asynchronous", "synchronous"),
    [
        ("redis://host", async_connection.Connection, sync_connection.Connection),
        ("rediss://host", async_connection.SSLConnection, sync_connection.SSLConnection),
        (
            "unix:///run/s",
            async_connection.UnixDomainSocketConnection,
            sync_connection.UnixDomainSocketConnection,
        ),
    ],
)
def test_each_kind_of_url_opens_its_kind_of_connection(
    url: str, asynchronous: type[Any], synchronous: type[Any]
) -> None:
    connector = Connector.of(url)

    assert isinstance(connector.open(), asynchronous)
    assert type(connector.open_sync(timeout=1.0)) is synchronous


@pytest.mark.parametrize("url", ["redis://host", "rediss://host", "unix:///run/s"])
def test_redis_py_does_nothing_behind_our_back(url: str) -> None:
    connector = Connector.of(url + "?socket_timeout=1&health_check_interval=3&protocol=3")

    connection = connector.open()
    blocking = connector.open_sync(timeout=2.0)

    for one in (connection, blocking):
        assert one.retry.get_retries() == 0
        assert one.protocol == 2
        assert one.health_check_interval == 0
        assert not one.encoder.decode_responses
        assert getattr(one, "socket_keepalive", True)
    assert connection.socket_timeout is None
    assert connection.socket_connect_timeout == CONNECT_TIMEOUT
    assert blocking.socket_timeout == 2.0
    assert blocking.socket_connect_timeout == 2.0


def test_tls_verifies_certificates_unless_told_otherwise() -> None:
    strict = Connector.of("rediss://host").open()
    lax = Connector.of("rediss://host?ssl_cert_reqs=none").open()

    assert strict.ssl_context.get().verify_mode.name == "CERT_REQUIRED"
    assert strict.ssl_context.get().check_hostname
    assert lax.ssl_context.get().verify_mode.name == "CERT_NONE"


def clients(**settings: Any) -> list[Any]:
    blocking, asynchronous = redis.Redis(**settings), redis.asyncio.Redis(**settings)
    pools = [blocking.connection_pool, asynchronous.connection_pool]
    return [blocking, asynchronous, *pools]


@pytest.mark.parametrize("client", clients(host="h", port=7, db=2, username="u", password=SECRET))
def test_address_and_login_of_a_client_carry_over(client: Any) -> None:
    connector = Connector.of(client)

    assert connector.where == "redis://u:***@h:7/2"
    for connection in (connector.open(), connector.open_sync(timeout=1.0)):
        assert (connection.username, connection.password) == ("u", SECRET)


@pytest.mark.parametrize("client", clients(unix_socket_path="/run/s", db=1))
def test_a_clients_unix_socket_carries_over(client: Any) -> None:
    assert Connector.of(client).where == "unix:///run/s?db=1"


@pytest.mark.parametrize("client", clients(host="h", ssl=True, ssl_ca_certs="/ca.pem"))
def test_a_clients_tls_settings_carry_over(client: Any) -> None:
    connector = Connector.of(client)

    assert connector.where == "rediss://h:6379/0"
    assert connector.open().ssl_context.ca_certs == "/ca.pem"
    assert connector.open_sync(timeout=1.0).ca_certs == "/ca.pem"


@pytest.mark.parametrize("client", clients(host="h", ssl=True, ssl_cert_reqs=None))
def test_a_client_without_checks_of_certificates_lends_that_as_well(client: Any) -> None:
    connector = Connector.of(client)

    context = connector.open().ssl_context.get()
    assert (context.verify_mode, context.check_hostname) == (ssl.CERT_NONE, False)
    assert connector.open_sync(timeout=1.0).cert_reqs == ssl.CERT_NONE


@pytest.mark.parametrize(
    "client",
    clients(
        decode_responses=True,
        socket_timeout=1,
        health_check_interval=5,
        client_name="theirs",
        protocol=3,
        max_connections=3,
    ),
)
def test_what_tunes_a_client_does_not_carry_over(client: Any) -> None:
    connection = Connector.of(client).open()

    assert connection.client_name is None
    assert connection.protocol == 2
    assert connection.retry.get_retries() == 0
    assert connection.socket_timeout is None
    assert not connection.encoder.decode_responses


def test_a_credential_provider_carries_over() -> None:
    provider = UsernamePasswordCredentialProvider("u", SECRET)
    connector = Connector.of(redis.Redis(credential_provider=provider))

    assert connector.open().credential_provider is provider
    assert connector.where == "redis://:***@localhost:6379/0"


def test_a_connector_is_taken_as_it_is() -> None:
    connector = Connector.of("redis://host")

    assert Connector.of(connector) is connector


class OwnConnection(redis.Connection):
    pass


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        (Sentinel([("h", 1)]), "Sentinel is not supported yet"),
        (Sentinel([("h", 1)]).master_for("m"), "Sentinel is not supported yet"),
        (AsyncSentinel([("h", 1)]).master_for("m"), "Sentinel is not supported yet"),
        (redis.asyncio.RedisCluster(host="h"), "Redis Cluster is not supported yet"),
        (redis.ConnectionPool(connection_class=OwnConnection), "OwnConnection"),
        (redis.Redis(ssl=True, ssl_validate_ocsp=True), "ssl_validate_ocsp"),
        (None, "NoneType is not a Redis address"),
        (b"redis://host", "bytes is not a Redis address"),
        (6379, "int is not a Redis address"),
    ],
)
def test_what_cannot_be_carried_over_is_refused(source: object, reason: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        Connector.of(source)

    assert reason in str(caught.value)
    assert "Give " in str(caught.value)


def test_connections_that_were_never_made_leave_nothing_behind() -> None:
    connector = Connector.of("redis://host")

    connector.open()
    connector.open_sync(timeout=1.0)

    # A warning at the collection would fail this test.
    gc.collect()
