"""Whoever listens to a consumer hears of every outcome, and cannot hurt it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from typing import Any

import pytest
import redis as redis_py

from consumers.errors import InvalidInput
from consumers.jobs.job import Job
from consumers.jobs.outcome import Buried, Completed, Outcome
from consumers.store.delivery import Delivery
from consumers.store.settling import Settled
from taskmanager import TaskManager
from tests.support.engine import QueueView, consumer_of, emitting, working
from tests.support.servers import RedisServer
from tests.support.waiting import aeventually


class Heard:
    """Keeps what it is told: job, kind of outcome, and whether it was recorded."""

    def __init__(self) -> None:
        self.told: list[tuple[str, type[Outcome], bool]] = []

    def settled_many(self, settled: Sequence[Settled]) -> None:
        for it, recorded in settled:
            self.told.append((it.delivery.envelope.id, type(it.outcome), recorded))


async def test_each_recorded_outcome_is_told_once(server: RedisServer) -> None:
    heard = Heard()

    async def work(job: Job[None]) -> None:
        if job.id == "bad":
            raise ValueError

    async with emitting(server.url) as emit, working(server.url, {"work": work}, telemetry=heard):
        await emit("work", id="good")
        await emit("work", id="bad")
        await aeventually(lambda: len(heard.told) == 2)

    assert heard.told == [("good", Completed, True), ("bad", Buried, True)]


async def test_a_refused_outcome_is_told_as_such(
    server: RedisServer, redis: redis_py.Redis, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "taskmanager.worker")
    heard, queue = Heard(), QueueView(redis)
    stolen = asyncio.Event()

    async def work(job: Job[None]) -> None:
        await stolen.wait()

    async with emitting(server.url) as emit, working(server.url, {"work": work}, telemetry=heard):
        await emit("work", id="job")
        [(_, entry, _, _)] = await aeventually(queue.pending)
        queue.steal(entry)
        stolen.set()
        await aeventually(lambda: heard.told)

    assert heard.told == [("job", Completed, False)]
    assert "stopped: 0 outcomes recorded, 1 rejected (lease lost)" in caplog.text


async def test_who_fails_to_listen_keeps_nobody_from_being_settled(
    server: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    class Deaf:
        def settled_many(self, settled: Sequence[Settled]) -> None:
            raise ValueError("deaf")

    async def work(job: Job[None]) -> None:
        pass

    async with (
        emitting(server.url) as emit,
        working(server.url, {"work": work}, telemetry=Deaf()) as worker,
    ):
        await emit("work")
        await emit("work")
        await aeventually(lambda: worker.settled == 2)

    assert "telemetry failed for job work-1" in caplog.text


async def test_who_empties_what_it_is_told_keeps_nobody_from_being_settled_or_told(
    server: RedisServer, redis: redis_py.Redis
) -> None:
    told = list[str]()

    class Greedy:
        def settled_many(self, settled: Any) -> None:
            while settled:
                settled.pop()
            raise ValueError("enough")

    async def fail(job: Job[None]) -> None:
        raise ValueError

    def on_dead(delivery: Delivery, buried: Buried) -> None:
        told.append(delivery.envelope.id)

    async with (
        emitting(server.url) as emit,
        working(
            server.url, {"fail": fail}, concurrency=4, telemetry=Greedy(), on_dead=on_dead
        ) as worker,
    ):
        for _ in range(8):
            await emit("fail", options={"max_retries": 0})
        await aeventually(lambda: worker.settled == 8)

    assert len(told) == len(set(told)) == 8
    assert QueueView(redis).stats("dead") == 8


@pytest.mark.parametrize(
    "make",
    [
        lambda old: consumer_of("redis://nowhere", {}, telemetry=old),
        lambda old: TaskManager("redis://nowhere", telemetry=old),
    ],
    ids=["Consumer", "TaskManager"],
)
def test_a_telemetry_without_its_method_is_refused(make: Callable[[Any], object]) -> None:
    with pytest.raises(InvalidInput, match=r"has no method settled_many\(settled\)"):
        make(object())


async def test_a_task_manager_hands_its_telemetry_to_its_worker(server: RedisServer) -> None:
    heard = Heard()
    tm = TaskManager(server.url, telemetry=heard)

    @tm.registerHandler(event="work")
    async def work(job: Job[None]) -> None:
        pass

    await tm.start()
    try:
        await tm.emit("work", id="job", data=None)
        await aeventually(lambda: heard.told)
    finally:
        await tm.stop()

    assert heard.told == [("job", Completed, True)]
