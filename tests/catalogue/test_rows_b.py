"""Rows B1 to B17 of the fault catalogue: what happens to Redis and to what it holds."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any, cast

import pytest
import redis as redis_py
import redis.asyncio as redis_async
from redis.credentials import CredentialProvider

from consumers.errors import BrokenKey, QueueFull, RedisUnavailable
from consumers.jobs.job import Job
from consumers.store.keys import Keys
from taskmanager import CancelOutcome, TaskManager
from tests.processes.stage import LEASE, RECOVERY, SLACK, Stage, nap, stop
from tests.support.engine import (
    SHORT_LEASE,
    QueueView,
    consumer_of,
    emitting,
    new_job,
    working,
)
from tests.support.proxy import FaultProxy
from tests.support.queue import Queue, foreign_value, full_memory
from tests.support.servers import RedisServer
from tests.support.waiting import aeventually, eventually

Start = Callable[..., RedisServer]

pytestmark = pytest.mark.timeout(300)


@pytest.fixture
def start(server: RedisServer) -> Iterator[Start]:
    """Start servers of the same version, with options of their own."""
    started: list[RedisServer] = []

    def start(**options: str) -> RedisServer:
        started.append(RedisServer(server.binary, **options).start())
        return started[-1]

    yield start
    for own in started:
        own.stop()


def facts(redis: redis_py.Redis, section: str) -> dict[str, Any]:
    """Return a section of what the server says of itself."""
    return cast("dict[str, Any]", redis.info(section))


def refusals(redis: redis_py.Redis, kind: str) -> int:
    """Return how often the server has refused a command with this error."""
    stats = facts(redis, "errorstats").get(f"errorstat_{kind}", {"count": 0})
    return int(stats["count"])


def calls(redis: redis_py.Redis, *commands: str) -> int:
    """Return how often commands were called since the statistics were reset."""
    stats = facts(redis, "commandstats")
    return sum(stats.get(f"cmdstat_{it}", {"calls": 0})["calls"] for it in commands)


def is_blocked(redis: redis_py.Redis) -> bool:
    """Whether a reader waits for jobs."""
    return bool(facts(redis, "clients")["blocked_clients"])


def has_an_old_epoch(redis: redis_py.Redis) -> bool:
    """Whether the queue would have another epoch if it was made now: they are seconds."""
    epoch = cast("bytes | None", redis.hget(Keys("default").meta, "epoch"))
    return int(cast("tuple[int, int]", redis.time())[0]) > int(epoch or 0)


# B1 to B6: Redis ends, and what it held is gone


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
        "queue default has lost its data in Redis, it is made anew"
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
            lambda: [it for it in caplog.messages if "has lost jobs whose entries" in it]
        )
        assert told.endswith((": running, forgotten (2 in all)", ": forgotten, running (2 in all)"))

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
        f"{queue.lane()} was deleted by somebody else, with the jobs that were in it",
        "queue default has lost jobs whose entries somebody deleted: forgotten (1 in all)",
    ]


# B7 to B10: Redis takes nothing, or has something else


@pytest.mark.parametrize("when", ["at_the_first_emit_ever", "later"])
async def test_row_b7_g12_full_memory_is_an_error_to_who_emits_and_nothing_is_half_written(
    server: RedisServer, redis: redis_py.Redis, when: str
) -> None:
    queue = Queue(redis)
    async with emitting(server.url) as emit:
        if when == "later":
            await emit("work", id="before")
        before = queue.writes()
        with full_memory(redis):
            for due in ("", "+10000"):
                with pytest.raises(QueueFull, match="out of memory"):
                    await emit("work", id="a", due=due)

        assert queue.writes() == before
        assert (await emit("work", id="a")).created


@pytest.mark.parametrize("fills_up", ["before_the_worker_starts", "while_it_works"])
async def test_row_b8_g12_when_memory_is_full_jobs_are_worked_off_and_leases_renewed(
    server: RedisServer, redis: redis_py.Redis, fills_up: str
) -> None:
    queue, jobs = QueueView(redis), 200
    ran: list[tuple[int, int]] = []
    may_start = asyncio.Event()

    async def work(job: Job[int]) -> None:
        await may_start.wait()
        # Long enough for renewals under full memory.
        await asyncio.sleep(2 * SHORT_LEASE if job.data == 0 else 0)
        ran.append((job.data, job.delivery))
        if job.data % 50 == 1:
            raise ValueError("a dead letter under full memory")

    async with emitting(server.url) as emit:
        await asyncio.gather(*(emit("work", n) for n in range(jobs)))
        worker = consumer_of(server.url, {"work": work}, concurrency=8, lease=SHORT_LEASE)
        if fills_up == "while_it_works":
            await worker.start()
        with full_memory(redis):
            await worker.start()
            await aeventually(lambda: worker.running == 8)
            may_start.set()
            with pytest.raises(QueueFull, match="memory"):
                await emit("work", 1000)
            await aeventually(lambda: worker.settled >= jobs)
            assert queue.is_empty()
            assert queue.stats("fenced") == 0
            await worker.stop()
        assert (await emit("work", 1001)).created

    assert sorted(ran) == [(number, 1) for number in range(jobs)]
    assert len(queue.letters()) == 4
    assert queue.stats("completed") == jobs - 4


@pytest.mark.parametrize("policy", ["noeviction", "allkeys-lru", "volatile-ttl"])
async def test_row_b9_a_policy_that_may_evict_jobs_is_warned_of_at_the_start(
    server: RedisServer, redis: redis_py.Redis, caplog: pytest.LogCaptureFixture, policy: str
) -> None:
    redis.config_set("maxmemory-policy", policy)

    async with working(server.url, {"work": print}):
        pass

    warnings = [it for it in caplog.messages if "maxmemory-policy" in it]
    assert len(warnings) == (policy != "noeviction")
    assert all(policy in it and "noeviction" in it for it in warnings)


FOREIGN = ["lanes", "meta", "stats", "live", "lane", "front", "delayed", "dead", "outbox"]


@pytest.mark.parametrize("name", FOREIGN)
async def test_row_b10_g13_a_foreign_value_in_one_queue_is_named_and_the_other_goes_on(
    server: RedisServer, redis: redis_py.Redis, caplog: pytest.LogCaptureFixture, name: str
) -> None:
    broken, fine = QueueView(redis, "broken"), QueueView(redis, "fine")
    ran: Counter[str] = Counter()

    async def work(job: Job[None]) -> None:
        ran[job.id] += 1
        if job.id == "dies":
            raise ValueError("a dead letter")

    handlers = {("broken", "work"): work, ("fine", "work"): work}
    async with emitting(server.url) as emit, working(server.url, handlers, concurrency=4) as worker:
        await emit("work", id="before", queue="broken")
        await aeventually(lambda: ran["before"] == 1)
        await aeventually(broken.is_empty)
        key = {
            "lane": broken.lane(),
            "front": broken.lane(front=True),
            "live": broken.keys.live("a"),
        }.get(name) or getattr(broken.keys, name)
        with foreign_value(redis, key):
            emits = [emit("work", id=it, queue="broken") for it in ("a", "dies")]
            emits.append(emit("work", id="late", queue="broken", due="+50"))
            answers = await asyncio.gather(*emits, return_exceptions=True)
            refused = [it for it in answers if isinstance(it, Exception)]
            await asyncio.gather(*(emit("work", id=f"fine-{n}", queue="fine") for n in range(20)))
            await aeventually(lambda: fine.stats("completed") == 20)
            assert all(isinstance(it, BrokenKey) and it.key == key for it in refused)
            # Of what is needed later only the log can tell.
            names = (key, "the outbox of broken")
            await aeventually(
                lambda: refused or any(it in line for it in names for line in caplog.messages)
            )
        async with asyncio.timeout(60.0):
            await asyncio.gather(
                *(emit("work", id=it, queue="broken") for it in ("a", "dies", "late"))
            )
        await aeventually(lambda: ran["a"] and ran["dies"] and ran["late"])
        await aeventually(broken.is_empty)
        await aeventually(lambda: len(broken.letters()) == ran["dies"])
        assert worker.fenced == 0

    assert "Traceback" not in caplog.text


# B11 to B13: Redis stalls, cannot save, lost the end of its file


def stall_by_sleep(own: RedisServer, seconds: float) -> None:
    """Keep the server from doing anything."""
    with own.client() as client:
        client.execute_command("DEBUG", "SLEEP", seconds)


def stall_by_script(own: RedisServer, seconds: float) -> None:
    """Let the server answer BUSY to everything."""
    with own.client() as busy, own.client() as killer:
        thread = threading.Thread(target=lambda: _endless(busy))
        thread.start()
        time.sleep(seconds)
        killer.script_kill()
        thread.join()


def _endless(client: redis_py.Redis) -> None:
    with contextlib.suppress(redis_py.ResponseError):
        client.eval("while true do end", 0)


@pytest.mark.parametrize("stall", [stall_by_sleep, stall_by_script])
async def test_row_b11_a_redis_that_stalls_for_less_than_the_lease_costs_no_lease(
    start: Start, caplog: pytest.LogCaptureFixture, stall: Callable[[RedisServer, float], None]
) -> None:
    own, ran, may_end = start_with_debug(start), Counter[str](), asyncio.Event()

    async def work(job: Job[None]) -> None:
        ran[job.id] += 1
        if job.id == "slow":
            await may_end.wait()

    async with (
        emitting(own.url, emit_timeout=60.0) as emit,
        # Without a free slot it looks at its queues all the same.
        working(own.url, {"work": work}, lease=30.0) as worker,
    ):
        await emit("work", id="slow")
        await aeventually(lambda: worker.running == 1)
        stalling = asyncio.create_task(asyncio.to_thread(stall, own, 3.0))
        await asyncio.sleep(0.5)
        late = [emit("work") for _ in range(10)]
        await stalling
        await asyncio.gather(*late)
        may_end.set()
        await aeventually(lambda: worker.settled == 11)
        assert worker.fenced == 0

    assert set(ran.values()) == {1}
    assert "Traceback" not in caplog.text
    # Each part says once what it waits for.
    assert len(caplog.messages) < 6, caplog.messages


def start_with_debug(start: Start) -> RedisServer:
    """Start a server that takes DEBUG, and that calls a script slow after 0.1 s."""
    plain = start(lua_time_limit="100")
    if plain.version < (7,):
        return plain
    return start(lua_time_limit="100", enable_debug_command="local")


async def test_row_b12_a_redis_that_cannot_save_takes_nothing_until_it_can(
    server: RedisServer, redis: redis_py.Redis, caplog: pytest.LogCaptureFixture
) -> None:
    queue, ran, may_end = Queue(redis), list[tuple[str, int]](), asyncio.Event()

    async def work(job: Job[None]) -> None:
        ran.append((job.id, job.delivery))
        await may_end.wait()

    async with (
        emitting(server.url, emit_timeout=3.0) as emit,
        working(server.url, {"work": work}) as worker,
    ):
        await emit("work")
        await aeventually(lambda: worker.running == 1)
        with unable_to_save(server, redis):
            before = queue.writes()
            with pytest.raises(RedisUnavailable, match="MISCONF") as refused:
                await emit("work", id="refused")
            assert refused.value.outcome == "not_sent"
            assert queue.writes() == before
            may_end.set()
            await aeventually(lambda: worker.running == 0)
            redis.config_resetstat()
            # What is measured is a time in which nothing can be done.
            await asyncio.sleep(2.0)
            assert calls(redis, "eval", "evalsha", "xreadgroup") < 40
            starting = consumer_of(server.url, {("new", "work"): work}, name="second")
            started = asyncio.create_task(starting.start())
            await aeventually(lambda: connected(redis, "second"))
        await asyncio.wait_for(started, 30.0)
        await starting.stop()
        await aeventually(lambda: worker.settled == 1)
        await emit("work")
        await aeventually(lambda: worker.settled == 2)

    assert ran == [("work-1", 1), ("work-2", 1)]
    assert "Traceback" not in caplog.text
    assert len(caplog.messages) < 10, caplog.messages


@contextlib.contextmanager
def unable_to_save(server: RedisServer, redis: redis_py.Redis) -> Iterator[None]:
    """Let saving fail, so that Redis refuses every write; afterwards it need not save."""
    in_the_way = server.directory / str(redis.config_get("dbfilename")["dbfilename"])
    in_the_way.unlink(missing_ok=True)
    in_the_way.mkdir()
    redis.config_set("save", "3600 1")
    try:
        redis.bgsave()
        eventually(lambda: facts(redis, "persistence")["rdb_last_bgsave_status"] == "err")
        yield
    finally:
        in_the_way.rmdir()
        redis.config_set("save", "")


def connected(redis: redis_py.Redis, name: str) -> bool:
    """Whether a worker has a connection."""
    clients = cast("list[dict[str, str]]", redis.client_list())
    return any(it["name"].startswith(f"writer-{name}.") for it in clients)


@pytest.mark.parametrize("missing", [1, 40, 200, 900])
async def test_row_b13_a_file_with_a_truncated_tail_leaves_no_job_half_done(
    start: Start, missing: int
) -> None:
    """Cut within what a script wrote: all of that is gone or none.

    Before the next restart the file should be rewritten: Redis 6.2 and 7.0 leave half a
    transaction in it, and that one is then carried out.
    """
    own, ran = start(appendonly="yes", appendfsync="always"), Counter[str]()

    async def parent(job: Job[None]) -> None:
        ran[job.id] += 1
        job.on_success.append(new_job("child", id=f"child-of-{job.id}"))

    async def child(job: Job[None]) -> None:
        ran[job.id] += 1

    handlers, ids = {"parent": parent, "child": child}, [f"parent-{n}" for n in range(1, 31)]
    async with (
        emitting(own.url) as emit,
        working(own.url, handlers, concurrency=4, lease=SHORT_LEASE),
    ):
        await asyncio.gather(*(emit("parent") for _ in ids))
        await aeventually(lambda: ran[ids[9]])
        own.kill()
    cut_off(own, missing)
    own.start()

    assert "aof-load-truncated" in own.log()
    with own.client() as client:
        queue = QueueView(client)
        queue.expire()
        async with working(own.url, handlers, concurrency=4, lease=SHORT_LEASE):
            await aeventually(queue.is_empty)
        assert all(ran[it] and ran[f"child-of-{it}"] for it in ids)
        assert queue.stats("completed") == queue.stats("emitted") == 2 * len(ids)
        assert not list(client.scan_iter(f"{queue.keys.base}live:*"))
        assert queue.letters() == []


def cut_off(own: RedisServer, size: int) -> None:
    """Take the last bytes off the append-only file, as a crash in the middle of a write does."""
    [file] = [it for it in own.directory.rglob("*.aof") if ".base." not in it.name]
    with file.open("r+b") as aof:
        aof.truncate(file.stat().st_size - size)


# B14 to B17: connections end, or cannot be made


async def test_row_b14_connections_that_are_killed_again_and_again_leave_nobody_deaf(
    server: RedisServer, redis: redis_py.Redis
) -> None:
    queue, ran = QueueView(redis), Counter[str]()

    async def work(job: Job[None]) -> None:
        ran[job.id] += 1

    async with (
        emitting(server.url, emit_timeout=60.0) as emit,
        working(server.url, {"work": work}, concurrency=4, lease=SHORT_LEASE) as worker,
    ):
        emits = []
        for _ in range(30):
            redis.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
            redis.execute_command("CLIENT", "KILL", "TYPE", "pubsub")
            emits += [emit("work") for _ in range(5)]
            # Into whatever they are doing just then.
            await asyncio.sleep(0.05)
        emits.append(emit("work", id="afterwards"))
        await aeventually(lambda: ran["afterwards"])
        await asyncio.gather(*emits)
        fetcher = worker._parts.fetcher  # type: ignore[union-attr]
        await aeventually(lambda: queue.stats("completed") == 151)
        passes = fetcher.passes
        # Of a lane that is new only a hint, or a look at the queue, tells.
        await emit("work", priority=7)
        await aeventually(lambda: queue.stats("completed") == 152)
        await aeventually(lambda: fetcher.passes > passes)

    assert len(ran) == 152
    assert queue.stats("emitted") == 152


async def test_row_b15_idle_connections_that_are_closed_make_no_noise(
    server: RedisServer, redis: redis_py.Redis, caplog: pytest.LogCaptureFixture
) -> None:
    may_end = asyncio.Event()

    async def work(job: Job[None]) -> None:
        await may_end.wait()

    redis.config_set("timeout", 1)
    async with (
        emitting(server.url) as emit,
        # Renewed less often than connections are closed.
        working(server.url, {"work": work}, concurrency=2, lease=6.0) as worker,
    ):
        await emit("work")
        await aeventually(lambda: worker.running == 1)
        with server.client() as client:
            before = facts(client, "stats")["total_connections_received"]
        # What is measured is a time in which connections idle.
        await asyncio.sleep(6.0)
        with server.client() as client:
            made = facts(client, "stats")["total_connections_received"] - before
        may_end.set()
        await aeventually(lambda: worker.settled == 1)
        await emit("work")
        await aeventually(lambda: worker.settled == 2)

    assert caplog.messages == []
    assert made < 20


async def test_row_b16_a_redis_without_room_for_clients_is_asked_again_with_patience(
    server: RedisServer, redis: redis_py.Redis, caplog: pytest.LogCaptureFixture
) -> None:
    ran, may_end = list[tuple[str, int]](), asyncio.Event()

    async def work(job: Job[None]) -> None:
        ran.append((job.id, job.delivery))
        await may_end.wait()

    async with (
        emitting(server.url, emit_timeout=3.0) as emit,
        working(server.url, {"work": work}) as worker,
    ):
        await emit("work")
        await aeventually(lambda: worker.running == 1)
        redis.config_set("maxclients", 1)
        redis.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
        redis.execute_command("CLIENT", "KILL", "TYPE", "pubsub")
        with pytest.raises(RedisUnavailable, match="max number of clients"):
            await emit("work", id="refused")
        may_end.set()
        before = facts(redis, "stats")["rejected_connections"]
        # What is measured is a time in which nobody is let in.
        await asyncio.sleep(3.0)
        rejected = facts(redis, "stats")["rejected_connections"] - before
        redis.config_set("maxclients", 10_000)
        await aeventually(lambda: worker.settled == 1)
        await emit("work")
        await aeventually(lambda: worker.settled == 2)

    assert ran == [("work-1", 1), ("work-2", 1)]
    assert 0 < rejected < 60
    assert "Traceback" not in caplog.text
    assert len(caplog.messages) < 10, caplog.messages


class Rotating(CredentialProvider):
    """Knows the password of the moment, as a secret store does."""

    def __init__(self, password: str) -> None:
        self.password = password

    def get_credentials(self) -> tuple[str, str]:
        return ("worker", self.password)

    async def get_credentials_async(self) -> tuple[str, str]:
        return self.get_credentials()


@pytest.mark.parametrize("given", ["provider", "url"])
async def test_row_b17_a_password_that_was_changed_is_asked_for_or_missed_once(
    server: RedisServer, redis: redis_py.Redis, caplog: pytest.LogCaptureFixture, given: str
) -> None:
    """With a URL the old one is all there is: the worker waits until it is accepted again."""
    provider, ran = Rotating("old-secret"), list[str]()

    async def work(job: Job[None]) -> None:
        ran.append(job.id)

    url = server.url.replace("redis://", "redis://worker:old-secret@")
    with_provider = redis_async.Redis(port=server.port, credential_provider=provider)
    set_password(redis, "old-secret")
    async with (
        emitting(server.url) as emit,
        working(with_provider if given == "provider" else url, {"work": work}) as worker,
    ):
        await emit("work")
        await aeventually(lambda: worker.settled == 1)
        set_password(redis, "new-secret")
        provider.password = "new-secret"
        redis.execute_command("CLIENT", "KILL", "USER", "worker")
        await emit("work")
        if given == "url":
            # What is measured is a time in which it is not let in.
            await asyncio.sleep(4.0)
            assert ran == ["work-1"]
            set_password(redis, "old-secret")
        await aeventually(lambda: worker.settled == 2)

    assert ran == ["work-1", "work-2"]
    assert "secret" not in caplog.text
    assert len(caplog.messages) < 6, caplog.messages


async def test_row_b17_a_worker_whose_rights_were_taken_waits_for_them(
    server: RedisServer, redis: redis_py.Redis, caplog: pytest.LogCaptureFixture
) -> None:
    await check_it_waits_for_its_rights(server, redis)

    assert "no permissions" in caplog.text
    assert "secret" not in caplog.text
    assert "Traceback" not in caplog.text


async def test_row_b17_a_worker_whose_rights_were_taken_says_once_what_it_may_not_do(
    server: RedisServer, redis: redis_py.Redis, caplog: pytest.LogCaptureFixture
) -> None:
    await check_it_waits_for_its_rights(server, redis)

    # Each of its parts.
    said = [it for it in caplog.messages if "no permissions" in it]
    assert 0 < len(said) == len(set(said)) < 6, said


async def check_it_waits_for_its_rights(server: RedisServer, redis: redis_py.Redis) -> None:
    """Take them for a while, and see nothing lost: neither what waits nor what has run."""
    ran: list[tuple[str, int]] = []

    async def work(job: Job[None]) -> None:
        ran.append((job.id, job.delivery))

    url = server.url.replace("redis://", "redis://worker:secret@")
    set_password(redis, "secret")
    async with emitting(server.url) as emit, working(url, {"work": work}) as worker:
        await emit("work")
        await aeventually(lambda: worker.settled == 1)
        set_password(redis, "secret", "-@stream", "-@scripting")
        # A reader that was blocked before gets one more, whose outcome is refused then.
        await asyncio.gather(*(emit("work") for _ in range(3)))
        redis.config_resetstat()
        # What is measured is a time in which it may do nothing.
        await asyncio.sleep(4.0)
        assert worker.settled == 1
        assert 0 < refusals(redis, "NOPERM") < 40
        set_password(redis, "secret")
        await aeventually(lambda: worker.settled == 4)

    assert ran == [(f"work-{number}", 1) for number in range(1, 5)]


def set_password(redis: redis_py.Redis, password: str, *rights: str) -> None:
    """Let the worker's user log in with this one only; rights change that it may do all."""
    redis.execute_command(
        "ACL", "SETUSER", "worker", "reset", "on", f">{password}", "~*", "&*", "+@all", *rights
    )
