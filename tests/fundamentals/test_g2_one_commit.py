"""G2: at most one outcome of a job is committed; who lost the delivery commits nothing."""

from __future__ import annotations

import asyncio
import logging

import pytest
import redis as redis_py

from consumers.jobs.job import Job
from consumers.jobs.outcome import Buried, Completed, Outcome, Released
from consumers.policy import Handler
from processors.processor import Processor
from tests.support.engine import SHORT_LEASE, QueueView, emitting, new_job, working
from tests.support.servers import RedisServer
from tests.support.waiting import aeventually


class Deciding(Processor):
    """Decides the same whatever the run's end."""

    def __init__(self, outcome: Outcome, call: object) -> None:
        super().__init__({("default", "work"): Handler.of(call)})  # type: ignore[arg-type]
        self.outcome = outcome

    def decide(self, job: object, ended: object) -> Outcome:
        return self.outcome


@pytest.mark.parametrize(
    "outcome",
    [Completed(b'"mine"'), Buried("failed", "text"), Released("held")],
    ids=["complete", "bury", "release"],
)
async def test_g2_a_settle_after_the_delivery_was_taken_over_changes_nothing(
    server: RedisServer, redis: redis_py.Redis, outcome: Outcome
) -> None:
    queue = QueueView(redis)
    may_end = asyncio.Event()

    async def work(job: Job[None]) -> None:
        job.on_success.append(new_job("work", id="child"))
        await may_end.wait()

    async with emitting(server.url) as emit, working(server.url, {"work": work}) as worker:
        worker._parts.executor.policy = Deciding(outcome, work)  # type: ignore[union-attr]
        await emit("work")
        await aeventually(lambda: worker.running == 1)
        [(_, entry, _, _)] = queue.pending()
        queue.steal(entry)
        may_end.set()
        await aeventually(lambda: worker.fenced == 1)

        assert worker.settled == 0

    assert queue.pending() == [(queue.lane(), entry, "thief.0", 2)]
    assert redis.xlen(queue.lane()) == 1
    assert queue.stats("fenced") == 1
    assert not queue.has_result("work-1")
    assert queue.letters() == []
    assert queue.live("work-1") is not None
    assert queue.live("child") is None


async def test_g2_a_paused_worker_that_wakes_after_its_lease_commits_nothing(
    server: RedisServer, redis: redis_py.Redis
) -> None:
    queue = QueueView(redis)
    slow_may_end = asyncio.Event()

    async def slow(job: Job[None]) -> str:
        # As in a process that was stopped: nothing reaches the code, not even cancellation.
        while not slow_may_end.is_set():
            try:
                await slow_may_end.wait()
            except asyncio.CancelledError:
                continue
        return "slow"

    async def quick(job: Job[None]) -> str:
        return f"quick, delivery {job.delivery}, attempt {job.attempt}"

    async with (
        emitting(server.url) as emit,
        working(server.url, {"work": slow}, lease=SHORT_LEASE) as paused,
    ):
        await emit("work")
        await aeventually(lambda: paused.running == 1)
        paused._parts.renewer._stopping.set()  # type: ignore[union-attr]
        async with working(server.url, {"work": quick}, lease=SHORT_LEASE) as other:
            await aeventually(lambda: other.settled == 1)
        slow_may_end.set()
        await aeventually(lambda: paused.running == 0)
        await aeventually(lambda: paused._parts.settler.backlog == 0)  # type: ignore[union-attr]

        assert paused.settled == 0

    assert queue.result("work-1") == "quick, delivery 2, attempt 1"
    assert queue.stats("completed") == 1
    assert queue.is_empty()


async def test_g2_a_handler_whose_delivery_was_taken_over_is_cancelled(
    server: RedisServer, redis: redis_py.Redis, caplog: pytest.LogCaptureFixture
) -> None:
    queue = QueueView(redis)
    cancelled: list[bool] = []

    async def work(job: Job[None]) -> None:
        try:
            await asyncio.sleep(60)
        finally:
            cancelled.append(job.cancelled)

    async with (
        emitting(server.url) as emit,
        working(server.url, {"work": work}, lease=SHORT_LEASE) as worker,
    ):
        await emit("work")
        await aeventually(lambda: worker.running == 1)
        queue.steal(queue.pending()[0][1])
        with caplog.at_level(logging.WARNING):
            await aeventually(lambda: cancelled == [True])
        await aeventually(lambda: worker.running == 0)

        assert worker.settled == 0
        # A renewal would give the thief's delivery back to life for ever.
        assert worker._parts.leases.all == {}  # type: ignore[union-attr]

    assert "work-1 lost its lease" in caplog.text
    assert [row[2] for row in queue.pending()] == ["thief.0"]


async def test_g2_logs_and_progress_of_a_lost_run_are_refused(
    server: RedisServer, redis: redis_py.Redis
) -> None:
    queue = QueueView(redis)
    refused: list[str] = []
    stolen = asyncio.Event()

    async def work(job: Job[None]) -> None:
        await stolen.wait()
        for note in (job.logger("line"), job.progress(1)):
            try:
                await note
            except Exception as error:
                refused.append(type(error).__name__)

    async with emitting(server.url) as emit, working(server.url, {"work": work}) as worker:
        await emit("work")
        await aeventually(lambda: worker.running == 1)
        queue.steal(queue.pending()[0][1])
        stolen.set()
        await aeventually(lambda: worker.fenced == 1)

    assert refused == ["LeaseLost", "LeaseLost"]
    assert not redis.exists(queue.keys.log("work-1"), queue.keys.progress("work-1"))
