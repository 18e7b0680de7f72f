"""``workers`` and ``routes`` on real servers, without any app."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

import pytest
import redis as redis_py
from click.testing import CliRunner, Result

from consumers.jobs.routes import Profile, Route
from consumers.store.fleet import describe_worker
from consumers.store.keys import Fleet, Keys
from consumers.store.queue_workers import WorkerState, register_worker
from taskmanager.cli import cli
from tests.support.routed import define, fill
from tests.support.servers import RedisServer

KEYS = Keys("default")
ISO = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")
ROUTE = Route("encoder", "encode", requires=("gpu",), anti_affinity=("enc-9",), region="eu")
PINNED = Route("encoder", "encode", only=("enc-7", "enc-8"))

Run = Callable[..., Result]


@pytest.fixture
def run(server: RedisServer) -> Run:
    """Run a command line on the server."""

    def run(*arguments: str, code: int = 0) -> Result:
        result = CliRunner().invoke(cli, ("--url", server.url, *arguments))
        assert result.exit_code == code, result.output
        assert "Traceback" not in result.stderr
        return result

    return run


def live(redis: redis_py.Redis, name: str, *, boot: str = "0", **state: Any) -> None:
    """List a worker as its heartbeat does."""
    profile = Profile(name, "encoder", frozenset({"gpu", "av1"}), state.pop("levels", None), "eu")
    told = WorkerState(profile, 4, 2, frozenset({"encode", "thumbnail"}), 1, **state)
    redis.execute_command(*register_worker(KEYS, f"{name}.{boot}", told).by_source)


def line(text: str, name: str) -> str:
    """Return what is shown behind a name."""
    found = re.search(rf"^{name} +(.*)$", text, re.MULTILINE)
    assert found is not None, text
    return found[1]


def test_workers_are_listed_with_what_they_can_do(run: Run, redis: redis_py.Redis) -> None:
    live(redis, "enc-2", levels=frozenset({5, 0}), stopping=True)
    live(redis, "enc-1")

    header, *lines = run("workers", "ls").stdout.splitlines()
    found = json.loads(run("workers", "ls", "--json").stdout)

    assert header.split() == [
        "name", "type", "capabilities", "levels", "region", "running", "slots", "events",
        "stopping",
    ]  # fmt: skip
    assert re.fullmatch(r"enc-1 +encoder +av1, gpu +all +eu +2 +4 +encode, thumbnail +-", lines[0])
    assert re.match(r"enc-2 +encoder +av1, gpu +0, 5 +eu +2 +4 +encode, thumbnail +yes", lines[1])
    assert [(it["name"], it["levels"], it["stopping"]) for it in found] == [
        ("enc-1", None, False),
        ("enc-2", [0, 5], True),
    ]
    assert found[0]["capabilities"] == ["av1", "gpu"]
    assert ISO.fullmatch(found[0]["seen_at"])


def test_no_workers_are_an_empty_list(run: Run) -> None:
    assert json.loads(run("workers", "ls", "--json").stdout) == []
    assert run("workers", "ls").stdout == ""
    assert "no live workers in queue 'mail'" in run("workers", "ls", "-q", "mail").stderr


def test_a_worker_is_shown_by_its_name_or_its_id(run: Run, redis: redis_py.Redis) -> None:
    live(redis, "enc-1")
    facts = {"host": "box", "pid": "12345", "version": "0.1.0", "since": "1700000000000"}
    redis.execute_command(*describe_worker(Fleet(), "enc-1.0", facts).by_source)

    text = run("workers", "show", "enc-1").stdout
    found = json.loads(run("workers", "show", "enc-1.0", "--json").stdout)

    assert line(text, "id") == "enc-1.0"
    assert line(text, "capabilities") == "av1, gpu"
    assert (line(text, "pid"), line(text, "host")) == ("12345", "box")
    assert line(text, "started at") == "2023-11-14T22:13:20Z"
    assert "stopping" not in text
    assert (found["name"], found["pid"], found["events"]) == (
        "enc-1", 12345, ["encode", "thumbnail"],
    )  # fmt: skip


def test_a_worker_that_is_not_there_exits_1_and_names_those_that_are(
    run: Run, redis: redis_py.Redis
) -> None:
    assert "in queue 'default'; it has none" in run("workers", "show", "x", code=1).stderr
    live(redis, "enc-1")
    live(redis, "enc-1", boot="1")
    live(redis, "enc-2")

    assert "its workers are: enc-1, enc-2" in run("workers", "show", "x", code=1).stderr


def test_two_workers_of_one_name_are_told_apart_by_their_ids(
    run: Run, redis: redis_py.Redis
) -> None:
    live(redis, "enc-1")
    live(redis, "enc-1", boot="1")

    said = run("workers", "show", "enc-1", code=1).stderr

    assert "2 workers have the name 'enc-1'" in said
    assert "enc-1.0, enc-1.1" in said
    assert line(run("workers", "show", "enc-1.1").stdout, "id") == "enc-1.1"


def test_routes_are_listed_with_who_may_run_them(run: Run, redis: redis_py.Redis) -> None:
    for route in (ROUTE, PINNED):
        define(redis, route)
    redis.hset(KEYS.routes, "encoder+0", "{}")
    fill(redis, ROUTE.name, jobs=3, taken=1)
    live(redis, "enc-1")

    header, *lines = run("routes", "ls").stdout.splitlines()
    found = {it["name"]: it for it in json.loads(run("routes", "ls", "--json").stdout)}

    assert header.split() == ["name", "event", "requires", "waiting", "running", "able"]
    listed = {it.split()[0]: it.partition(" ")[2].strip() for it in lines}
    assert re.fullmatch(r"encode +gpu; region eu; not enc-9 +2 +1 +enc-1", listed[ROUTE.name])
    assert re.fullmatch(r"encode +only enc-7, enc-8 +0 +0 +-", listed[PINNED.name])
    assert re.fullmatch(r"unknown +- +0 +0 +-", listed["encoder+0"])
    assert found["encoder+0"]["event"] is None
    assert (found[ROUTE.name]["able"], found[ROUTE.name]["waiting"]) == (["enc-1"], 2)


def test_a_route_is_shown_with_its_lanes(run: Run, redis: redis_py.Redis) -> None:
    define(redis, ROUTE)
    lanes = [fill(redis, ROUTE.name, priority=priority) for priority in (5, 1)]

    text = run("routes", "show", ROUTE.name).stdout
    found = json.loads(run("routes", "show", ROUTE.name, "--json").stdout)

    assert line(text, "event") == "encode"
    assert line(text, "anti affinity") == "enc-9"
    assert line(text, "able") == "no live worker"
    assert line(text, "lanes") == ", ".join(lanes)
    assert (found["lanes"], found["requires"], found["waiting"]) == (lanes, ["gpu"], 2)


def test_a_route_that_cannot_be_read_is_shown_as_unknown(run: Run, redis: redis_py.Redis) -> None:
    redis.hset(KEYS.routes, "encoder+0", "\x1b]0;x")

    text = run("routes", "show", "encoder+0").stdout

    assert line(text, "event").startswith("unknown: its definition is missing")


def test_a_route_that_is_not_there_exits_1_and_names_those_that_are(
    run: Run, redis: redis_py.Redis
) -> None:
    assert "in queue 'mail'; it has none" in run("routes", "show", "x", "-q", "mail", code=1).stderr
    define(redis, ROUTE)

    assert f"its routes are: {ROUTE.name}" in run("routes", "show", "x", code=1).stderr


def test_no_routes_are_an_empty_list(run: Run) -> None:
    assert json.loads(run("routes", "ls", "--json").stdout) == []
    assert run("routes", "ls").stdout == ""
    assert "no routes in queue 'mail'" in run("routes", "ls", "-q", "mail").stderr


@pytest.mark.parametrize("key", ["workers", "routes"])
def test_a_foreign_value_in_place_of_a_list_exits_1(
    run: Run, redis: redis_py.Redis, key: str
) -> None:
    redis.set(KEYS.base + key, "somebody else's", ex=60)

    assert f"tm:{{default}}:{key}" in run("routes", "ls", code=1).stderr


def test_an_emit_that_no_worker_may_run_exits_1_if_that_is_asked_for(
    run: Run, redis: redis_py.Redis
) -> None:
    live(redis, "enc-1")
    emit = "emit", "encode", "--type", "encoder", "--reject-unroutable", "--requires"

    said = run(*emit, "h265", code=1)

    assert "(event 'encode', type 'encoder', needs h265, priority 0): enc-1 lacks h265" in (
        said.stderr
    )
    assert (said.stdout, redis.exists(KEYS.lanes)) == ("", 0)
    assert run(*emit, "gpu").stdout.strip()
    assert run("emit", "encode", "--requires", "h265").stdout.strip()


def test_a_queue_without_a_name_exits_2(run: Run) -> None:
    assert "queue 'a b' is not allowed" in run("workers", "ls", "-q", "a b", code=2).stderr
