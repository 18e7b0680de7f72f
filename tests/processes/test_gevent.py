"""A web server that patches threads and sockets, so that requests are greenlets of one thread."""

from __future__ import annotations

import urllib.request
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
import redis as redis_py

from tests.processes.stage import APPS
from tests.support.engine import QueueView
from tests.support.processes import Spawner
from tests.support.servers import RedisServer

Get = Callable[[str], str]
WITHIN = 30.0


@pytest.fixture
def get(spawn: Spawner, server: RedisServer) -> Get:
    """Return what asks for a path of the web application under gunicorn with gevent."""
    web = spawn.python(
        "-m", "gunicorn", "-k", "gevent", "-w", "1", "-b", "127.0.0.1:0", "web:application",
        cwd=APPS, env={"TASKMANAGER_REDIS_URL": f"redis://localhost:{server.port}/0"},
    )  # fmt: skip
    url = web.wait_for_line(r"Listening at: (http://\S+)", WITHIN)[1]

    def get(path: str) -> str:
        with urllib.request.urlopen(f"{url}/{path}", timeout=WITHIN) as answer:
            return answer.read().decode()

    return get


def test_every_request_emits_however_many_there_are_at_once(
    get: Get, redis: redis_py.Redis
) -> None:
    names = [f"job-{number}" for number in range(40)]

    assert [get("first"), get("second")] == ["True", "True"]
    with ThreadPoolExecutor(8) as clients:
        assert list(clients.map(get, names)) == ["True"] * len(names)

    assert redis.xlen(QueueView(redis).lane()) == 2 + len(names)


def test_a_request_that_waits_for_redis_does_not_hold_up_others(
    get: Get, server: RedisServer
) -> None:
    assert get("first") == "True"
    with ThreadPoolExecutor(1) as clients:
        server.pause()
        try:
            waiting = clients.submit(get, "second")
            ups = [get("up") for _ in range(20)]
            was_waiting = not waiting.done()
        finally:
            server.resume()

        assert waiting.result(WITHIN) == "True"
    assert ups == ["True"] * 20
    assert was_waiting
