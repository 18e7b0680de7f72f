"""What handlers may do through their context and task manager, on a real Redis."""

from __future__ import annotations

import asyncio
import contextvars
import threading
from collections.abc import Callable
from typing import Any

import pytest
import redis as redis_py

from taskmanager import (
    Context,
    Job,
    JobHandle,
    NotInHandler,
    OwnJob,
    QueueFull,
    TaskManager,
    TooLarge,
)
from tests.support.facade import letters, run_all, waiting
from tests.support.waiting import PATIENCE, aeventually


async def test_children_inherit_the_correlation_id(tm: TaskManager) -> None:
    seen: dict[str, str | None] = {}

    @tm.registerHandler(event="parent")
    async def parent(job: Job[Any], ctx: Context) -> None:
        ctx.emit("child", data="inherits")
        await ctx.emit("child", data="own", correlation_id="other")
        await tm.emit("child", data="by the manager")
        ctx.emit("child", data="on success", on_success=True)
        await tm.emit_many([{"event": "child", "data": "many"}])

    @tm.registerHandler(event="child")
    def child(job: Job[Any]) -> None:
        seen[job.data] = job.correlation_id

    await tm.emit("parent", correlation_id="trace-1")
    await tm.emit("child", data="outside")
    await run_all(tm)

    assert seen == {
        "inherits": "trace-1",
        "own": "other",
        "by the manager": "trace-1",
        "on success": "trace-1",
        "many": "trace-1",
        "outside": None,
    }


async def test_a_failing_emit_that_was_not_awaited_fails_the_job(
    make: Callable[..., TaskManager], redis: redis_py.Redis
) -> None:
    tm = make(max_queue_depth=1)

    @tm.registerHandler(event="parent")
    async def parent(job: Job[Any], ctx: Context) -> None:
        ctx.emit("child", queue="full", data=1)
        ctx.emit("child", queue="full", data=2)

    await tm.emit("parent")
    await run_all(tm)

    (error,) = letters(redis)
    assert "QueueFull: queue 'full' is full" in error


async def test_a_failing_emit_that_the_handler_dealt_with_does_not(
    make: Callable[..., TaskManager], redis: redis_py.Redis
) -> None:
    tm = make(max_queue_depth=1)
    caught: list[Exception] = []

    @tm.registerHandler(event="parent")
    async def parent(job: Job[Any], ctx: Context) -> None:
        await ctx.emit("child", queue="full", data=1)
        try:
            await ctx.emit("child", queue="full", data=2)
        except QueueFull as error:
            caught.append(error)

    await tm.emit("parent")
    await run_all(tm)

    assert len(caught) == 1
    assert letters(redis) == []


async def test_in_a_sync_handler_emit_blocks_until_redis_has_the_job(
    tm: TaskManager, redis: redis_py.Redis
) -> None:
    seen: list[Any] = []

    @tm.registerHandler(event="parent")
    def parent(job: Job[Any], ctx: Context) -> None:
        emission = ctx.emit("child", queue="other", data=1)
        seen.append((emission.handle.created, waiting(redis, "other")))
        seen.append(tm.emit_sync("child", queue="other", data=1).created)
        seen.append([it.created for it in tm.sync.emit_many([{"event": "x", "queue": "other"}])])

    await tm.emit("parent")
    await run_all(tm)

    assert seen == [(True, 1), False, [True]]
    assert letters(redis) == []


async def test_in_a_sync_handler_a_failing_emit_raises_at_the_call(
    make: Callable[..., TaskManager],
) -> None:
    tm = make(max_queue_depth=1)
    caught: list[str] = []

    @tm.registerHandler(event="parent")
    def parent(job: Job[Any], ctx: Context) -> None:
        ctx.emit("child", queue="full", data=1)
        try:
            ctx.emit("child", queue="full", data=2)
        except QueueFull as error:
            caught.append(error.queue)

    await tm.emit("parent")
    await run_all(tm)

    assert caught == ["full"]


@pytest.mark.parametrize("kind", ["async", "sync"])
async def test_emitting_the_job_that_runs_says_what_to_do(tm: TaskManager, kind: str) -> None:
    caught: list[str] = []

    def emit_own(job: Job[Any], ctx: Context) -> None:
        for emit in (ctx.emit, tm.emit):
            try:
                emit("parent", id=job.id)
            except OwnJob as error:
                caught.append(str(error))

    async def emit_own_async(job: Job[Any], ctx: Context) -> None:
        emit_own(job, ctx)
        # The same id in another queue is another job.
        await ctx.emit("parent", id=job.id, queue="other")

    tm.registerHandler(emit_own if kind == "sync" else emit_own_async, event="parent")
    await tm.emit("parent")
    await run_all(tm)

    assert len(caught) == 2
    assert (
        "use on_success=True to run it again afterwards, or deduplicate=False or another id"
        in caught[0]
    )


async def test_a_child_on_success_appears_with_the_completion_only(
    tm: TaskManager, redis: redis_py.Redis
) -> None:
    ran: list[Any] = []
    handles: list[JobHandle] = []

    @tm.registerHandler(event="parent")
    async def parent(job: Job[Any], ctx: Context) -> None:
        handles.append(await ctx.emit("child", data=job.data, on_success=True))
        if job.data == "fails":
            raise LookupError

    @tm.registerHandler(event="child")
    async def child(job: Job[Any]) -> None:
        ran.append(job.data)

    await tm.emit("parent", data="works")
    await tm.emit("parent", data="fails")
    await run_all(tm)

    assert ran == ["works"]
    assert {(it.queue, it.created, it.run) for it in handles} == {("default", None, None)}


async def test_a_job_may_run_itself_again_on_success(tm: TaskManager) -> None:
    ran: list[int] = []

    @tm.registerHandler(event="again")
    def again(job: Job[Any], ctx: Context) -> None:
        ran.append(job.generation)
        if len(ran) < 3:
            ctx.emit("again", id=job.id, on_success=True)

    await tm.emit("again", id="me")
    await run_all(tm)

    assert len(ran) == len(set(ran)) == 3


async def test_on_success_has_limits(tm: TaskManager, redis: redis_py.Redis) -> None:
    caught: list[Exception] = []

    def attempt(ctx: Context, **arguments: Any) -> None:
        try:
            ctx.emit("child", on_success=True, **arguments)
        except TooLarge as error:
            caught.append(error)

    @tm.registerHandler(event="many")
    async def many(job: Job[Any], ctx: Context) -> None:
        for n in range(501):
            attempt(ctx, data=n)

    @tm.registerHandler(event="large")
    async def large(job: Job[Any], ctx: Context) -> None:
        for n in range(5):
            attempt(ctx, data=str(n) * 220_000)

    tm.registerHandler(lambda job: None, event="child")
    for event in ("many", "large"):
        await tm.emit(event, id=event)
    await run_all(tm)

    assert sorted(str(error).split(":")[0] for error in caught) == [
        "the on_success batch of job 'large' has 1,100,010 bytes, the limit is 1,048,576",
        "the on_success batch of job 'many' has 501 jobs, the limit is 500",
    ]
    assert letters(redis) == []


async def test_on_success_outside_a_handler_is_refused(tm: TaskManager) -> None:
    with pytest.raises(NotInHandler, match="no job is running here"):
        tm.get_context().emit("a", on_success=True)


@pytest.mark.parametrize("kind", ["async", "sync"])
async def test_what_a_handler_left_behind_emits_as_outside_a_handler(
    tm: TaskManager, redis: redis_py.Redis, kind: str
) -> None:
    left: list[asyncio.Task[None] | threading.Thread] = []
    over, in_thread = asyncio.Event(), threading.Event()
    caught: list[Exception] = []
    created: list[bool | None] = []

    def on_success(ctx: Context) -> None:
        try:
            ctx.emit("child", on_success=True)
        except NotInHandler as error:
            caught.append(error)

    async def later(job: Job[Any], ctx: Context) -> None:
        await over.wait()
        on_success(ctx)
        created.append((await ctx.emit("child", id=job.id)).created)

    def later_in_thread(job: Job[Any], ctx: Context) -> None:
        in_thread.wait(PATIENCE)
        on_success(ctx)
        created.append(tm.emit_sync("child", id=job.id).created)

    @tm.registerHandler(event="async")
    async def leaves_task(job: Job[Any], ctx: Context) -> None:
        left.append(asyncio.create_task(later(job, ctx)))

    @tm.registerHandler(event="sync")
    def leaves_thread(job: Job[Any], ctx: Context) -> None:
        context = contextvars.copy_context()
        thread = threading.Thread(target=context.run, args=(later_in_thread, job, ctx))
        thread.start()
        left.append(thread)

    await tm.emit(kind, id="7")
    await run_all(tm)
    over.set()
    in_thread.set()

    await aeventually(lambda: created == [True])
    assert [type(it) for it in caught] == [NotInHandler]
    (behind,) = left
    await (asyncio.to_thread(behind.join) if isinstance(behind, threading.Thread) else behind)


@pytest.mark.parametrize("kind", ["async", "sync"])
async def test_a_handler_of_one_manager_emits_with_another(
    make: Callable[..., TaskManager], redis: redis_py.Redis, kind: str
) -> None:
    tm, shop = make(), make(namespace="shop")
    caught: list[Exception] = []

    def on_success() -> None:
        try:
            shop.get_context().emit("child", on_success=True)
        except NotInHandler as error:
            caught.append(error)

    @tm.registerHandler(event="async")
    async def asynchronous(job: Job[Any], ctx: Context) -> None:
        on_success()
        await shop.emit("child", id=job.id)
        await shop.emit_many([{"event": "child", "id": job.id}])
        ctx.emit("child", queue="other", on_success=False)

    @tm.registerHandler(event="sync")
    def synchronous(job: Job[Any], ctx: Context) -> None:
        on_success()
        shop.emit("child", id=job.id)
        shop.sync.emit_many([{"event": "child", "id": job.id}])
        ctx.emit("child", queue="other", on_success=False)

    await tm.emit(kind, id="7")
    await run_all(tm)

    assert letters(redis) == []
    assert redis.xlen("shop:{default}:lane:workers:default:0") == 1
    assert waiting(redis, "other") == 1
    (error,) = caught
    assert "belongs to another TaskManager" in str(error)


async def test_the_context_emits_outside_handlers_too(tm: TaskManager) -> None:
    handle = await tm.get_context().emit("a")

    assert handle.created


@pytest.mark.parametrize("kind", ["async", "sync"])
async def test_a_worker_whose_only_slot_waits_for_a_job_of_its_own_says_so(
    make: Callable[..., TaskManager],
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    kind: str,
) -> None:
    monkeypatch.setattr("consumers.run.standstill.SAY_AFTER", 0.0)
    tm = make(concurrency=1)

    @tm.registerHandler(event="async")
    async def waits(job: Job[Any], ctx: Context) -> None:
        await (await ctx.emit("child", id="the-child")).result()

    @tm.registerHandler(event="sync")
    def blocks(job: Job[Any], ctx: Context) -> None:
        tm.emit_sync("child", id="the-child").result()

    @tm.registerHandler(event="child")
    async def child(job: Job[Any]) -> None:
        pass

    await tm.emit(kind, id="the-parent")
    await tm.start()

    def said() -> list[str]:
        return [it for it in caplog.messages if "waiting for the result of another job" in it]

    await aeventually(said, 30.0)
    assert "job the-parent for job the-child in queue default" in said()[0]
    # What it waits for ends: so does the wait.
    await tm.handle("the-child").cancel()
    await tm.until_idle()
