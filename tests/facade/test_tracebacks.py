"""A failed job's traceback begins in the code of the application."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest

from taskmanager import Job, JobFailed, TaskManager


class Stubborn(Exception):
    """An error that lets nobody change it."""

    def __setattr__(self, name: str, value: object) -> None:
        raise RuntimeError(name)


def broken(number: int) -> float:
    return number / 0


def functions(traceback: str) -> list[str]:
    """Return the names of the functions in a traceback, outermost first."""
    return re.findall(r'^  File ".*", line \d+, in (.*)$', traceback, re.MULTILINE)


async def traceback_of(tm: TaskManager, event: str, data: object) -> str:
    async with tm:
        await tm.start()
        handle = await tm.emit(event, data=data)
        with pytest.raises(JobFailed) as failed:
            await handle.result(timeout=60)
        assert failed.value.letter is not None
        return failed.value.letter.error


@pytest.mark.parametrize("kind", ["coroutine", "thread"])
async def test_it_begins_with_the_handler(make: Callable[..., TaskManager], kind: str) -> None:
    tm = make()

    async def on_the_loop(job: Job[Any]) -> float:
        return broken(job.data["number"])

    def in_a_thread(job: Job[Any]) -> float:
        return broken(job.data["number"])

    handler: Any = on_the_loop if kind == "coroutine" else in_a_thread
    tm.registerHandler(handler, event="divide")

    traceback = await traceback_of(tm, "divide", {"number": 1})

    assert functions(traceback)[-2:] == functions(traceback)
    assert functions(traceback)[-1].endswith("broken")


async def test_it_begins_with_the_task(make: Callable[..., TaskManager]) -> None:
    tm = make()

    @tm.task
    def divide(number: int) -> float:
        return broken(number)

    traceback = await traceback_of(tm, "divide", {"number": 1})

    assert [name.rpartition(".")[2] for name in functions(traceback)] == ["divide", "broken"]


async def test_it_begins_with_the_middleware_that_was_called_first(
    make: Callable[..., TaskManager],
) -> None:
    tm = make()

    @tm.middleware
    async def around(job: Job[Any], ctx: Any, call_next: Any) -> Any:
        return await call_next()

    @tm.registerHandler(event="divide")
    async def divide(job: Job[Any]) -> float:
        return broken(1)

    traceback = await traceback_of(tm, "divide", {})

    assert functions(traceback)[0].rpartition(".")[2] == "around"
    assert functions(traceback)[-1] == "broken"


async def test_an_error_that_cannot_be_changed_is_recorded_like_any_other(
    make: Callable[..., TaskManager],
) -> None:
    tm = make()

    @tm.registerHandler(event="divide")
    async def divide(job: Job[Any]) -> None:
        raise Stubborn("no")

    traceback = await traceback_of(tm, "divide", {})

    assert [name.rpartition(".")[2] for name in functions(traceback)] == ["divide"]
