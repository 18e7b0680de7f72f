"""The rows of what is kept of workers and of ends, in the fleet's keys or in another Redis."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from consumers.connections.link import Argument
from consumers.jobs.routes import Profile
from consumers.open.rights import commands
from consumers.store.queue_workers import WorkerState, register_worker
from consumers.store.scripts import Call, load
from tests.store.conformance.row import OUT_OF_MEMORY, REFUSED, REPLACED, Row, all_of
from tests.support.queue import Queue, new_job

TTL_MS = 60_000
WORKERS, WORKER = "tm:workers", "tm:worker:w1"


def _list(queue: Queue) -> Call:
    return Call(load("list_worker"), [WORKERS], ["w1", TTL_MS])


def _list_again(queue: Queue) -> Call:
    """Another one was silent for too long."""
    queue.redis.zadd(WORKERS, {"w1": queue.now_ms() - 1000, "w2": 1})
    return _list(queue)


def _describe(queue: Queue) -> Call:
    return Call(load("describe_worker"), [WORKER], [TTL_MS, "type", "workers"])


def _register(queue: Queue) -> Call:
    return register_worker(queue.keys, "w1", WorkerState(Profile("w"), 1, 0, frozenset("e"), 1))


def _register_again(queue: Queue) -> Call:
    """Another one was silent for too long; somebody looked for those a moment ago."""
    queue.emit(new_job())
    step = _register(queue)
    queue.run(step)
    queue.redis.hset(queue.keys.workers, mapping={"w1": "1 {}", "w2": "1 {}"})
    return step


def _register_in_turn(queue: Queue) -> Call:
    """Nobody has looked for those that are silent for long."""
    step = _register_again(queue)
    queue.redis.hdel(queue.keys.meta, "turn.workers")
    return step


def _rights(queue: Queue) -> Call:
    asked = [queue.keys.results("preflight"), *commands()]
    return Call(load("check_rights"), [f"{queue.keys.base}preflight"], asked)


def _keep(queue: Queue) -> Call:
    names = [queue.keys.result("a"), queue.keys.fence("result", "a")]
    return Call(load("archive_end"), names, [2, 1, b"2 completed 1", TTL_MS])


def _jot(what: str, most: int, *values: Argument) -> Callable[[Queue], Call]:
    def call(queue: Queue) -> Call:
        names = [queue.keys.base + f"{what}:a", queue.keys.fence(what, "a")]
        return Call(load("archive_note"), names, [2, 1, TTL_MS, most, *values])

    return call


def _forget_run(queue: Queue) -> Call:
    queue.redis.set(queue.keys.ran("a"), "7", px=TTL_MS)
    return Call(load("forget_run", "processors"), [queue.keys.ran("a")], [7])


REGISTER = all_of("workers meta", REFUSED)
ROWS = [
    Row("list_worker", "", _list, None, WORKERS, {WORKERS: REFUSED}),
    Row("list_worker", "again", _list_again, None, WORKERS, {WORKERS: REFUSED}),
    Row("describe_worker", "", _describe, None, WORKER, {WORKER: REFUSED}),
    Row("register_worker", "of a new queue", _register, None, "workers", REGISTER),
    Row("register_worker", "again", _register_again, None, "workers", REGISTER),
    Row("register_worker", "in turn", _register_in_turn, None, "workers meta", REGISTER),
    # Nobody has a key of this name: what is there goes.
    Row("check_rights", "", _rights, [], "", {"preflight": replace(REPLACED, writes="preflight")}),
    Row(
        "archive_end", "", _keep, 1, "result:a fence:result:a",
        {"result:a": REPLACED, "fence:result:a": REFUSED}, OUT_OF_MEMORY,
    ),
    Row(
        "archive_note", "log", _jot("log", 1000, "a line"), 1, "log:a fence:log:a",
        all_of("log:a fence:log:a", REFUSED), OUT_OF_MEMORY,
    ),
    Row(
        "archive_note", "progress", _jot("progress", 0, "done", 1), 1,
        "progress:a fence:progress:a", all_of("progress:a fence:progress:a", REFUSED),
        OUT_OF_MEMORY,
    ),
    Row("forget_run", "", _forget_run, 1, "ran:a", {"ran:a": REFUSED}),
]  # fmt: skip
