"""The compose files: what they say, and what their services do as plain processes."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import pytest
import yaml

from tests.support.deployed import EXAMPLES, ROOT, arguments_of, longest_stop
from tests.support.processes import Child, Spawner
from tests.support.servers import RedisServer, chosen
from tests.support.waiting import PATIENCE, eventually

COMPOSE = EXAMPLES / "compose"
FILES = [ROOT / "docker-compose.yml", COMPOSE / "docker-compose.yml"]
KNOWN = {
    "file": {"services", "volumes"},
    "service": {
        "image", "build", "command", "environment", "depends_on", "init", "restart", "volumes",
        "healthcheck", "deploy", "stop_grace_period", "ports",
    },
    "build": {"context", "additional_contexts"},
    "healthcheck": {"test", "interval", "timeout", "retries", "start_period"},
    "deploy": {"replicas"},
}  # fmt: skip
SECONDS = {"s": 1, "m": 60}


def read(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(path.read_text())
    # Extension fields are for the file's own anchors.
    return {name: value for name, value in found.items() if not name.startswith("x-")}


@pytest.fixture
def services() -> dict[str, Any]:
    found: dict[str, Any] = read(COMPOSE / "docker-compose.yml")["services"]
    return found


@pytest.fixture
def redis_service(services: dict[str, Any]) -> Iterator[RedisServer]:
    """What the service redis starts, on a port of ours."""
    server = RedisServer(chosen()[0], **options_of(services["redis"])).start()
    yield server
    server.stop()


def options_of(service: Mapping[str, Any]) -> dict[str, str]:
    program, *words = service["command"]
    assert program == "redis-server"
    return {name.removeprefix("--"): value for name, value in zip(*[iter(words)] * 2, strict=True)}


@pytest.mark.parametrize("path", FILES, ids=lambda it: it.parent.name)
def test_a_file_says_nothing_that_compose_does_not_know(path: Path) -> None:
    found = read(path)

    assert found.keys() <= KNOWN["file"]
    for service in found["services"].values():
        assert service.keys() <= KNOWN["service"]
        for part in ("build", "healthcheck", "deploy"):
            assert service.get(part, {}).keys() <= KNOWN[part]


@pytest.mark.parametrize("path", FILES, ids=lambda it: it.parent.name)
def test_redis_keeps_what_it_acknowledges(path: Path) -> None:
    found = read(path)
    redis = found["services"]["redis"]

    assert (
        options_of(redis).items() >= {"appendonly": "yes", "maxmemory-policy": "noeviction"}.items()
    )
    (volume,) = redis["volumes"]
    assert volume.partition(":")[0] in found["volumes"]
    assert volume.endswith(":/data")
    # While it loads its data, ping exits with 0 all the same.
    assert redis["healthcheck"]["test"] == ["CMD-SHELL", "redis-cli ping | grep -q PONG"]


def test_docker_gives_a_worker_time_to_stop(services: dict[str, Any]) -> None:
    worker = services["worker"]
    grace = worker["stop_grace_period"]

    assert longest_stop(worker["environment"]) < int(grace[:-1]) * SECONDS[grace[-1]]


def test_services_wait_for_a_redis_that_answers(services: dict[str, Any]) -> None:
    for name in ("worker", "web"):
        assert services[name]["depends_on"] == {"redis": {"condition": "service_healthy"}}
        assert services[name]["init"] is True
        assert services[name]["restart"] == "unless-stopped"


def test_a_service_is_reached_from_this_machine_only(services: dict[str, Any]) -> None:
    web = services["web"]
    (published,) = web["ports"]
    port = web["command"][web["command"].index("--port") + 1]

    assert [name for name, service in services.items() if "ports" in service] == ["web"]
    assert published == f"127.0.0.1:{port}:{port}"


def test_the_image_is_built_from_this_repository(services: dict[str, Any]) -> None:
    for name in ("worker", "web"):
        build = services[name]["build"]
        assert (COMPOSE / build["context"]).resolve() == COMPOSE
        assert (COMPOSE / build["additional_contexts"]["taskmanager"]).resolve() == ROOT


def test_a_web_service_emits_what_two_workers_run(
    spawn: Spawner, services: dict[str, Any], redis_service: RedisServer
) -> None:
    replicas = services["worker"]["deploy"]["replicas"]
    workers = [started(spawn, services["worker"], redis_service) for _ in range(replicas)]
    web = started(spawn, services["web"], redis_service)
    for worker in workers:
        worker.wait_for_line("ready for jobs")
    address = web.wait_for_line(r"Uvicorn running on (http://\S+)")[1]

    ids = [answer(f"{address}/invoices?order={order}&pages=2", b"")["id"] for order in (7, 8)]
    eventually(lambda: all(answer(f"{address}/invoices/{it}")["pages"] for it in ids))
    for worker in workers:
        worker.terminate()

    assert [worker.wait() for worker in workers] == [0, 0]
    assert [answer(f"{address}/invoices/{it}") for it in ids] == [
        {"state": "completed", "pages": 2, "result": f"invoice-{order}.pdf"} for order in (7, 8)
    ]
    assert is_healthy(services["web"], address)
    web.end()
    assert not is_healthy(services["web"], address)


def started(spawn: Spawner, service: Mapping[str, Any], redis: RedisServer) -> Child:
    """Start a service's command on a Redis of this machine, and on any free port."""
    env = {
        name: value.replace("redis:6379", f"127.0.0.1:{redis.port}")
        for name, value in service["environment"].items()
    }
    command = ["0" if it == "8000" else it for it in service["command"]]
    return spawn.python(*arguments_of(command), cwd=COMPOSE, env=env)


def is_healthy(service: Mapping[str, Any], address: str) -> bool:
    """Return what the service's own health check says, asked at its address here."""
    kind, *command = service["healthcheck"]["test"]
    assert kind == "CMD"
    arguments = [it.replace("http://127.0.0.1:8000", address) for it in arguments_of(command)]
    done = subprocess.run([sys.executable, *arguments], capture_output=True, check=False)
    return done.returncode == 0


def answer(address: str, data: bytes | None = None) -> dict[str, Any]:
    with urlopen(Request(address, data), timeout=PATIENCE) as response:
        found: dict[str, Any] = json.load(response)
    return found
