"""An application as a user writes it. Each line that mypy must refuse says with which code."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, TypedDict, assert_type

from taskmanager import (
    CallNext,
    CancelOutcome,
    Context,
    DeadLetter,
    DebounceManager,
    Emission,
    EmitFunction,
    EmitOptions,
    HandlerRepeat,
    Job,
    JobHandle,
    JobInfo,
    JobState,
    LogLine,
    ProcessorOptions,
    QueueStats,
    RedisUnavailable,
    RegisterHandlerOptions,
    Repeat,
    Retry,
    RetryPolicy,
    RouteInfo,
    ScheduleHandle,
    ScheduleInfo,
    Snooze,
    SyncJobHandle,
    TaskHandler,
    TaskManager,
    TaskManagerOptions,
    WorkerInfo,
    gen_job_id_sync,
)


class Email(TypedDict):
    to: str


@dataclass
class Order:
    amount: int


@dataclass
class App:
    greeting: str


@asynccontextmanager
async def lifespan() -> AsyncIterator[App]:
    yield App("hello")


tm = TaskManager("redis://localhost/0", concurrency=4, result_ttl=60)
typed = TaskManager(ctx=App("hello"))
assert_type(typed, TaskManager[App])
assert_type(typed.get_context().app, App)
assert_type(TaskManager(lifespan=lifespan), TaskManager[App])
TaskManager(concurency=4)  # error: call-arg
TaskManager(concurrency="4")  # error: arg-type
TaskManager(7)  # error: arg-type


# A decorated handler keeps its own signature.


@tm.registerHandler(event="send-email", queue="emails")
async def send_email(job: Job[Email], ctx: Context[App]) -> dict[str, int]:
    assert_type(job.data["to"], str)
    assert_type(ctx.app.greeting, str)
    print(job.data["form"])  # error: typeddict-item
    print(ctx.app.greting)  # error: attr-defined
    return {"sent": 1}


@tm.registerHandler(event="resize")
def resize(job: Job[Any], ctx: Context) -> None:
    ctx.database.query("a context without a type has everything")


@tm.register_handler(event="count")
def count(job: Job[int]) -> int:
    assert_type(job.data, int)
    return job.data + 1


assert_type(count(Job[int].__new__(Job)), int)
resize("not a job", tm.get_context())  # error: arg-type


@tm.registerHandler(event="x")  # error: type-var
def takes_nothing() -> None: ...


@tm.registerHandler(event="x")  # error: type-var
def takes_too_much(job: Job[Any], ctx: Context, more: int) -> None: ...


@tm.registerHandler(event="x")  # error: type-var
def takes_no_job(job: str, ctx: Context) -> None: ...


tm.registerHandler(evnt="x")(count)  # error: call-overload
tm.registerHandler(event="x", delay=3)(count)  # error: call-overload
tm.registerHandler(event="x", attempts=3)(count)  # error: call-overload


@tm.registerHandler(event="x", options={"attempts": 3})
async def untyped(job: Job) -> None:
    assert_type(job.data, Any)


# Storms and schedules.


@tm.registerHandler(event="index", debounce=300, debounce_max_wait=5, debounce_mode="leading")
@tm.registerHandler(event="report", repeat={"pattern": "0 3 * * *", "tz": "Europe/Berlin"})
async def report(job: Job[Any], ctx: Context) -> None: ...


tm.registerHandler(event="x", debounce="300")(count)  # error: call-overload
tm.registerHandler(event="x", debounce_mode="last")(count)  # error: call-overload
tm.registerHandler(event="x", repeat="0 3 * * *")(count)
tm.registerHandler(event="x", repeat={"every": timedelta(minutes=5), "priority": 5})(count)
tm.registerHandler(event="x", repeat={"patern": "0 3 * * *"})(count)  # error: call-overload
tm.registerHandler(event="x", repeat=90)(count)  # error: call-overload

weekly: Repeat = {"pattern": "@weekly", "tz": "Europe/Berlin"}
each: HandlerRepeat = {"every": 1.5, "data": {"n": 1}}
tm.registerHandler(event="x", repeat=each)(count)

# Retries and typed payloads.


@tm.registerHandler(event="order", payload=Order, max_retries=3, retry=RetryPolicy(jitter=True))
async def order(job: Job[Order], ctx: Context) -> int:
    if job.attempt > 2:
        raise Snooze(60)
    return job.data.amount


@tm.registerHandler(event="order", payload=Order)
def order_alone(job: Job[Order]) -> int:
    return job.data.amount


@tm.registerHandler(event="order", payload=int | None)
def optional(job: Job[int | None]) -> None: ...


async def mismatched(job: Job[Email], ctx: Context) -> None: ...


tm.registerHandler(event="order", payload=Order)(mismatched)  # error: arg-type
tm.registerHandler(event="x", max_retries="3")(count)  # error: call-overload
tm.registerHandler(event="x", requires=["gpu"], repeat={"every": 9, "region": "eu"})(count)
tm.registerHandler(event="x", requires="gpu")(count)  # error: call-overload
tm.registerHandler(event="x", retry=lambda job, error: Retry(delay=5))(count)
assert_type(order_alone(Job.fake(Order(1))), int)


@tm.middleware
async def timed(job: Job[Any], ctx: Context, call_next: CallNext) -> Any:
    return await call_next()


@tm.on_dead
def alert(letter: DeadLetter) -> None:
    print(letter.reason)


# The other forms.

same: Callable[[Job[int]], int] = tm.registerHandler(count, {"event": "a"})
tm.registerHandler(handler=count, event="b", queue="default", options={})
tm.registerHandler({"handler": count, "event": "c"})
tm.registerHandler(7, {"event": "d"})  # error: call-overload

# The exported types.

handler: TaskHandler[App, Email] = send_email
anything: TaskHandler = resize
wrong: TaskHandler[App, int] = send_email  # error: assignment
emit: EmitFunction = tm.get_context().emit
emit("x", on_success=True)
emit({"event": "x", "options": {"retryCount": 3}})

# The documents' dicts of options.

given: TaskManagerOptions[App] = {"db": "redis://localhost/1", "ctx": App("hi"), "concurrency": 4}
assert_type(TaskManager(**given), TaskManager[App])
TaskManager.init(**given)
TaskManager.init(expose=4000, processor={"retry": {"maxRetries": 3}, "debounce": 300})
TaskManager.init(concurency=4)  # error: call-arg
misspelt: TaskManagerOptions = {"concurency": 4}  # error: typeddict-unknown-key
policies: ProcessorOptions = {"retry": {"max_retries": 3}, "dlq": {"enabled": True}}
TaskManager(processor=policies)
retries: ProcessorOptions = {"retry": 3}  # error: typeddict-item
form: RegisterHandlerOptions[App, Email] = {"handler": send_email, "event": "send-email"}
tm.registerHandler(form)
eventless: RegisterHandlerOptions = {"handler": count}  # error: typeddict-item
other: RegisterHandlerOptions[App, int] = {
    "handler": send_email,  # error: typeddict-item
    "event": "x",
}
options: EmitOptions = {"retry_count": 3, "delay_until": datetime.now(UTC), "debounce": 500}
late: EmitOptions = {"delay_until": "tomorrow"}  # error: typeddict-item
assert_type(gen_job_id_sync("greet", {"name": "Ada"}), str)
assert_type(DebounceManager(500, mode="leading").window_ms, int)


async def produce() -> None:
    emission = tm.emit("send-email", queue="emails", data={"to": "ada"}, priority=5, id="7")
    assert_type(emission, Emission)
    handle = await emission
    assert_type(handle, JobHandle)
    assert_type(handle.created, bool | None)
    assert_type(await tm.emit_many([{"event": "a"}, {"event": "b", "data": 1}]), list[JobHandle])
    await asyncio.gather(tm.emit("a"), tm.emit("b"))
    await tm.emit("x", queue=7)  # error: call-overload
    await tm.emit("x", priority="high")  # error: call-overload
    await tm.emit("x", delay=3, timeout=timedelta(minutes=1), expires=datetime.now(UTC))
    await tm.emit("x", delay="3")  # error: call-overload
    await tm.emit("x", idempotency_key="order 7")
    await tm.emit("x", debounce=timedelta(seconds=1), debounce_key="k", debounce_mode="trailing")
    await tm.emit("x", debounce=0.5)  # error: call-overload
    await tm.emit("x", debounce_seconds=0.5, debounce_max_wait=5)
    await tm.emit("x", requires=["gpu"], only=("w1", "w2"), anti_affinity={"w2"}, region="eu")
    await tm.emit("x", requires="gpu")  # error: call-overload
    await tm.emit("x", reject_unroutable=True)
    await tm.emit("x", repeat={"pattern": "@daily"})
    await tm.emit("x", options=options)
    await tm.emit({"event": "x", "queue": "emails", "data": {"to": "ada"}, "options": options})
    await tm.emit("x", repeat="@daily")
    await tm.emit("x", repeat={"every": 90, "overlap": "skip"})
    await tm.emit("x", repeat={"pattern": "@daily", "tzz": "UTC"})  # error: call-overload
    await tm.emit("x", repeat={"pattern": "@daily", "priority": 5})  # error: call-overload
    await tm.emit("x", repeat={"every": 90, "overlap": "no"})  # error: call-overload
    await tm.emit("x", repeat=weekly)
    await tm.emit("x", dealy=3)  # error: call-overload
    await tm.emit("x", attempts=3)  # error: call-overload
    await tm.emit("x", options={"attempts": 3})
    await tm.emit("x", quue="emails")  # error: call-overload
    await tm.emit("x", on_success=True)  # error: call-overload
    await tm.emit(7)  # error: call-overload
    await tm.emit()  # error: call-overload
    await tm.emit_many(["a"])  # error: list-item
    await tm.stop(timeout=timedelta(seconds=3))
    await tm.stop(timeout="now")  # error: arg-type


@tm.registerHandler(event="parent")
async def parent(job: Job[Any], ctx: Context) -> None:
    await ctx.emit("child", data={"n": 1}, on_success=True)
    await ctx.emit("child", onsuccess=True)  # error: call-overload
    print(ctx.emit("child").created)  # error: attr-defined


async def read(handle: JobHandle) -> None:
    assert_type(await handle.status(), JobState)
    assert_type(await handle.status() == "completed", bool)
    assert_type(await handle.info(), JobInfo)
    assert_type(await handle.logs(), list[LogLine])
    assert_type(await tm.get_job(handle.id), JobInfo | None)
    assert_type(await tm.stats("default"), QueueStats)
    assert_type(await tm.workers("default"), list[WorkerInfo])
    assert_type(await tm.routes("default"), list[RouteInfo])
    assert_type(await tm.dlq.list(), list[DeadLetter])
    assert_type(await tm.dlq.replay("7"), JobHandle)
    await handle.result(timeout="1")  # error: arg-type
    assert_type(await handle.cancel(), CancelOutcome)


async def operate() -> None:
    await tm.pause("emails", event="send-email", wait=True)
    await tm.pause("emails", "send-email")  # error: call-arg
    await tm.resume("emails")
    assert_type(await tm.schedules(), list[ScheduleInfo])
    schedule = tm.schedule("report", queue="default")
    assert_type(schedule, ScheduleHandle)
    assert_type(await schedule.info(), ScheduleInfo | None)
    assert_type(await schedule.pause(), bool)
    assert_type(await schedule.run(), JobHandle)


def script() -> None:
    try:
        assert_type(tm.emit_sync("x", data=[1, 2]), SyncJobHandle)
        assert_type(tm.sync.emit("x"), SyncJobHandle)
        assert_type(tm.sync.emit_many([{"event": "x"}]), list[SyncJobHandle])
    except RedisUnavailable as error:
        print(error.outcome)
    tm.emit_sync("x", dta=1)  # error: call-overload
    assert_type(tm.emit_sync("x", debounce=100).cancel(), CancelOutcome)
    tm.sync.pause("emails", wait=True)
    assert_type(tm.sync.schedules("emails"), list[ScheduleInfo])


async def serve() -> None:
    await tm.connect()
    async with tm as entered:
        assert_type(entered, TaskManager[Any])
        await entered.start()
        await entered.run(burst=True)
