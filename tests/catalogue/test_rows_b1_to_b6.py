"""Rows B1 to B6 of the fault catalogue: Redis ends, and what it held is gone."""

from __future__ import annotations

import asyncio
import threading
from typing import cast

import pytest
import redis as redis_py

from consumers.jobs.job import Job
from consumers.store.keys import Keys
from taskmanager import CancelOutcome, TaskManager
from tests.catalogue.own_servers import Start, calls, facts, refusals
from tests.processes.stage import LEASE, RECOVERY, SLACK, Stage, nap, stop
from tests.support.engine import SHORT_LEASE, QueueView, emitting, new_job, working
from tests.support.proxy import FaultProxy
from tests.support.servers import RedisServer
from tests.support.waiting import aeventually, eventually

pytestmark = pytest.mark.timeout(300)


def is_blocked(redis: redis_py.Redis) -> bool:
    """Whether a reader waits for jobs."""
    return bool(facts(redis, "clients")["blocked_clients"])


def has_an_old_epoch(redis: redis_py.Redis) -> bool:
    """Whether the queue would have another epoch if it was made now: they are seconds."""
    epoch = cast("bytes | None", redis.hget(Keys("default").meta, "epoch"))
    return int(cast("tuple[int, int]", redis.time())[0]) > int(epoch or 0)


def test_row_b1_g1_redis_is_killed_and_comes_back_and_the_workers_go_on(
    durable_stage: Stage,
) -> None:
    stage, jobs = durable_stage, 200
    workers = [stage.worker("jobs", "-c", "4", lease=LEASE) for _ in range(2)]
    stage.emit_many(*(nap(number, seconds=0.05) for number in range(jobs)))
    eventually(lambda: len(stage.witness.finished()) >= 20, SLACK)

    stage.server.kill()
    stage.server.start()

    stage.completed(jobs, RECOVERY + 2 * SLACK)
    stage.emit("nap", id="afterwards")
    stage.completed(jobs + 1)
    assert {it.pid for it in stage.witness.started()} == {it.pid for it in workers}
    assert {it.job for it in stage.witness.finished()} == {
        "afterwards",
        *(f"job-{n}" for n in range(jobs)),
    }
    assert stage.letters() == {}
    for worker in workers:
        stop(worker)


async def test_row_b1_a_redis_that_is_loading_is_waited_for(start: Start) -> None:
    # 10,000 commands of 0.2 ms each; what is asked meanwhile is refused, now and then.
    own = start(appendonly="yes", appendfsync="always", key_load_delay="200")
    ran: list[str] = []

    async def work(job: Job[None]) -> None:
        ran.append(job.id)

    async with (
        emitting(own.url, emit_timeout=60.0) as emit,
        working(own.url, {"work": work}, lease=SHORT_LEASE) as worker,
    ):
        await emit("work")
        # What has ended without being recorded would run again.
        await aeventually(lambda: worker.settled == 1)
        with own.client() as client, client.pipeline(transaction=False) as pipe:
            for number in range(10_000):
                pipe.set(f"foreign:{number}", 1)
            pipe.execute()
        own.kill()
        late = emit("work")
        await asyncio.to_thread(own.start)
        await late
        await aeventually(lambda: ran == ["work-1", "work-2"])
        with own.client() as client:
            assert refusals(client, "LOADING") > 0


def test_row_b2_workers_go_on_with_a_redis_that_came_back_empty(stage: Stage) -> None:
    worker = stage.worker("jobs", "-c", "4", lease=LEASE)
    stage.emit_many(*(nap(number, seconds=3600) for number in range(8)))
    eventually(lambda: len(stage.witness.started()) == 4, SLACK)
    with stage.server.client() as client:
        eventually(lambda: has_an_old_epoch(client))

    stage.server.kill()
    stage.server.start()
    stage.emit("nap", id="afterwards")

    # What ran when everything was lost has nowhere to be recorded: it is cancelled, and its slots
    # are free.
    eventually(lambda: stage.witness.finished("afterwards"), SLACK)
    eventually(lambda: len(stage.witness.lines("CancelledError")) == 4, SLACK)
    stage.completed(1)
    assert {it.job for it in stage.witness.finished()} == {"afterwards"}
    worker.wait_for_line("queue default has lost its data in Redis")
    assert len(stage.witness.started()) == 5
    assert stage.waiting() == 0
    stop(worker)


@pytest.mark.parametrize("first", ["worker", "emitter"])
async def test_row_b3_g1_after_everything_in_redis_was_lost_new_jobs_run_and_the_loss_is_told(
    server: RedisServer, redis: redis_py.Redis, caplog: pytest.LogCaptureFixture, first: str
) -> None:
    """Whoever comes first makes the queue anew: the worker, or somebody who emits."""
    queue, ran, may_end = QueueView(redis), list[str](), asyncio.Event()

    async def work(job: Job[None]) -> None:
        ran.append(job.id)
        if job.id == "running":
            await may_end.wait()

    with FaultProxy(server.port) as proxy:
        async with (
            emitting(server.url) as emit,
            working(proxy.url, {"work": work}, concurrency=2) as worker,
        ):
            await emit("work", id="running")
            await aeventually(lambda: worker.running == 1)
            await aeventually(lambda: is_blocked(redis) and has_an_old_epoch(redis))
            if first == "emitter":
                proxy.refuse()
            redis.flushall()
            if first == "worker":
                # On 6.2 a blocked reader does not notice: not before its block is over.
                await aeventually(lambda: redis.exists(queue.keys.meta))
            await emit("work", id="new")
            proxy.pass_all()
            await aeventually(lambda: ran == ["running", "new"])
            may_end.set()
            await aeventually(lambda: worker.running == 0)
            await aeventually(lambda: worker.settled == worker.fenced == 1)

    assert queue.stats("completed") == 1
    assert [it for it in caplog.messages if "lost its data" in it] == [
        "queue default has lost its data in Redis; creating it again"
    ]


async def test_row_b4_scripts_that_are_flushed_all_the_time_are_noticed_by_nobody(
    server: RedisServer, redis: redis_py.Redis, caplog: pytest.LogCaptureFixture
) -> None:
    queue, other, jobs = QueueView(redis), QueueView(redis, "other"), 300

    async def parent(job: Job[int]) -> None:
        await job.logger("a line")
        job.on_success.append(new_job("child", job.data, id=f"child-{job.id}", queue="other"))

    async def child(job: Job[int]) -> None:
        if job.data % 10 == 0:
            raise ValueError("a dead letter")

    handlers = {("default", "parent"): parent, ("other", "child"): child}
    over = asyncio.Event()

    async def flush() -> int:
        flushed = 0
        while not over.is_set() or flushed <= 20:
            redis.script_flush()
            flushed += 1
            await asyncio.sleep(0.005)
        return flushed

    async with (
        emitting(server.url) as emit,
        working(server.url, handlers, concurrency=8, lease=SHORT_LEASE),
    ):
        flushing = asyncio.create_task(flush())
        for start in range(0, jobs, 30):
            batch = range(start, start + 30)
            due = ["", "+20"]
            await asyncio.gather(
                *(
                    emit("parent", number, due=due[number % 2], priority=number % 3)
                    for number in batch
                )
            )
        await aeventually(lambda: other.stats("dead") == jobs // 10)
        await aeventually(lambda: other.stats("completed") == jobs - jobs // 10)
        over.set()
        assert await flushing > 20

    assert refusals(redis, "NOSCRIPT") > 10
    assert queue.stats("completed") == jobs
    assert caplog.messages == []
    # A script that is unknown inside a transaction would fail when it is too late.
    assert calls(redis, "multi") == 0


@pytest.mark.parametrize("when", ["before_the_start", "while_blocked", "while_running"])
async def test_row_b5_g1_a_group_that_an_operator_destroyed_is_made_again_from_the_start(
    server: RedisServer, redis: redis_py.Redis, when: str
) -> None:
    """What is completed does not run again; what was running does, and is recorded once."""
    ran, queue, may_end = list[str](), QueueView(redis), asyncio.Event()

    async def work(job: Job[None]) -> None:
        ran.append(job.id)
        if when == "while_running" and ran == ["work-1", "work-2"]:
            await may_end.wait()

    async with emitting(server.url) as emit:
        await emit("work")
        if when == "before_the_start":
            redis.xgroup_destroy(queue.lane(), "workers")
        async with working(server.url, {"work": work}) as worker:
            await aeventually(lambda: queue.stats("completed") == 1)
            if when == "while_blocked":
                await aeventually(lambda: is_blocked(redis))
                redis.xgroup_destroy(queue.lane(), "workers")
            await emit("work")
            if when == "while_running":
                await aeventually(lambda: worker.running == 1)
                redis.xgroup_destroy(queue.lane(), "workers")
                may_end.set()
            await emit("work")
            await aeventually(queue.is_empty)

    twice = ["work-2"] if when == "while_running" else []
    assert sorted(ran) == sorted(["work-1", "work-2", *twice, "work-3"])
    assert queue.stats("completed") == 3
    assert queue.stats("fenced") == len(twice)


async def test_row_b5_a_cancelled_job_of_a_dead_worker_does_not_run_after_its_group_was_lost(
    server: RedisServer, redis: redis_py.Redis
) -> None:
    """What somebody had comes back as if it had never been delivered, its mark stays."""
    ran, queue = list[str](), QueueView(redis)

    async def work(job: Job[None]) -> None:
        ran.append(job.id)

    async with TaskManager(server.url) as tm, emitting(server.url) as emit:
        await emit("work", id="cancelled")
        redis.xreadgroup("workers", "dead", {queue.lane(): ">"})
        outcome = await tm.handle("cancelled").cancel()
        await emit("work", id="other")
        redis.xgroup_destroy(queue.lane(), "workers")
        async with working(server.url, {"work": work}):
            await aeventually(queue.is_empty)
        state = await tm.handle("cancelled").status()

    assert outcome is CancelOutcome.REQUESTED
    assert state == "cancelled"
    assert ran == ["other"]
    assert not redis.exists(queue.keys.cancelled, queue.keys.cancelling)


async def test_row_b5_a_cancelled_run_that_goes_on_while_its_group_is_lost_ends_as_cancelled_once(
    server: RedisServer, redis: redis_py.Redis
) -> None:
    queue, ran, may_end = QueueView(redis), list[str](), threading.Event()

    def work(job: Job[None]) -> None:
        ran.append(job.id)
        may_end.wait(60.0)

    async with TaskManager(server.url) as tm, emitting(server.url) as emit:
        async with working(server.url, {"work": work}, concurrency=4) as worker:
            await emit("work", id="a")
            await aeventually(lambda: worker.running == 1)
            outcome = await tm.handle("a").cancel()
            redis.xgroup_destroy(queue.lane(), "workers")
            # Ours again: with the token that the run has.
            await aeventually(lambda: queue.pending())
            await aeventually(lambda: is_blocked(redis))
            assert worker.running == 1
            may_end.set()
            await aeventually(queue.is_empty)
            await aeventually(lambda: worker.settled == 1)
        state = await tm.handle("a").status()

    assert outcome is CancelOutcome.REQUESTED
    assert (ran, state) == (["a"], "cancelled")
    assert (worker.settled, worker.fenced, queue.stats("fenced")) == (1, 0, 0)


async def test_row_b6_a_lane_that_was_deleted_is_reported_and_swallows_no_later_job(
    server: RedisServer, redis: redis_py.Redis, caplog: pytest.LogCaptureFixture
) -> None:
    """The engine keeps payloads in the lane only: a deleted one cannot be put back, only told.

    Told are the jobs that were in it, in the log and in a counter, and who asks for one of them:
    nobody knows that id.
    """
    queue, ran, may_end = QueueView(redis), list[str](), asyncio.Event()

    async def work(job: Job[None]) -> None:
        ran.append(job.id)
        if len(ran) == 1:
            await may_end.wait()

    async with emitting(server.url) as emit, working(server.url, {"work": work}) as worker:
        await asyncio.gather(*(emit("work", id=it) for it in ("running", "waiting", "forgotten")))
        await aeventually(lambda: worker.running == 1)
        redis.delete(queue.lane())
        again = await emit("work", id="waiting")
        may_end.set()
        await aeventually(lambda: ran == ["running", "waiting"])
        await aeventually(lambda: queue.stats("completed") == 1)
        await aeventually(lambda: worker.fenced == 1)
        await aeventually(lambda: queue.stats("vanished") == 2)
        assert [queue.live(it) for it in ("running", "forgotten")] == [None, None]

        [told] = await aeventually(
            lambda: [
                it
                for it in caplog.messages
                if "lost jobs because another program deleted their entries" in it
            ]
        )
        assert told.endswith(
            (": running, forgotten (2 in total)", ": forgotten, running (2 in total)")
        )

    async with TaskManager(server.url) as tm:
        known = {it: await tm.handle(it).status() for it in ("running", "waiting", "forgotten")}

    assert known == {"running": "unknown", "waiting": "completed", "forgotten": "unknown"}
    assert again.created
    assert queue.is_empty()
    # It was emitted to before a worker looked: so it only seems to have lost its group.
    assert any(f"{queue.lane()} had lost its group" in it for it in caplog.messages)


async def test_row_b6_a_lane_that_is_deleted_while_a_worker_waits_is_named_with_its_jobs(
    server: RedisServer, redis: redis_py.Redis, caplog: pytest.LogCaptureFixture
) -> None:
    queue, ran = QueueView(redis), list[str]()

    async def work(job: Job[None]) -> None:
        ran.append(job.id)

    async with emitting(server.url) as emit:
        async with working(server.url, {"work": work}):
            await aeventually(lambda: is_blocked(redis))
        await emit("work", id="forgotten")
        redis.delete(queue.lane())
        async with working(server.url, {"work": work}):
            await aeventually(lambda: queue.stats("vanished") == 1)
            assert queue.live("forgotten") is None
            assert (await emit("work", id="forgotten")).created
            await aeventually(lambda: ran == ["forgotten"])
            await aeventually(lambda: queue.stats("completed") == 1)
            await aeventually(lambda: len(caplog.messages) >= 2)

    assert caplog.messages == [
        f"{queue.lane()} was deleted by another program, together with its jobs",
        "queue default lost jobs because another program deleted their entries: forgotten "
        "(1 in total)",
    ]
