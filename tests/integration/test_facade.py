"""The public API on a real Redis: emit, handlers, context, start, stop and run."""

from __future__ import annotations

import asyncio
import contextvars
import os
import signal
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import redis as redis_py
import redis.asyncio as redis_async

from consumers.keys import Keys
from taskmanager import (
    AlreadyStarted,
    Context,
    EmitManyError,
    InvalidInput,
    InvalidOption,
    Job,
    JobHandle,
    LoopIsRunning,
    NoEventLoop,
    NoHandlers,
    NotConfirmedYet,
    NotInHandler,
    OtherLoop,
    OwnJob,
    QueueFull,
    RedisUnavailable,
    SyncJobHandle,
    TaskManager,
    TooLarge,
)
from tests.support.servers import RedisServer
from tests.support.waiting import aeventually, eventually

KEYS = Keys("default")
ROOT = Path(__file__).parents[2]


def letters(redis: redis_py.Redis) -> list[str]:
    """Return the errors of the dead letters, oldest first."""
    entries: Any = redis.xrange(KEYS.dead)
    return [fields.get(b"error", b"").decode() for _, fields in entries]


def result(redis: redis_py.Redis, job_id: str) -> bytes:
    stored: Any = redis.get(KEYS.result(job_id))
    return bytes(stored or b"")


def waiting(redis: redis_py.Redis, queue: str = "default") -> int:
    keys = Keys(queue)
    lanes: Any = redis.zrange(keys.lanes, 0, -1)
    return sum(int(redis.xlen(f"{keys.base}lane:{name.decode()}")) for name in lanes)


async def run_all(tm: TaskManager) -> None:
    await tm.start()
    await tm.until_idle()


# Handlers


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


# Emitting


async def test_emit_gives_a_handle_of_the_live_job(tm: TaskManager) -> None:
    first = await tm.emit("a", data={"x": 1, "y": 2})
    again = await tm.emit("a", data={"y": 2, "x": 1})
    other = await tm.emit("a", data={"x": 1, "y": 2}, unique=False)

    assert (first.created, first.queue) == (True, "default")
    assert again == JobHandle(first.id, "default", created=False, run=first.run)
    assert other.created
    assert other.id != first.id


async def test_what_was_not_awaited_is_sent_when_the_manager_is_left(
    tm: TaskManager, redis: redis_py.Redis
) -> None:
    async with tm:
        for n in range(10):
            tm.emit("a", data=n)

    assert waiting(redis) == 10


async def test_an_emission_knows_its_id_at_once_and_may_be_awaited_twice(tm: TaskManager) -> None:
    emission = tm.emit("a", id="7", queue="mail")

    assert (emission.id, emission.queue) == ("7", "mail")
    with pytest.raises(NotConfirmedYet, match="job '7' is not confirmed yet: await"):
        _ = emission.handle
    assert await emission is await emission is emission.handle


async def test_emissions_can_be_gathered(tm: TaskManager) -> None:
    handles = await asyncio.gather(*(tm.emit("a", data=n) for n in range(20)))

    assert len({handle.id for handle in handles}) == 20


async def test_a_wrong_emit_raises_at_the_call(tm: TaskManager, redis: redis_py.Redis) -> None:
    with pytest.raises(InvalidInput, match="unknown option 'dealy' in emit; allowed: event, queue"):
        tm.emit("a", dealy=3)  # type: ignore[call-arg]

    assert redis.dbsize() == 0


async def test_a_failure_that_nobody_awaits_is_logged(
    make: Callable[..., TaskManager], caplog: pytest.LogCaptureFixture
) -> None:
    tm = make(max_queue_depth=1)
    await tm.emit("a", data=1)

    tm.emit("a", data=2)

    await aeventually(lambda: "an emit that nobody awaits failed: queue 'default'" in caplog.text)


async def test_a_failure_that_is_awaited_is_raised_and_not_logged(
    make: Callable[..., TaskManager], caplog: pytest.LogCaptureFixture
) -> None:
    tm = make(max_queue_depth=1)
    await tm.emit("a", data=1)

    with pytest.raises(QueueFull):
        await tm.emit("a", data=2)

    assert caplog.text == ""


async def test_who_gives_up_waiting_does_not_take_the_handle_from_others(
    tm: TaskManager, server: RedisServer
) -> None:
    server.pause()
    emission = tm.emit("a")
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(emission, 0.05)
    server.resume()

    assert (await emission).created


async def test_a_failure_after_its_only_waiter_gave_up_is_logged(
    make: Callable[..., TaskManager], server: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    tm = make(emit_timeout=0.3)
    server.kill()

    with pytest.raises(TimeoutError):
        await asyncio.wait_for(tm.emit("a"), 0.05)

    await aeventually(lambda: "an emit that nobody awaits failed: Redis at" in caplog.text)


@pytest.mark.parametrize("turns", [0, 1, 2, 5])
def test_what_a_loop_that_ends_takes_with_it_is_one_line_in_the_log(
    server: RedisServer, turns: int
) -> None:
    # The server answers nothing, so it is not a matter of luck who is first.
    server.pause()
    done = python(
        f"""
import asyncio, sys
from taskmanager import TaskManager
tm = TaskManager(sys.argv[1])

async def main():
    tm.emit("a")
    for _ in range({turns}):
        await asyncio.sleep(0)

asyncio.run(main())
""",
        server,
    )

    assert done.returncode == 0
    assert done.stderr.count("\n") == 1
    assert "an emit that nobody awaits failed" in done.stderr
    assert "the event loop ended first; await what is emitted, or stop()" in done.stderr


async def test_emitting_goes_on_after_somebody_cancelled_every_task(tm: TaskManager) -> None:
    first = tm.emit("a", data=1)
    for task in asyncio.all_tasks() - {asyncio.current_task()}:
        task.cancel()
    await asyncio.sleep(0)

    assert (await tm.emit("a", data=2)).created
    assert (await first).created


async def test_emit_says_when_redis_is_away(
    make: Callable[..., TaskManager], server: RedisServer
) -> None:
    tm = make(emit_timeout=0.2)
    server.kill()

    with pytest.raises(RedisUnavailable) as caught:
        await tm.emit("a")

    assert caught.value.outcome == "not_sent"


async def test_emit_many_returns_the_handles_in_order(tm: TaskManager) -> None:
    handles = await tm.emit_many(
        [
            {"event": "a", "id": "1"},
            {"event": "b", "queue": "mail", "id": "2"},
            {"event": "a", "id": "1"},
        ]
    )

    assert [(it.id, it.queue, it.created) for it in handles] == [
        ("1", "default", True),
        ("2", "mail", True),
        ("1", "default", False),
    ]
    assert await tm.emit_many([]) == []


async def test_emit_many_sends_nothing_when_one_item_is_wrong(
    tm: TaskManager, redis: redis_py.Redis
) -> None:
    with pytest.raises(InvalidInput, match="priority 500 is not allowed") as caught:
        await tm.emit_many([{"event": "a"}, {"event": "a", "data": 1, "priority": 500}])

    assert "item 1" in caught.value.__notes__[0]
    assert redis.dbsize() == 0


async def test_emit_many_reports_each_failure_of_sending(make: Callable[..., TaskManager]) -> None:
    tm = make(max_queue_depth=2)

    with pytest.raises(
        EmitManyError, match="2 of 4 jobs were not confirmed, first item 2"
    ) as caught:
        await tm.emit_many([{"event": "a", "data": n} for n in range(4)])

    assert [handle is None for handle in caught.value.handles] == [False, False, True, True]
    assert {n: type(error) for n, error in caught.value.errors.items()} == {
        2: QueueFull,
        3: QueueFull,
    }


async def test_emit_many_counts_failures_from_its_first_item_across_queues_and_chunks(
    make: Callable[..., TaskManager],
) -> None:
    tm = make(max_queue_depth=5_005)
    # More than are handed over at a time, to two queues in turn.
    items = [{"event": "a", "queue": f"q{n % 2}", "data": n} for n in range(10_014)]

    with pytest.raises(EmitManyError, match="first item 10010") as caught:
        await tm.emit_many(items)

    assert list(caught.value.errors) == [10_010, 10_011, 10_012, 10_013]
    missing = [at for at, handle in enumerate(caught.value.handles) if handle is None]
    assert missing == list(caught.value.errors)
    assert all(
        handle is None or handle.queue == item["queue"]
        for handle, item in zip(caught.value.handles, items, strict=True)
    )


# Inside a handler


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
    assert "QueueFull: queue 'full' takes no more jobs" in error


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
    assert "use on_success=True to run it again afterwards, unique=False or another id" in caught[0]


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
        "what job 'large' adds on success has 1,100,010 bytes, the limit is 1,048,576",
        "what job 'many' adds on success has 501 jobs, the limit is 500",
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
        in_thread.wait(10)
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


# Without an event loop, in other loops and processes


async def test_emit_without_a_loop_names_emit_sync(tm: TaskManager) -> None:
    with pytest.raises(NoEventLoop, match=r"call emit_sync\(\.\.\.\)"):
        await asyncio.to_thread(lambda: tm.emit("a"))


async def test_emit_sync_works_in_any_thread(tm: TaskManager, redis: redis_py.Redis) -> None:
    handles: list[SyncJobHandle] = []

    def work(n: int) -> None:
        handles.append(tm.emit_sync("a", data=n))
        handles.extend(tm.sync.emit_many([{"event": "b", "data": n}]))

    threads = [threading.Thread(target=work, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        await asyncio.to_thread(thread.join)

    assert len({handle.id for handle in handles}) == 16
    assert waiting(redis) == 16


async def test_emit_sync_raises_what_emit_raises(make: Callable[..., TaskManager]) -> None:
    tm = make(max_queue_depth=1)
    await tm.emit("a", data=1)

    with pytest.raises(QueueFull):
        await asyncio.to_thread(tm.emit_sync, "a", data=2)
    with pytest.raises(EmitManyError):
        await asyncio.to_thread(tm.sync.emit_many, [{"event": "a", "data": 2}])
    with pytest.raises(InvalidInput):
        await asyncio.to_thread(tm.emit_sync, "a b")


async def test_blocking_calls_on_a_loop_say_what_to_await(tm: TaskManager) -> None:
    with pytest.raises(LoopIsRunning, match=r"emit_sync would block .* call await emit\(\.\.\.\)"):
        tm.emit_sync("a")
    with pytest.raises(LoopIsRunning, match=r"call await emit\(\.\.\.\)"):
        tm.sync.emit("a")
    with pytest.raises(LoopIsRunning, match=r"call await emit_many\(\.\.\.\)"):
        tm.sync.emit_many([])


async def test_two_event_loops_never_share_a_producer(
    tm: TaskManager, redis: redis_py.Redis
) -> None:
    async def emit_in_another_loop() -> None:
        async with tm:
            await asyncio.gather(*(tm.emit("b", data=n) for n in range(50)))

    await asyncio.gather(
        asyncio.to_thread(asyncio.run, emit_in_another_loop()),
        *(tm.emit("a", data=n) for n in range(50)),
    )

    assert waiting(redis) == 100
    assert len(set(tm._clients._clients.values())) == 1


def python(script: str, server: RedisServer) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-W", "ignore::DeprecationWarning", "-c", script, server.url],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


def test_a_forked_child_emits_by_itself(server: RedisServer, redis: redis_py.Redis) -> None:
    done = python(
        """
import os, sys
from taskmanager import TaskManager
tm = TaskManager(sys.argv[1])
print(tm.emit_sync("a", data="parent").created, flush=True)
child = os.fork()
created = [tm.emit_sync("a", data=[n, os.getpid()]).created for n in range(20)]
line = f"{all(created)} {tm.emit_sync('a', data='parent').created}\\n"
os.write(1, line.encode())  # One write, that lines of two processes do not mix.
if child:
    assert os.waitpid(child, 0)[1] == 0
else:
    sys.exit(0)
""",
        server,
    )

    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "True\nTrue False\nTrue False\n"
    assert waiting(redis) == 41


def test_a_child_forked_in_a_handler_does_not_act_for_the_job(
    server: RedisServer, redis: redis_py.Redis
) -> None:
    done = python(
        """
import asyncio, os, sys
from taskmanager import TaskManager
tm = TaskManager(sys.argv[1])

@tm.registerHandler(event="forks")
def forks(job):
    child = os.fork()
    if child:
        return os.waitpid(child, 0)[1]
    print(tm.emit_sync("a", queue="other", id=job.id).created, flush=True)
    os._exit(0)

async def main():
    await tm.emit("forks", id="f")
    await tm.run(burst=True)

asyncio.run(main())
""",
        server,
    )

    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "True\n"
    assert result(redis, "f").endswith(b" 0")


# Starting and stopping


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
        assert tm._clients._clients == {}
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
    tm = make(connect_timeout=0.2)
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
    tm = make(connect_timeout=30)
    tm.registerHandler(lambda job: None, event="a")
    server.kill()
    starting = asyncio.create_task(tm.start())
    await aeventually(lambda: tm._life.worker is not None)

    await tm.stop()

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
    server: RedisServer, event: str, code: int
) -> None:
    client = TaskManager(server.url)
    client.emit_sync(event, id="7")
    worker = subprocess.Popen(
        [sys.executable, "-c", STUBBORN, server.url],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert worker.stdout is not None
    try:
        assert worker.stdout.readline() == "started\n"
        worker.send_signal(signal.SIGTERM)
        worker.send_signal(signal.SIGINT)
        if event != "blocking":
            assert worker.stdout.readline() == "cancelled\n"
        if code:
            # Again and again, because signals of one number that were not taken yet are merged.
            eventually(lambda: worker.send_signal(signal.SIGTERM) or worker.poll(), within=10)
        assert worker.wait(10) == code
    finally:
        worker.kill()
        worker.communicate()


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
