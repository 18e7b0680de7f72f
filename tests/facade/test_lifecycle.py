"""Starting, stopping and running through the public API, on a real Redis."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import pytest
import redis as redis_py
import redis.asyncio as redis_async

from taskmanager import (
    InvalidOption,
    Job,
    NoHandlers,
    OtherLoop,
    RedisUnavailable,
    TaskManager,
)
from tests.support.facade import letters, result, run_all, waiting
from tests.support.processes import Spawner
from tests.support.servers import RedisServer
from tests.support.waiting import PATIENCE, aeventually, eventually


async def test_start_and_stop_may_be_repeated(tm: TaskManager) -> None:
    ran: list[Any] = []
    tm.registerHandler(lambda job: ran.append(job.data), event="a")

    await tm.stop()
    for n in range(2):
        await asyncio.gather(tm.start(), tm.start())
        await tm.emit("a", data=n)
        await tm.until_idle()
        await asyncio.gather(tm.stop(), tm.stop())
        await tm.stop()

    assert ran == [0, 1]


async def test_a_start_during_a_stop_waits_for_it_and_starts_anew(tm: TaskManager) -> None:
    ran: list[Any] = []
    started, go = asyncio.Event(), asyncio.Event()

    @tm.registerHandler(event="slow")
    async def slow(job: Job[Any]) -> None:
        started.set()
        await go.wait()
        ran.append("slow")

    @tm.registerHandler(event="quick")
    async def quick(job: Job[Any]) -> None:
        ran.append("quick")

    await tm.emit("slow")
    await tm.start()
    await started.wait()
    stopping = asyncio.create_task(tm.stop())
    await aeventually(lambda: tm._life.worker is not None and tm._life.worker.stopping)

    starting = [asyncio.create_task(tm.start()) for _ in range(2)]
    await asyncio.sleep(0.05)  # A start that does not wait would be over by now.
    assert not any(it.done() for it in starting)
    go.set()
    await asyncio.gather(stopping, *starting)

    await tm.emit("quick")
    await tm.until_idle()
    assert ran == ["slow", "quick"]
    assert len([it for it in asyncio.all_tasks() if it.get_name() == "fetcher"]) == 1


async def test_who_connects_emits_and_asks_and_runs_no_handlers(
    make: Callable[..., TaskManager],
) -> None:
    web, worker = make(), make()
    ran: list[str] = []
    web.registerHandler(lambda job: ran.append("web"), event="work")
    worker.registerHandler(lambda job: ran.append("worker"), event="work")

    await web.connect()
    await web.connect()
    handle = await web.emit("work")
    await worker.start()
    await handle.result(timeout=20.0)

    assert ran == ["worker"]
    web.registerHandler(lambda job: None, event="more")
    await web.stop()
    async with web as entered:
        assert await entered.stats() == await worker.stats()


async def test_a_stop_that_is_cancelled_goes_on_and_the_next_one_waits_for_it(
    tm: TaskManager, redis: redis_py.Redis
) -> None:
    started, go = asyncio.Event(), asyncio.Event()

    @tm.registerHandler(event="a")
    async def slow(job: Job[Any]) -> str:
        started.set()
        await go.wait()
        return "finished"

    await tm.emit("a", id="7")
    await tm.start()
    await started.wait()
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(tm.stop(), 0.05)

    go.set()
    await tm.stop()

    assert result(redis, "7").endswith(b' "finished"')
    tm.registerHandler(lambda job: None, event="b")


async def test_a_lifespan_that_fails_at_its_end_lets_everything_else_stop(
    make: Callable[..., TaskManager],
) -> None:
    ran: list[Any] = []

    @asynccontextmanager
    async def lifespan() -> AsyncIterator[None]:
        yield
        raise LookupError("the database is gone already")

    tm = make(lifespan=lifespan)
    tm.registerHandler(lambda job: ran.append(job.data), event="a")

    for n in range(2):
        await tm.emit("a", data=n)
        await run_all(tm)
        with pytest.raises(LookupError, match="the database is gone already"):
            await tm.stop()
        assert tm._life._clients._clients == {}
        await tm.stop()

    assert ran == [0, 1]


async def test_stop_takes_a_timedelta(tm: TaskManager) -> None:
    await tm.start()

    with pytest.raises(InvalidOption, match="timeout -1 is not allowed: give seconds or a timed"):
        await tm.stop(timeout=-1)
    await tm.stop(timeout=timedelta(seconds=1))


async def test_another_event_loop_cannot_stop_a_worker(tm: TaskManager) -> None:
    ran: list[Any] = []
    tm.registerHandler(lambda job: ran.append(job.data), event="a")
    await tm.start()

    with pytest.raises(OtherLoop, match="start and stop it on the same one"):
        await asyncio.to_thread(asyncio.run, tm.stop())
    with pytest.raises(OtherLoop):
        await asyncio.to_thread(asyncio.run, tm.start())

    await tm.emit("a")
    await tm.until_idle()
    assert len(ran) == 1


async def test_a_producer_may_start_and_stop_as_well(
    tm: TaskManager, redis: redis_py.Redis
) -> None:
    await tm.start()
    tm.emit("a")
    await tm.stop()

    assert waiting(redis) == 1


async def test_a_start_without_redis_gives_up_and_may_be_repeated(
    make: Callable[..., TaskManager], server: RedisServer
) -> None:
    tm = make(connect_timeout=2)
    tm.registerHandler(lambda job: None, event="a")
    server.kill()

    with pytest.raises(RedisUnavailable):
        await tm.start()

    server.restart()
    tm.registerHandler(lambda job: None, event="b")
    await run_all(tm)


async def test_a_failing_lifespan_fails_the_start(make: Callable[..., TaskManager]) -> None:
    @asynccontextmanager
    async def lifespan() -> AsyncIterator[None]:
        raise LookupError("no database")
        yield

    tm = make(lifespan=lifespan)
    tm.registerHandler(lambda job: None, event="a")

    with pytest.raises(LookupError, match="no database"):
        await tm.start()


async def test_a_stop_ends_a_start_that_waits_for_redis(
    make: Callable[..., TaskManager], server: RedisServer
) -> None:
    tm = make(connect_timeout=3600)
    tm.registerHandler(lambda job: None, event="a")
    server.kill()
    starting = asyncio.create_task(tm.start())
    await aeventually(lambda: tm._life.worker is not None)

    await asyncio.wait_for(tm.stop(), PATIENCE)

    with pytest.raises(asyncio.CancelledError):
        await starting


async def test_a_stop_lets_the_running_job_finish(tm: TaskManager, redis: redis_py.Redis) -> None:
    started, go = asyncio.Event(), asyncio.Event()

    @tm.registerHandler(event="a")
    async def slow(job: Job[Any]) -> str:
        started.set()
        await go.wait()
        return "finished"

    await tm.emit("a", id="7")
    await tm.start()
    await started.wait()
    stopping = asyncio.create_task(tm.stop())
    go.set()
    await stopping

    assert result(redis, "7").endswith(b' "finished"')


async def test_a_stop_of_no_patience_hands_the_running_job_back(
    tm: TaskManager, redis: redis_py.Redis
) -> None:
    started = asyncio.Event()

    @tm.registerHandler(event="a")
    async def endless(job: Job[Any]) -> None:
        started.set()
        await asyncio.Event().wait()

    await tm.emit("a", id="7")
    await tm.start()
    await started.wait()
    stopping = asyncio.create_task(tm.stop())
    await tm.stop(timeout=0)
    await stopping

    assert (await tm.emit("a", id="7")).created is False
    assert letters(redis) == []


async def test_run_without_handlers_is_an_error(tm: TaskManager) -> None:
    with pytest.raises(NoHandlers, match="no handler is registered"):
        await tm.run()


async def test_run_in_burst_ends_when_nothing_is_left(tm: TaskManager) -> None:
    ran: list[Any] = []
    tm.registerHandler(lambda job: ran.append(job.data), event="a")
    await tm.emit_many([{"event": "a", "data": n} for n in range(30)])

    await tm.run(burst=True)

    assert sorted(ran) == list(range(30))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_ends_run(tm: TaskManager, number: signal.Signals) -> None:
    started = asyncio.Event()
    finished: list[str] = []

    @tm.registerHandler(event="a")
    async def slow(job: Job[Any]) -> None:
        started.set()
        os.kill(os.getpid(), number)
        await asyncio.sleep(0.1)  # Long enough to be cancelled, if somebody did.
        finished.append(job.id)

    await tm.emit("a", id="7")
    await tm.run()

    assert finished == ["7"]


STUBBORN = """
import asyncio, os, sys, time
from taskmanager import TaskManager
tm = TaskManager(sys.argv[1])

@tm.registerHandler(event="polite")
async def polite(job):
    print("started", flush=True)
    try:
        await asyncio.sleep(60)
    except asyncio.CancelledError:
        print("cancelled", flush=True)
        raise

@tm.registerHandler(event="stubborn")
async def stubborn(job):
    print("started", flush=True)
    while True:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            print("cancelled", flush=True)

@tm.registerHandler(event="blocking")
async def blocking(job):
    print("started", flush=True)
    while True:
        time.sleep(0.05)

asyncio.run(tm.run())
"""


@pytest.mark.parametrize(("event", "code"), [("polite", 0), ("stubborn", 4), ("blocking", 4)])
def test_the_second_signal_cancels_and_the_third_exits(
    server: RedisServer, spawn: Spawner, event: str, code: int
) -> None:
    client = TaskManager(server.url)
    client.emit_sync(event, id="7")
    worker = spawn.python("-c", STUBBORN, server.url)
    worker.wait_for_line("started")

    os.kill(worker.pid, signal.SIGTERM)
    os.kill(worker.pid, signal.SIGINT)

    if event != "blocking":
        worker.wait_for_line("cancelled")
    if code:
        # Again and again, because signals of one number that were not taken yet are merged.
        eventually(lambda: os.kill(worker.pid, signal.SIGTERM) or not worker.running)
    assert worker.wait() == code


@pytest.mark.parametrize("role", ["redis", "db", "streamdb"])
async def test_a_client_lends_its_settings_and_stays_open(
    server: RedisServer, role: str, redis: redis_py.Redis
) -> None:
    async with redis_async.Redis.from_url(server.url) as client:
        async with TaskManager(**{role: client}) as tm:  # type: ignore[arg-type]
            await tm.emit("a")

        assert await client.ping()
    assert waiting(redis) == 1


async def test_another_namespace_is_another_world(
    make: Callable[..., TaskManager], redis: redis_py.Redis
) -> None:
    await make(namespace="shop").emit("a", id="7")
    handle = await make().emit("a", id="7")

    assert handle.created
    assert redis.exists("shop:{default}:lanes", "tm:{default}:lanes") == 2


async def test_a_worker_reads_only_the_queues_it_was_told(
    tm: TaskManager, redis: redis_py.Redis
) -> None:
    ran: list[str] = []
    for queue in ("mail", "images"):
        tm.registerHandler(lambda job: ran.append(job.queue), event="a", queue=queue)
        await tm.emit("a", queue=queue)

    tm.configure(queues="mail")
    await run_all(tm)

    assert ran == ["mail"]
    assert waiting(redis, "images") == 1
