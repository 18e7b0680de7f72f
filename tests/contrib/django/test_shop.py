"""examples/django_shop: its web server and its worker, as processes, and its own tests."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlencode
from urllib.request import urlopen

import pytest

from tests.support.deployed import EXAMPLES, Unit, arguments_of, variables
from tests.support.processes import Child, Spawner
from tests.support.servers import RedisServer
from tests.support.waiting import PATIENCE, eventually

SHOP = EXAMPLES / "django_shop"
SYSTEMD = EXAMPLES / "systemd"


class Shop:
    """The project on the test's server, with a database of its own."""

    def __init__(self, spawn: Spawner, server: RedisServer, folder: Path) -> None:
        self._spawn = spawn
        self.env = {
            "TASKMANAGER_REDIS_URL": server.url,
            "SHOP_DATABASE": str(folder / "shop.sqlite3"),
            # This process' own settings are those of another project.
            "DJANGO_SETTINGS_MODULE": "shop.settings",
        }

    def run(self, *arguments: str, env: Mapping[str, str] | None = None) -> Child:
        return self._spawn.python(*arguments, cwd=SHOP, env={**(env or {}), **self.env})

    def manage(self, *arguments: str) -> Child:
        return self.run("manage.py", *arguments)


@pytest.fixture
def shop(spawn: Spawner, server: RedisServer, tmp_path: Path) -> Shop:
    return Shop(spawn, server, tmp_path)


def test_an_order_is_confirmed_by_the_worker_that_systemd_starts(shop: Shop) -> None:
    migration = shop.manage("migrate")
    assert migration.wait() == 0, migration.text
    web = shop.manage("runserver", "--noreload", "127.0.0.1:0")
    address = web.wait_for_line(r"development server at (http://\S+)")[1] + "orders/"

    order = answer(address, email="ada@example.com", item="tea")["order"]
    before = answer(f"{address}{order}/")
    unit = Unit.read(SYSTEMD / "taskmanager-django.service")
    settings = {**unit.environment, **variables((SYSTEMD / "worker.env").read_text())}
    worker = shop.run(*arguments_of(unit.command), env=settings)
    eventually(lambda: answer(f"{address}{order}/")["task"] == "SUCCESSFUL", 2 * PATIENCE)
    after = answer(f"{address}{order}/")
    unit.stop(worker)

    assert before == {"confirmed": False, "task": "READY"}
    assert after == {"confirmed": True, "task": "SUCCESSFUL"}
    assert worker.wait() == 0, worker.text
    assert "We received your order: tea." in worker.text


def test_an_order_is_taken_while_redis_is_away(shop: Shop, server: RedisServer) -> None:
    migration = shop.manage("migrate", "--run-syncdb")
    assert migration.wait() == 0, migration.text
    web = shop.manage("runserver", "--noreload", "127.0.0.1:0")
    address = web.wait_for_line(r"development server at (http://\S+)")[1] + "orders/"
    server.kill()

    order = answer(address, email="ada@example.com", item="tea")["order"]
    server.restart()

    assert answer(f"{address}{order}/") == {"confirmed": False, "task": None}
    assert "RedisUnavailable" in web.text


def test_its_own_tests_pass(shop: Shop) -> None:
    tests = shop.manage("test")

    assert tests.wait() == 0, tests.text
    assert "Ran 1 test" in tests.text


def answer(address: str, **form: str) -> dict[str, Any]:
    data = urlencode(form).encode() if form else None
    with urlopen(address, data, timeout=PATIENCE) as response:
        found: dict[str, Any] = json.load(response)
    return found
