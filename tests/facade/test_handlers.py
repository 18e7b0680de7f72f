"""Handlers of every kind through the public API, on a real Redis."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
import redis as redis_py

from taskmanager import (
    AlreadyStarted,
    Context,
    InvalidOption,
    Job,
    TaskManager,
)
from tests.support.facade import letters, result, run_all


async def test_handlers_of_every_kind_run_with_their_job_and_context(
    make: Callable[..., TaskManager],
) -> None:
    tm = make(ctx={"greeting": "hello"})
    ran: list[tuple[Any, ...]] = []

    @tm.registerHandler(event="async", queue="mail")
    async def asynchronous(job: Job[Any], ctx: Context) -> None:
        ran.append((job.name, job.queue, job.data, ctx.greeting))

    @tm.registerHandler(event="sync", queue="mail")
    def synchronous(job: Job[Any], ctx: Context) -> None:
        ran.append((job.name, job.queue, job.data, ctx["greeting"]))

    @tm.registerHandler(event="plain")
    def plain(job: Job[Any]) -> None:
        ran.append((job.name, job.partition, job.priority, job.correlation_id))

    await tm.emit("async", queue="mail", data={"n": 1})
    await tm.emit("sync", queue="mail", data=[2])
    await tm.emit("plain", options={"partition": "acme", "priority": 7, "correlationId": "c"})
    await run_all(tm)

    assert sorted(ran) == [
        ("async", "mail", {"n": 1}, "hello"),
        ("plain", "acme", 7, "c"),
        ("sync", "mail", [2], "hello"),
    ]


async def test_a_result_is_stored_and_a_failure_becomes_a_dead_letter(
    tm: TaskManager, redis: redis_py.Redis
) -> None:
    @tm.registerHandler(event="works")
    async def works(job: Job[Any]) -> dict[str, int]:
        return {"n": job.data}

    @tm.registerHandler(event="fails")
    async def fails(job: Job[Any]) -> None:
        raise LookupError("no such thing")

    await tm.emit("works", data=7, id="w")
    await tm.emit("fails", id="f")
    await run_all(tm)

    assert result(redis, "w").endswith(b' {"n":7}')
    (error,) = letters(redis)
    assert "LookupError: no such thing" in error


async def test_registering_after_the_start_is_refused_until_the_stop(tm: TaskManager) -> None:
    tm.registerHandler(lambda job: None, event="a")
    await tm.start()

    with pytest.raises(AlreadyStarted, match=r"register|before start"):
        tm.registerHandler(lambda job: None, event="b")
    with pytest.raises(AlreadyStarted, match="configure comes too late"):
        tm.configure(concurrency=2)

    await tm.stop()
    tm.registerHandler(lambda job: None, event="b")


async def test_the_lifespan_is_open_while_the_worker_runs(make: Callable[..., TaskManager]) -> None:
    seen: list[str] = []

    @asynccontextmanager
    async def lifespan() -> AsyncIterator[dict[str, str]]:
        seen.append("open")
        yield {"db": "connected"}
        seen.append("close")

    tm = make(lifespan=lifespan)

    @tm.registerHandler(event="a")
    async def handle(job: Job[Any], ctx: Context) -> None:
        seen.append(ctx.db)

    await tm.emit("a")
    assert seen == []
    await run_all(tm)
    assert tm.get_context().db == "connected"
    await tm.stop()

    assert seen == ["open", "connected", "close"]


async def test_a_context_taken_before_the_start_sees_the_lifespan(
    make: Callable[..., TaskManager],
) -> None:
    @asynccontextmanager
    async def lifespan() -> AsyncIterator[dict[str, str]]:
        yield {"db": "connected"}

    tm = make(lifespan=lifespan)
    tm.registerHandler(lambda job: None, event="a")
    ctx = tm.get_context()
    assert "db" not in ctx

    await tm.start()

    assert ctx.db == "connected"
    assert tm.get_context() is ctx


async def test_a_lifespan_whose_context_is_refused_is_closed_again(
    make: Callable[..., TaskManager],
) -> None:
    seen: list[str] = []

    @asynccontextmanager
    async def lifespan() -> AsyncIterator[dict[str, str]]:
        seen.append("open")
        try:
            yield {"emit": "hidden"}
        finally:
            seen.append("close")

    tm = make(lifespan=lifespan)
    tm.registerHandler(lambda job: None, event="a")

    with pytest.raises(InvalidOption, match="ctx with its own 'emit'"):
        await tm.start()

    assert seen == ["open", "close"]
