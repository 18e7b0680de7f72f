"""Tasks as a user writes them. Each line that mypy and pyright must refuse says mypy's code."""

from __future__ import annotations

from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, assert_type

from taskmanager import (
    Call,
    Context,
    Emission,
    FakeContext,
    Job,
    JobHandle,
    SyncJobHandle,
    TaskManager,
    Tasks,
    injected,
)


@dataclass
class State:
    db: int


@dataclass
class Order:
    id: int


@asynccontextmanager
async def lifespan() -> AsyncIterator[State]:
    yield State(1)


tm = TaskManager("redis://localhost/0", lifespan=lifespan)
tasks = Tasks(queue="mail", prefix="mail.")


@tm.task
async def greet(name: str, times: int = 1) -> str:
    return name * times


@tasks.task(queue="orders", max_retries=3, timeout=timedelta(minutes=1), deduplicate=True)
def bill(order: Order, ctx: Context[State] = injected) -> Order:
    assert_type(ctx.app.db, int)
    return order


@tm.task
async def add(a: int, b: int, *, job: Job[Any] = injected) -> int:
    return a + b


@tm.task
async def loose(data: dict[str, Any], what: Any, *rest: int, **more: float) -> Any:
    return data


@tm.stub(queue="gpu")
async def render(scene: str, *, frames: int) -> list[str]:
    raise NotImplementedError


@tm.stub
def resize(url: str) -> None: ...


async def emits() -> None:
    assert_type(greet.emit("Ada"), Emission[str])
    handle = await greet.emit("Ada", times=2)
    assert_type(handle, JobHandle[str])
    assert_type(await handle.result(), str)
    assert_type(await bill.emit(Order(1)), JobHandle[Order])
    assert_type(await add.emit(1, b=2), JobHandle[int])
    assert_type(await loose.emit({}, 1, 2, 3, x=0.5), JobHandle[Any])
    assert_type(await render.emit("a", frames=2), JobHandle[list[str]])
    assert_type(await resize.emit("u"), JobHandle[None])
    assert_type(await greet("Ada"), str)
    assert_type(bill(Order(1)), Order)
    assert_type(greet.bind("Ada"), Call[str])
    assert_type(await greet.emit_many([greet.bind("a"), greet.bind("b", 2)]), list[JobHandle[str]])
    assert_type(await greet.options(delay=5, priority=1).emit("a"), JobHandle[str])
    assert_type(greet.handle("7"), JobHandle[str])
    assert_type(greet.emit_sync("Ada"), SyncJobHandle[str])
    assert_type(greet.emit_many_sync([greet.bind("a")]), list[SyncJobHandle[str]])
    await tm.emit_many([greet.bind("a"), add.options(delay=5).bind(1, 2), {"event": "x"}])
    with tm.capture() as jobs:
        assert_type(jobs[0].data, Any)
    tm.include(tasks, "shop.tasks")


async def refused() -> None:
    await greet.emit()  # error: call-arg
    await greet.emit(1)  # error: arg-type
    await greet.emit("Ada", times="2")  # error: arg-type
    await greet.emit("Ada", tiems=2)  # error: call-arg
    await greet.emit("Ada", 1, 2)  # error: call-arg
    await greet("Ada", 1, 2)  # error: call-arg
    await bill.emit(1)  # error: arg-type
    await add.emit(1)  # error: call-arg
    await render.emit("a")  # error: call-arg
    await render("a", frames=1)  # error: operator
    resize("u")  # error: operator
    await loose.emit([], 1)  # error: arg-type
    await loose.emit({}, 1, "x")  # error: arg-type
    await greet.options(dealy=5).emit("a")  # error: call-arg
    await greet.options(delay="5").emit("a")  # error: arg-type
    greet.bind(7)  # error: arg-type
    await greet.emit_many(["a"])  # error: list-item
    await greet.emit_many([add.bind(1, 2)])  # error: list-item
    await tm.emit(greet, data={})  # error: arg-type
    greet.emit_sync(2)  # error: arg-type
    (await greet.emit("a")).reslut()  # error: attr-defined
    print(greet.emit("a").created)  # error: attr-defined
    number: int = await (await greet.emit("a")).result()  # error: assignment
    print(number)


async def plain() -> None: ...


tm.task(dealy=3)(plain)  # error: call-overload
tm.task(max_retries="3")(plain)  # error: call-overload
tm.task(7)  # error: call-overload
tm.stub(max_retries=3)  # error: call-overload
Tasks(quue="x")  # error: call-arg
tm.include(7)  # error: arg-type


# A handler that is emitted itself.


@tm.registerHandler(event="order")
async def order(job: Job[Order], ctx: Context[State]) -> Order:
    await ctx.emit(order, data=Order(2), on_success=True)
    await ctx.emit(order, data=Order(2), onsuccess=True)  # error: call-overload
    await greet.options(on_success=True).emit("Ada")
    return job.data


@tm.registerHandler(event="count")
def count(job: Job[list[int]]) -> int:
    return len(job.data)


async def emits_handlers() -> None:
    assert_type(await tm.emit(order, data=Order(1)), JobHandle[Order])
    assert_type(await tm.emit(count, data=[1], delay=5), JobHandle[int])
    assert_type(tm.emit_sync(count, data=[1]), SyncJobHandle[int])
    assert_type(await tm.emit("order", data=1), JobHandle[Any])
    await tm.emit(order, data="x")  # error: arg-type
    await tm.emit(order)  # error: call-overload
    await tm.emit(order, data=Order(1), dealy=5)  # error: call-overload


def tested() -> None:
    ctx = Context.fake(State(1))
    assert_type(ctx, FakeContext[State])
    assert_type(bill(Order(1), ctx), Order)
    bill(Order(1), State(1))  # error: arg-type
    assert_type(Context.fake(db=1), FakeContext[Any])


called: Coroutine[Any, Any, str] = greet("a")
