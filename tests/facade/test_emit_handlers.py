"""Emits of the handler itself: its name, its queue and the type of its result follow."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from typing import Any

import pytest
from pydantic_core import from_json, to_json

from taskmanager import Context, InvalidOption, InvalidPayload, InvalidResult, Job, TaskManager
from taskmanager.handles.results import ResultReader
from tests.support.facade import run_all


@dataclass
class Order:
    id: int


@dataclass
class Receipt:
    order: Order
    on: date


async def bill(job: Job[Order], ctx: Context) -> Receipt:
    return Receipt(job.data, date(2026, 1, job.data.id))


def count(job: Job[list[int]]) -> dict[str, int]:
    return {"n": len(job.data)}


async def test_a_handler_is_emitted_and_its_result_is_of_its_type(tm: TaskManager) -> None:
    tm.registerHandler(bill, event="bill", queue="orders")
    tm.registerHandler(count, event="count")
    await run_all(tm)

    handle = await tm.emit(bill, data=Order(7), priority=3)
    counted = await tm.emit(count, data=[1, 2])

    assert handle.queue == "orders"
    assert await handle.result(10) == Receipt(Order(7), date(2026, 1, 7))
    assert await counted.result(10) == {"n": 2}
    by_id = tm.handle(handle.id, "orders")
    assert await by_id.result(10) == {"order": {"id": 7}, "on": "2026-01-07"}


async def test_a_handler_emits_another_one_with_its_completion(tm: TaskManager) -> None:
    handles = []

    @tm.registerHandler(event="parent")
    async def parent(job: Job, ctx: Context) -> None:
        handles.append(await ctx.emit(bill, data=Order(1), on_success=True))

    tm.registerHandler(bill, event="bill")
    await tm.emit("parent")
    await run_all(tm)

    assert (await handles[0].result(10)).order == Order(1)


async def test_a_result_that_is_not_what_its_function_says_is_an_error_with_the_value(
    make: Callable[..., TaskManager],
) -> None:
    tm = make()

    @tm.registerHandler(event="lies")
    async def lies(job: Job[Any]) -> Receipt:
        return {"on": "today"}  # type: ignore[return-value]

    await run_all(tm)
    handle = await tm.emit(lies, data=None)

    with pytest.raises(InvalidResult, match=r"as Receipt: order: Field required; on: ") as raised:
        await handle.result(10)
    assert raised.value.value == {"on": "today"}


@pytest.mark.parametrize(
    ("registered", "queue", "message"),
    [
        ([], None, "it is not registered as a handler here"),
        (["a", "b"], None, "it handles 'a' in queue 'default', 'b' in queue 'default': give"),
        (["a"], "other", "none of them in queue 'other': give the event's name"),
    ],
)
async def test_a_handler_whose_event_is_not_clear_is_refused(
    tm: TaskManager, registered: list[str], queue: str | None, message: str
) -> None:
    for event in registered:
        tm.registerHandler(count, event=event)
    with pytest.raises(InvalidOption, match=message):
        await tm.emit(count, data=[1], **({} if queue is None else {"queue": queue}))


async def test_its_queue_chooses_among_the_places_of_a_handler(tm: TaskManager) -> None:
    tm.registerHandler(count, event="count")
    tm.registerHandler(count, event="count", queue="other")

    assert (await tm.emit(count, data=[1], queue="other")).queue == "other"
    with pytest.raises(InvalidPayload):
        await tm.emit(count, data=["x"], queue="other")  # type: ignore[list-item]


async def test_an_emission_says_where_to_find_what_only_its_handle_has(tm: TaskManager) -> None:
    emission = tm.emit("x")

    with pytest.raises(AttributeError, match="no 'result': await it first, handle = await"):
        emission.result  # type: ignore[attr-defined]  # noqa: B018
    await emission


@pytest.mark.parametrize(
    ("annotation", "value", "fits"),
    [
        (int, 1, True), (int, True, False), (int, "1", False), (float, 5, True), (bool, True, True),
        (list[int], [1], True), (list[int], ["a"], False), (dict[str, int], {"a": None}, False),
        (int | None, None, True), (None, None, True), (None, 1, False), (Any, object, True),
    ],
)  # fmt: skip
def test_a_plain_result_is_compared_with_its_annotation(
    annotation: Any, value: Any, fits: bool
) -> None:
    def returns() -> None: ...

    returns.__annotations__["return"] = annotation
    stored = b"{}" if value is object else to_json(value)
    read = ResultReader(returns)

    if fits:
        assert read(stored, "7") == from_json(stored)
    else:
        with pytest.raises(InvalidResult, match="cannot be read as"):
            read(stored, "7")
