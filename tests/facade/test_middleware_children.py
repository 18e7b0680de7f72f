"""Which on_success children are added when middleware calls its handler more than once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from taskmanager import Context, Job, TaskManager
from taskmanager.handlers.middleware import CallNext


async def children_of(
    tm: TaskManager, middleware: Any, *, failing_calls: int, in_thread: bool = False
) -> list[str]:
    """Run a job whose handler emits a child in each call; return the children that ran."""
    ran: list[str] = []
    calls: list[int] = []

    def emit_and_fail(job: Job[Any], ctx: Context) -> None:
        calls.append(1)
        ctx.emit("child", data=f"of call {len(calls)}", on_success=True)
        if len(calls) <= failing_calls:
            raise ValueError(f"call {len(calls)}")

    async def on_the_loop(job: Job[Any], ctx: Context) -> None:
        emit_and_fail(job, ctx)

    async def child(job: Job[str]) -> None:
        ran.append(job.data)

    tm.middleware(middleware)
    tm.registerHandler(emit_and_fail if in_thread else on_the_loop, event="parent")
    tm.registerHandler(child, event="child")
    await tm.start()
    await (await tm.emit("parent")).result(30)
    await tm.until_idle()
    return sorted(ran)


async def again(job: Job[Any], ctx: Context, call_next: CallNext) -> Any:
    if job.event == "child":
        return await call_next()
    ctx.emit("child", data="before", on_success=True)
    while True:
        try:
            return await call_next()
        except ValueError as error:
            ctx.emit("child", data=f"after {error}", on_success=True)


async def content(job: Job[Any], ctx: Context, call_next: CallNext) -> Any:
    try:
        return await call_next()
    except ValueError:
        return None


@pytest.mark.parametrize("in_thread", [False, True], ids=["async", "thread"])
async def test_the_children_of_a_call_that_failed_go_when_middleware_calls_again(
    make: Callable[..., TaskManager], in_thread: bool
) -> None:
    """Those of every call were added; what middleware emitted itself stays."""
    ran = await children_of(make(), again, failing_calls=2, in_thread=in_thread)

    assert ran == ["after call 1", "after call 2", "before", "of call 3"]


async def test_the_children_of_a_call_that_failed_stay_when_middleware_makes_do_with_that(
    make: Callable[..., TaskManager],
) -> None:
    assert await children_of(make(), content, failing_calls=1) == ["of call 1"]
