"""One outcome that cannot be recorded, or a listener that raises, holds up no other outcome."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from typing import Any

import pytest
import redis as redis_py

from consumers.consumer import Consumer
from consumers.jobs.job import Job
from consumers.jobs.outcome import Buried, Completed, Ended, RetryAt
from consumers.store.delivery import Delivery
from consumers.store.settling import Settled
from processors.processor import Processor
from tests.support.engine import QueueView, emitting, working
from tests.support.servers import RedisServer


class Hostile:
    """Raises whatever is done with it, with what no `except Exception` sees."""

    def __getattr__(self, name: str) -> Any:
        raise KeyboardInterrupt(name)

    def __repr__(self) -> str:
        raise KeyboardInterrupt("repr")

    def __len__(self) -> int:
        raise KeyboardInterrupt("len")

    def __eq__(self, other: object) -> bool:
        raise KeyboardInterrupt("eq")


@pytest.fixture(autouse=True)
def quiet(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.CRITICAL + 1)


ODD: dict[str, Any] = {
    "no outcome": Hostile(),
    "a word": "completed",
    "a result that is no bytes": Completed(["not", "bytes"]),  # type: ignore[arg-type]
    "a delay that is no number": RetryAt("soon"),  # type: ignore[arg-type]
    "an error that is no text": Buried("failed", ["no", "text"]),  # type: ignore[arg-type]
}


@pytest.mark.parametrize("what", ODD)
async def test_an_outcome_that_is_none_buries_its_own_job_and_holds_up_no_other(
    server: RedisServer, redis: redis_py.Redis, what: str
) -> None:
    """It failed at the head of the line each time: no outcome of its queue was recorded."""

    async def work(job: Job[bool]) -> None:
        pass

    def decide(usual: Callable[..., Any], job: Job[bool], ended: Ended) -> Any:
        return ODD[what] if job.data else usual(job, ended)

    async with working(server.url, {"work": work}, concurrency=8) as worker:
        _have_decide(worker, decide)
        await _ends_beside_others(server, QueueView(redis), worker)


@pytest.mark.parametrize("child", [{"event": "child"}, None, Hostile()], ids=["dict", "None", "x"])
async def test_a_child_that_is_no_job_buries_its_parent_and_holds_up_no_other(
    server: RedisServer, redis: redis_py.Redis, child: Any
) -> None:
    async def work(job: Job[bool]) -> None:
        if job.data:
            job.on_success.append(child)

    async with working(server.url, {"work": work}, concurrency=8) as worker:
        await _ends_beside_others(server, QueueView(redis), worker)


async def _ends_beside_others(server: RedisServer, queue: QueueView, worker: Consumer) -> None:
    """One job of eight ends in an odd way."""
    async with emitting(server.url) as emit:
        await asyncio.gather(*(emit("work", data=number == 3) for number in range(8)))
        await asyncio.wait_for(worker.until_idle(), 30)
    assert (queue.stats("completed"), queue.stats("dead")) == (7, 1)
    [letter] = queue.letters()
    assert letter["reason"] == b"bad_outcome"


def _have_decide(worker: Consumer, decide: Callable[..., Any]) -> None:
    policy = worker.policy
    assert isinstance(policy, Processor)
    usual = policy.decide
    policy.decide = lambda job, ended: decide(usual, job, ended)  # type: ignore[method-assign]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, asyncio.CancelledError])
async def test_listeners_that_raise_anything_keep_no_outcome_from_being_recorded(
    server: RedisServer, redis: redis_py.Redis, error: type[BaseException]
) -> None:
    """on_dead ended the settler's task: a burst never ended."""
    told: list[str] = []

    class Listener:
        def settled_many(self, settled: Sequence[Settled]) -> None:
            told.extend("telemetry" for _ in settled)
            raise error

    def on_dead(delivery: Delivery, buried: Buried) -> None:
        told.append("on_dead")
        raise error

    async def work(job: Job[None]) -> None:
        raise ValueError("no")

    async with (
        emitting(server.url) as emit,
        working(
            server.url, {"work": work}, concurrency=4, telemetry=Listener(), on_dead=on_dead
        ) as worker,
    ):
        await asyncio.gather(*(emit("work") for _ in range(8)))
        await asyncio.wait_for(worker.until_idle(), 30)

        assert worker.settled == 8
    assert QueueView(redis).stats("dead") == 8
    assert sorted(told) == ["on_dead"] * 8 + ["telemetry"] * 8


@pytest.mark.parametrize("errors", ["no JSON", '{"a":1}', "7"])
async def test_an_entry_whose_errors_are_no_list_is_foreign_and_holds_up_no_other(
    server: RedisServer, redis: redis_py.Redis, errors: str
) -> None:
    queue = QueueView(redis)

    async def work(job: Job[None]) -> None:
        raise ValueError("no")

    fields = {"head": "1:7:1:1:1:0", "id": "odd", "event": "work", "data": "null", "options": ""}
    async with emitting(server.url) as emit, working(server.url, {"work": work}) as worker:
        await emit("work")
        redis.xadd(queue.lane(), {**fields, "errors": errors})
        await emit("work")
        await asyncio.wait_for(worker.until_idle(), 30)

    assert sorted(letter["reason"] for letter in queue.letters()) == [
        b"failed",
        b"failed",
        b"foreign",
    ]
