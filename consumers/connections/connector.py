"""Where Redis is and how to reach it. Nothing else of the engine reads a URL or credentials.

redis-py makes the socket, speaks TLS and logs in; everything that it would do
behind our back -- repeat a command, time out a read, ping -- is turned off.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple
from urllib.parse import SplitResult, parse_qsl, quote, urlsplit

import redis
import redis.asyncio
import redis.asyncio.connection as async_connection
import redis.asyncio.retry
import redis.asyncio.sentinel
import redis.connection as sync_connection
import redis.retry
import redis.sentinel
from redis.backoff import NoBackoff

from consumers.connections.era import Era
from consumers.connections.sockets import TcpConnection, TlsConnection
from consumers.errors import InvalidInput

# Seconds for the whole way to a usable connection: name lookup, TLS, login.
CONNECT_TIMEOUT = 5.0

ALLOWED_URLS = (
    "redis://[user:password@]host[:port][/db], rediss://[user:password@]host[:port][/db] "
    "or unix://[user:password@]/path/to.sock[?db=0]; "
    "percent-encode special characters in the password"
)
_ALLOWED_CLIENTS = (
    "a URL, a redis.Redis or redis.asyncio.Redis client, or the connection pool of one"
)

_TLS_SETTINGS = frozenset(
    {
        "ssl_keyfile",
        "ssl_certfile",
        "ssl_password",
        "ssl_cert_reqs",
        "ssl_ca_certs",
        "ssl_ca_path",
        "ssl_ca_data",
        "ssl_check_hostname",
        "ssl_min_version",
        "ssl_ciphers",
        "ssl_include_verify_flags",
        "ssl_exclude_verify_flags",
    }
)
_LOGIN_SETTINGS = frozenset({"db", "username", "password", "credential_provider"})
_TCP_SETTINGS = _LOGIN_SETTINGS | {"host", "port", "socket_type", "socket_keepalive_options"}

# What a URL may say about a client and what we decide ourselves: accepted, so
# that a URL which works elsewhere works here, and without effect.
_IGNORED_IN_URLS = frozenset(
    {
        "client_name",
        "decode_responses",
        "encoding",
        "encoding_errors",
        "health_check_interval",
        "legacy_responses",
        "max_connections",
        "protocol",
        "retry_on_timeout",
        "socket_connect_timeout",
        "socket_keepalive",
        "socket_read_size",
        "socket_timeout",
        "timeout",
    }
)

# redis-py's asynchronous connection cannot do these checks: dropping them
# silently would make a connection less safe than its owner believes.
_OCSP_SETTINGS = (
    "ssl_validate_ocsp",
    "ssl_validate_ocsp_stapled",
    "ssl_ocsp_context",
    "ssl_ocsp_expected_cert",
)


class _Kind(NamedTuple):
    scheme: str
    asynchronous: Callable[..., async_connection.AbstractConnection]
    synchronous: Callable[..., sync_connection.AbstractConnection]
    carried: frozenset[str]


_TCP = _Kind("redis", TcpConnection, sync_connection.Connection, _TCP_SETTINGS)
_TLS = _Kind(
    "rediss",
    TlsConnection,
    sync_connection.SSLConnection,
    _TCP_SETTINGS | _TLS_SETTINGS,
)
_UNIX = _Kind(
    "unix",
    async_connection.UnixDomainSocketConnection,
    sync_connection.UnixDomainSocketConnection,
    _LOGIN_SETTINGS | {"path"},
)
_BY_SCHEME = {kind.scheme: kind for kind in (_TCP, _TLS, _UNIX)}
_BY_CLASS: dict[Any, _Kind] = {
    async_connection.Connection: _TCP,
    sync_connection.Connection: _TCP,
    async_connection.SSLConnection: _TLS,
    sync_connection.SSLConnection: _TLS,
    async_connection.UnixDomainSocketConnection: _UNIX,
    sync_connection.UnixDomainSocketConnection: _UNIX,
}
_HOST_AND_PATH = re.compile(r"((\[[\da-fA-F:.]+\]|[^:/\[\]]+)(:\d+)?)?(/[^:]*)?")
_POOLS = (redis.ConnectionPool, redis.asyncio.ConnectionPool)
_SENTINEL = (
    redis.sentinel.Sentinel,
    redis.asyncio.sentinel.Sentinel,
    redis.sentinel.SentinelConnectionPool,
    redis.asyncio.sentinel.SentinelConnectionPool,
)
_CLUSTER = (redis.RedisCluster, redis.asyncio.RedisCluster)


class Connector:
    """Opens connections to one database of one Redis server. It holds none itself.

    It may be shared by threads and event loops. Neither its text nor its errors contain the
    password.

    - `where`: the address as a URL that is safe to log.
    - `era`: tells connections to close when the address leads to another server; for internal use.
    """

    __slots__ = ("_kind", "_settings", "era", "where")

    def __init__(self, kind: _Kind, settings: Mapping[str, Any]) -> None:
        self._kind = kind
        # None as well: of ssl_cert_reqs it does not mean the default, but no checks.
        self._settings = {name: it for name, it in settings.items() if name in kind.carried}
        self.where = _where(kind, self._settings)
        self.era = Era(self.where)

    @classmethod
    def of(cls, source: object) -> Connector:
        """Return a connector for a URL, a redis-py client or a pool, or the given connector.

        Raises InvalidInput, as from_url and from_client do.
        """
        if isinstance(source, Connector):
            return source
        return cls.from_url(source) if isinstance(source, str) else cls.from_client(source)

    @classmethod
    def from_url(cls, url: str) -> Connector:
        """Return a connector for a `redis://`, `rediss://` or `unix://` URL.

        With `rediss://`, certificates are verified. Raises InvalidInput for anything that redis-py
        would have to guess. URL parameters that tune a client (timeouts, retries, decoding) have no
        effect.
        """
        if reason := _why_refused(url):
            raise InvalidInput(
                f"Redis URL {masked(url)!r} is not allowed: {reason}. Give {ALLOWED_URLS}"
            )
        kind = _BY_SCHEME[urlsplit(url).scheme]
        return cls(kind, dict(async_connection.parse_url(url)))

    @classmethod
    def from_client(cls, client: object) -> Connector:
        """Return a connector with the settings of a redis-py client or pool.

        The client itself is neither used nor closed. Address, database, login and TLS are taken
        over; timeouts, retries, decoding and protocol are not. Raises InvalidInput for Sentinel,
        Cluster, custom connection classes and OCSP checks.
        """
        pool = client if isinstance(client, _POOLS) else getattr(client, "connection_pool", None)
        _refuse_unsupported(client, pool)
        kind = _BY_CLASS[pool.connection_class]  # type: ignore[union-attr]
        return cls(kind, pool.connection_kwargs)  # type: ignore[union-attr]

    def open(self) -> async_connection.AbstractConnection:
        """Return an asynchronous connection that is not connected yet."""
        return self._kind.asynchronous(
            **self._settings,
            **self._overrides(),
            # A repeated command is a second command: redis-py must never decide that.
            retry=redis.asyncio.retry.Retry(NoBackoff(), 0),
            socket_timeout=None,
            socket_connect_timeout=CONNECT_TIMEOUT,
        )

    def open_sync(self, *, timeout: float) -> sync_connection.AbstractConnection:
        """Return a blocking connection, not connected yet; `timeout` (s) is for each step."""
        return self._kind.synchronous(
            **self._settings,
            **self._overrides(),
            retry=redis.retry.Retry(NoBackoff(), 0),
            socket_timeout=timeout,
            socket_connect_timeout=min(timeout, CONNECT_TIMEOUT),
        )

    def _overrides(self) -> dict[str, Any]:
        overrides: dict[str, Any] = {
            # Who connects says its name itself: to redis-py a refusal of it is fatal.
            "client_name": None,
            "health_check_interval": 0,
            "protocol": 2,
            "decode_responses": False,
            # Without CLIENT SETINFO: servers before 7.2 count it as an error.
            "driver_info": None,
        }
        return overrides if self._kind is _UNIX else {**overrides, "socket_keepalive": True}

    def __repr__(self) -> str:
        return f"<Connector {self.where}>"


def masked(url: str) -> str:
    """Return a URL, however malformed, without anything that may belong to a password."""
    scheme, separator, rest = url.partition("://") if "://" in url else ("", "", url)
    login, at, place = rest.rpartition("@")
    place = re.split("[?#]", place)[0]
    if at:
        # With ? or # before the last @ nobody can tell the password from the rest.
        shown = "***" if re.search("[?#]", login) else f"***@{place}"
    else:
        # user:password without a host looks like a host with a strange port.
        shown = place if _HOST_AND_PATH.fullmatch(place) else "***"
    return f"{scheme}{separator}{shown}"


def _why_refused(url: str) -> str | None:
    # The messages of urllib quote what they did not understand, which may be
    # the password: none of them is passed on.
    try:
        parts = urlsplit(url)
        parts.port  # noqa: B018
        query = dict(parse_qsl(parts.query, keep_blank_values=True, strict_parsing=True))
    except ValueError:
        return "its host, port or parameters cannot be read"
    if parts.scheme not in _BY_SCHEME:
        return "it must start with redis://, rediss:// or unix://"
    if parts.fragment:
        return "it contains a '#'"
    kind = _BY_SCHEME[parts.scheme]
    return (
        _why_path_refused(kind, parts)
        or _why_query_refused(kind, query)
        or _why_value_refused(kind, url)
    )


def _why_path_refused(kind: _Kind, parts: SplitResult) -> str | None:
    if kind is _UNIX:
        if parts.hostname or parts.path in ("", "/"):
            return "the socket's path must be absolute: unix:///path, with three slashes"
        return None
    if not re.fullmatch(r"/?|/\d+", parts.path):
        return "only a database number may follow the host"
    return None


def _why_query_refused(kind: _Kind, query: Mapping[str, str]) -> str | None:
    known = {"db", "username", "password"} | (kind.carried & _TLS_SETTINGS)
    if query.keys() - known - _IGNORED_IN_URLS:
        return f"it has an unknown parameter; allowed: {', '.join(sorted(known))}"
    if not re.fullmatch(r"\d+", query.get("db", "0")):
        return "db must be a number"
    return None


def _why_value_refused(kind: _Kind, url: str) -> str | None:
    try:
        Connector(kind, dict(async_connection.parse_url(url))).open()
    except (ValueError, redis.RedisError):
        return "redis-py refuses the value of one of its parameters"
    return None


def _refuse_unsupported(client: object, pool: Any) -> None:
    name = f"{type(client).__module__}.{type(client).__qualname__}".removeprefix("builtins.")
    if isinstance(client, _SENTINEL) or isinstance(pool, _SENTINEL):
        raise InvalidInput(f"{name}: Sentinel is not supported yet. Give {_ALLOWED_CLIENTS}")
    if isinstance(client, _CLUSTER):
        raise InvalidInput(f"{name}: Redis Cluster is not supported yet. Give {_ALLOWED_CLIENTS}")
    if not isinstance(pool, _POOLS):
        raise InvalidInput(f"{name} is not a Redis address. Give {_ALLOWED_CLIENTS}")
    if pool.connection_class not in _BY_CLASS:
        raise InvalidInput(
            f"{name} uses connections of class {pool.connection_class.__qualname__}, "
            "which is not supported. Give one with redis-py's own connection class, or a URL"
        )
    if asked := [name for name in _OCSP_SETTINGS if pool.connection_kwargs.get(name)]:
        raise InvalidInput(
            f"{name} checks certificates with {', '.join(asked)}, which is not supported. "
            "Give a client without it, or a rediss:// URL"
        )


def _where(kind: _Kind, settings: Mapping[str, Any]) -> str:
    user = quote(settings.get("username") or "", safe="")
    secret = settings.get("password") or settings.get("credential_provider")
    login = f"{user}{':***' if secret else ''}@" if user or secret else ""
    db = settings.get("db") or 0
    if kind is _UNIX:
        return f"unix://{login}{settings['path']}?db={db}"
    host = settings.get("host") or "localhost"
    host = f"[{host}]" if ":" in host else host
    return f"{kind.scheme}://{login}{host}:{settings.get('port') or 6379}/{db}"
