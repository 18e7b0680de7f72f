"""Document 004: how a task manager is made, started and stopped, and what it keeps."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from typing import Any, TypeAlias, cast

import pytest
import redis as redis_py
import redis.asyncio as redis_async

from consumers.store.keys import Fleet, Keys
from taskmanager import (
    AlreadyInitializedError,
    Context,
    EmitFunction,
    EmitOptions,
    InvalidOption,
    Job,
    ProcessorOptions,
    RegisterHandlerOptions,
    TaskHandler,
    TaskManager,
    TaskManagerOptions,
)
from tests.documents.handlers import recording
from tests.support.engine import QueueView
from tests.support.facade import KEYS, run_all
from tests.support.servers import RedisServer
from tests.support.waiting import PATIENCE, aeventually

Make: TypeAlias = Callable[..., TaskManager[Any]]


async def test_235_init_makes_one_task_manager_with_the_documents_defaults(
    init: Make, aredis: redis_async.Redis
) -> None:
    """db is a client, as in the document; it lends its settings."""
    tm = init(db=aredis)
    ran = recording(tm, "my-event")

    assert init(db=aredis) is tm
    with pytest.raises(AlreadyInitializedError, match="concurrency"):
        init(db=aredis, concurrency=4)
    settings = tm.settings
    assert (settings.concurrency, settings.expose) == (1, 4000)
    await tm.emit("my-event", data={"userId": "123"})
    await run_all(tm)

    assert [job.data for job in ran] == [{"userId": "123"}]


async def test_240_streams_are_in_db_and_a_context_has_emit_unless_others_are_given(
    init: Make, make: Make, server: RedisServer, redis: redis_py.Redis
) -> None:
    alone = init(db=server.url)
    seen: list[tuple[list[str], bool]] = []

    @alone.registerHandler(event="look")
    async def look(job: Job[Any], ctx: Context) -> str:
        seen.append((list(ctx), callable(ctx.emit)))
        return "looked"

    handle = await alone.emit("look")
    await run_all(alone)
    assert seen == [([], True)]
    assert await handle.result(timeout=PATIENCE) == "looked"
    assert redis.exists(KEYS.meta, KEYS.result(handle.id)) == 2

    other = server.url.removesuffix("/0") + "/1"
    apart = make(redis=None, db=other, streamdb=server.url, namespace="apart")
    recording(apart, "look")
    handle = await apart.emit("look", data=7)
    await run_all(apart)

    assert await handle.result(timeout=PATIENCE) == 7
    keys = Keys("default", "apart")
    with redis_py.Redis.from_url(other) as results:
        assert (redis.exists(keys.meta), redis.exists(keys.result(handle.id))) == (1, 0)
        assert (results.exists(keys.meta), results.exists(keys.result(handle.id))) == (0, 1)


async def test_258_start_makes_the_groups_of_all_queues_and_fetches(
    tm: TaskManager, redis: redis_py.Redis
) -> None:
    ran = [recording(tm, "work", queue=queue) for queue in ("mail", "images")]

    await tm.start()
    await tm.start()

    for queue in ("mail", "images"):
        (group,) = redis.xinfo_groups(QueueView(redis, queue).lane())
        assert (group["name"], group["last-delivered-id"]) == (b"workers", b"0-0")
        await tm.emit("work", queue=queue)
    await aeventually(lambda: [len(jobs) for jobs in ran] == [1, 1])


async def test_259_stop_waits_for_what_runs_unless_its_timeout_is_over(tm: TaskManager) -> None:
    began, may_end = asyncio.Event(), asyncio.Event()

    @tm.registerHandler(event="slow")
    async def slow(job: Job[Any]) -> str:
        began.set()
        await may_end.wait()
        return "done"

    await tm.start()
    handle = await tm.emit("slow")
    await began.wait()
    began.clear()
    await tm.stop(timeout=0)
    # It was cut off, and waits for the next worker; no attempt is burnt.
    assert await handle.status() == "waiting"

    await tm.start()
    await began.wait()
    stopping = asyncio.create_task(tm.stop())
    await aeventually(lambda: tm._life.worker is not None and tm._life.worker.stopping)
    assert not stopping.done()
    may_end.set()
    await stopping

    assert (await handle.status(), await handle.result()) == ("completed", "done")


async def test_260_get_context_is_the_handlers_context_and_emits_outside_of_them(
    make: Make,
) -> None:
    tm = make(ctx={"greeting": "hello"})
    seen: list[object] = []
    tm.registerHandler(lambda job, ctx: seen.append(ctx), {"event": "greet"})
    context = tm.get_context()

    assert context.greeting == context["greeting"] == context.app["greeting"] == "hello"
    handle = await context.emit({"event": "greet", "data": {"name": "Ada"}})
    await run_all(tm)

    assert handle.created is True
    assert seen == [context]


class App:
    greeting = "hello"


async def test_261_the_types_of_the_document_describe_what_is_taken(server: RedisServer) -> None:
    """tests/typing/app.py shows what a type checker makes of them."""

    async def greet(job: Job[dict[str, str]], ctx: Context[App]) -> str:
        return f"{ctx.app.greeting}, {job.data['name']}"

    handler: TaskHandler[App, dict[str, str]] = greet
    processor: ProcessorOptions = {"retry": {"max_retries": 3}, "dlq": "gone", "debounce": 300}
    options: TaskManagerOptions[App] = {"db": server.url, "ctx": App(), "processor": processor}
    form: RegisterHandlerOptions[App, dict[str, str]] = {"handler": handler, "event": "greet"}
    told: EmitOptions = {"id": "greet-ada", "retry_count": 3, "priority": 5}
    tm = TaskManager(**options)
    tm.registerHandler(form)
    emit: EmitFunction = tm.get_context().emit

    async with tm:
        await tm.start()
        handle = await emit("greet", data={"name": "Ada"}, options=told)

        assert handle.id == "greet-ada"
        assert await handle.result(timeout=PATIENCE) == "hello, Ada"


async def test_262_a_queue_is_there_once_it_is_used(tm: TaskManager) -> None:
    assert await tm.queue_names() == []
    handle = await tm.emit("work", queue="never-seen", data=1)
    assert await tm.queue_names() == ["never-seen"]

    ran = recording(tm, "work", queue="never-seen")
    await run_all(tm)

    assert await handle.result(timeout=PATIENCE) == 1
    assert [job.queue for job in ran] == ["never-seen"]


async def test_263_one_worker_works_on_many_queues_each_with_its_own_handlers(
    tm: TaskManager,
) -> None:
    queues = ["default", "mail", "images"]
    ran = {queue: recording(tm, "work", queue=queue) for queue in queues}
    for queue in queues:
        await tm.emit_many([{"event": "work", "queue": queue, "data": n} for n in range(3)])

    await run_all(tm)

    assert tm.queues == tuple(queues)
    for jobs in ran.values():
        assert sorted(job.data for job in jobs) == [0, 1, 2]


async def test_264_a_consumer_has_the_same_name_after_a_restart(
    make: Make, redis: redis_py.Redis
) -> None:
    """Its id begins with the name and is new: a restarted worker is never its own zombie."""
    tm = make()
    recording(tm, "work")
    seen: list[tuple[str, str]] = []

    for _ in range(2):
        await tm.start()
        (worker,) = cast("list[bytes]", redis.zrange(Fleet().workers, 0, -1))
        called = cast("bytes", redis.hget(Fleet().worker(worker.decode()), "name"))
        seen.append((worker.decode(), called.decode()))
        await tm.stop()

    (first, name), (second, again) = seen
    assert name == again
    assert first.startswith(f"{name}.")
    assert second.startswith(f"{name}.")
    assert first != second


async def test_271_expose_is_kept_and_nothing_listens(make: Make) -> None:
    """It is reserved in the document as well. There is no serve_api."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    tm = make(expose=port)
    recording(tm, "work")

    await tm.start()

    assert tm.settings.expose == port
    assert make().settings.expose == 4000
    with socket.socket() as ours:
        ours.bind(("127.0.0.1", port))
    with pytest.raises(InvalidOption, match="expose 0 is not allowed"):
        make(expose=0)
