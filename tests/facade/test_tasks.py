"""Functions as tasks: emitted by a call, run with the same arguments."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from datetime import date
from enum import Enum
from typing import Annotated, Any

import pytest
import redis as redis_py
from pydantic import AfterValidator, Field

from taskmanager import (
    ConflictingOptions,
    Context,
    InvalidHandler,
    InvalidOption,
    InvalidPayload,
    Job,
    JobCancelled,
    JobFailed,
    NotSerializable,
    TaskManager,
    TaskManagerError,
    UnknownOption,
    UnknownParameters,
    injected,
)
from tests.support.facade import KEYS, letters, run_all

CODES = {"de": "Germany"}


class Size(Enum):
    SMALL = "s"


@dataclass
class Order:
    id: int
    on: date


def entries(redis: redis_py.Redis) -> list[dict[bytes, bytes]]:
    """The fields of what lies in the only lane."""
    (lane,) = redis.zrange(KEYS.lanes, 0, -1)  # type: ignore[misc]
    found: Any = redis.xrange(f"{KEYS.base}lane:{lane.decode()}")
    return [fields for _, fields in found]


async def test_a_task_runs_with_the_arguments_of_its_emit(make: Callable[..., TaskManager]) -> None:
    tm = make(ctx={"db": 5})
    threads = []

    @tm.task
    async def greet(name: str, times: int = 1) -> str:
        """Say hello."""
        return " ".join([f"Hello, {name}!"] * times)

    @tm.task
    def add(a: int, b: int = 3, /, *rest: int, ctx: Context = injected, **more: int) -> list[int]:
        threads.append(threading.current_thread())
        return [a, b, *rest, ctx.db, *more.values()]

    @tm.task
    async def whole(order: Order, size: Size, job: Job = injected) -> Order:
        assert (job.data, size) == ({"order": order, "size": size}, Size.SMALL)
        return order

    await run_all(tm)

    assert await (await greet.emit("Ada", times=2)).result(10) == "Hello, Ada! Hello, Ada!"
    assert await (await add.emit(1)).result(10) == [1, 3, 5]
    assert await (await add.emit(1, 2, 7, x=9)).result(10) == [1, 2, 7, 5, 9]
    order = Order(7, date(2026, 1, 2))
    handle = await whole.emit(order, size=Size.SMALL)
    assert await handle.result(10) == order
    assert await whole.handle(handle.id).result(10) == order
    assert threading.main_thread() not in threads
    assert (await greet("Ada"), greet.__doc__, greet.__name__) == (
        "Hello, Ada!", "Say hello.", "greet",
    )  # fmt: skip


async def test_a_tasks_emit_is_stored_as_one_by_name_is(
    tm: TaskManager, redis: redis_py.Redis
) -> None:
    @tm.task
    async def greet(name: str, times: int = 1) -> str: ...  # type: ignore[empty-body]

    await greet.emit("Ada", times=2)
    await tm.emit("greet", data={"name": "Ada", "times": 2})
    await greet.options(deduplicate=True).emit("Ada", 2)

    one, other = entries(redis)
    assert one[b"data"] == b'{"name":"Ada","times":2}'
    assert {it: one[it] for it in (b"event", b"data", b"options")} == {
        it: other[it] for it in (b"event", b"data", b"options")
    }


async def test_each_emit_is_a_job_of_its_own_unless_something_says_otherwise(
    make: Callable[..., TaskManager],
) -> None:
    tm = make()

    @tm.task
    async def tidy() -> None: ...

    @tm.task(deduplicate=True)
    async def index(page: int = 1) -> None: ...

    @tm.task(debounce=60_000)
    async def save(text: str) -> None: ...

    async def created(*emits: Any) -> list[bool | None]:
        return [(await it).created for it in emits]

    assert await created(tidy.emit(), tidy.emit()) == [True, True]
    assert await created(index.emit(1), index.emit(1), index.emit()) == [True, False, True]
    assert await created(index.options(deduplicate=False).emit(1)) == [True]
    assert await created(save.emit("a"), save.emit("a"), save.emit("b")) == [True, False, True]
    for option in ({"id": "7"}, {"idempotency_key": "k"}, {"debounce": 9_000}):
        task = tidy.options(**option)  # type: ignore[typeddict-item]
        assert await created(task.emit(), task.emit()) == [True, False], option
    with pytest.raises(UnknownOption, match="unknown option 'dealy' in tidy"):
        tidy.options(dealy=3)  # type: ignore[call-arg]
    for name in ("deduplicate", "on_success"):
        with pytest.raises(InvalidOption, match=f"{name} 'no' is not allowed: give True or False"):
            tidy.options(**{name: "no"})  # type: ignore[typeddict-item]


async def test_many_calls_are_emitted_at_once_beside_dicts(tm: TaskManager) -> None:
    @tm.task
    async def double(x: int) -> int:
        return 2 * x

    @tm.task(queue="other")
    async def order(x: int) -> Order:
        return Order(x, date(2026, 1, 1))

    await run_all(tm)
    same = await double.emit_many(double.bind(x) for x in range(3))
    mixed = await tm.emit_many(
        [order.bind(1), {"event": "double", "data": {"x": 5}}, double.options(priority=5).bind(6)]
    )

    assert [await it.result(10) for it in same] == [0, 2, 4]
    assert [await it.result(10) for it in mixed] == [Order(1, date(2026, 1, 1)), 10, 12]
    with pytest.raises(InvalidOption, match=r"give a bound call"):
        await double.emit_many([1])  # type: ignore[list-item]
    with pytest.raises(InvalidOption, match="give a list of bound calls"):
        await double.emit_many(double.bind(1))  # type: ignore[arg-type]
    with pytest.raises(InvalidOption, match="it is a bound call: pass it to emit_many"):
        await tm.emit(double.bind(1))  # type: ignore[call-overload]
    with pytest.raises(InvalidOption, match="its task belongs to another TaskManager"):
        await TaskManager("redis://nowhere:1/0").emit_many([double.bind(1)])
    with pytest.raises(InvalidOption, match="emit_many cannot add jobs on success"):
        await tm.emit_many([double.options(on_success=True).bind(1)])


async def test_data_that_a_task_does_not_take_is_refused_before_it_is_sent(
    tm: TaskManager, redis: redis_py.Redis
) -> None:
    @tm.task
    async def greet(name: str, times: int = 1) -> str: ...  # type: ignore[empty-body]

    @tm.task
    async def collect(a: int, ctx: Context = injected, **more: int) -> None: ...

    wrong: list[tuple[type[Exception], str, Callable[[], Any]]] = [
        (InvalidPayload, "times: Input should be a valid integer", lambda: greet.emit("a", "x")),  # type: ignore[arg-type]
        (NotSerializable, "a set, which has no order", lambda: greet.emit({1})),  # type: ignore[arg-type]
        (
            UnknownParameters,
            "the data of 'greet' has unknown parameters .'tiems'.: its task in queue 'default' "
            "takes name, times; nothing was sent",
            lambda: tm.emit("greet", data={"name": "x", "tiems": 2}),
        ),
        (InvalidPayload, "name: Field required", lambda: tm.emit("greet")),
        (InvalidPayload, "should be an object", lambda: tm.emit("greet", data=[1])),
        (
            UnknownParameters,
            "parameters .'ctx'.",
            lambda: tm.emit("collect", data={"a": 1, "ctx": 2}),
        ),
        (InvalidPayload, "x: Input", lambda: tm.emit("collect", data={"a": 1, "x": "y"})),
        (InvalidOption, r"it is a task: call await greet.emit\(\.\.\.\)", lambda: tm.emit(greet)),  # type: ignore[call-overload]
    ]
    for kind, message, emit in wrong:
        with pytest.raises(kind, match=message):
            await emit()
    assert redis.keys("*") == []


async def test_a_task_in_a_handler_is_a_child_of_its_job(tm: TaskManager) -> None:
    seen = []

    @tm.task
    async def receipt(n: int, job: Job = injected) -> int:
        seen.append((n, job.correlation_id))
        return n

    @tm.task
    async def sell(fails: bool) -> None:
        # Not awaited: the run waits for it.
        receipt.emit(1)
        await receipt.options(on_success=True).emit(2)
        if fails:
            raise ValueError("sold out")

    @tm.task
    def in_thread() -> int:
        receipt.options(on_success=True).emit_sync(3)
        return receipt.emit_sync(4).result(10)

    await run_all(tm)
    await (await sell.options(correlation_id="c").emit(False)).result(10)
    with pytest.raises(JobFailed, match="sold out"):
        await (await sell.options(correlation_id="d").emit(True)).result(10)
    assert await (await in_thread.emit()).result(10) == 4
    await tm.until_idle()

    assert sorted(seen, key=str) == sorted(
        [(1, "c"), (2, "c"), (1, "d"), (3, None), (4, None)], key=str
    )


async def test_two_functions_of_one_event_are_refused_and_a_reload_replaces(
    tm: TaskManager,
) -> None:
    def imported(value: int) -> Any:
        """The function of a module that is imported anew: compiled again."""
        names: dict[str, Any] = {"__name__": "shop"}
        exec(f"async def greet() -> int:\n    return {value}", names)
        return names["greet"]

    def closure() -> Any:
        async def greet() -> None: ...

        return greet

    class Service:
        def run(self) -> None: ...

    first = imported(1)
    tm.task(first)
    tm.task(first)
    again = tm.task(imported(2))
    tm.task(event="closure")(closure())
    tm.task(event="method")(Service().run)
    for other, event in [(closure(), "greet"), (closure(), "closure"), (Service().run, "method")]:
        with pytest.raises(InvalidOption, match=r"in queue 'default' it already belongs to .*"):
            tm.task(event=event)(other)
    with pytest.raises(InvalidHandler, match="it is a task and already registered as one"):
        tm.registerHandler(again, event="x")  # type: ignore[call-overload]
    with pytest.raises(InvalidOption, match="use event= to give"):
        tm.registerHandler(lambda job: None, event="old")
        tm.task(event="old")(closure())
    await run_all(tm)

    assert await (await again.emit()).result(10) == 2


async def test_a_worker_does_not_start_with_a_task_that_it_cannot_read(
    make: Callable[..., TaskManager],
) -> None:
    async def bad(x: Undefined) -> None: ...  # type: ignore[name-defined]  # noqa: F821
    async def returns(x: int) -> Undefined: ...  # type: ignore[name-defined]  # noqa: F821
    async def pattern(x: Annotated[str, Field(pattern="(")]) -> None: ...
    async def more(**what: TaskManager) -> None: ...

    for function, message in [
        (bad, "the annotation 'Undefined' of 'x' cannot be read"),
        (returns, "its return annotation 'Undefined' cannot be read"),
        (pattern, "its parameter .* has no JSON form"),
        (more, "its parameter 'what' has no JSON form"),
    ]:
        tm = make()
        tm.task(function)
        with pytest.raises(InvalidHandler, match=message):
            await tm.start()


async def test_what_an_object_within_the_data_ignores_does_not_wait_for_another_version(
    tm: TaskManager,
) -> None:
    @tm.task
    async def ship(order: Order) -> int:
        return order.id

    await run_all(tm)
    data = {"order": {"id": 7, "on": "2026-01-01", "new": 1}}

    assert await (await tm.emit("ship", data=data)).result(10) == 7


async def test_a_validator_may_raise_what_pydantic_does_not_expect(tm: TaskManager) -> None:
    @tm.task
    async def look_up(code: Annotated[Any, AfterValidator(lambda it: CODES[it])]) -> str:
        return str(code)

    with pytest.raises(KeyError):
        await look_up.emit("fr")
    await run_all(tm)
    assert await (await look_up.emit("de")).result(10) == "Germany"


async def test_a_plain_function_may_return_a_coroutine(tm: TaskManager) -> None:
    async def later(x: int) -> Order:
        return Order(x, date(2026, 1, 1))

    @tm.task
    def ship(x: int) -> Coroutine[Any, Any, Order]:
        return later(x)

    await run_all(tm)

    assert await (await ship.emit(7)).result(10) == Order(7, date(2026, 1, 1))


async def test_a_queue_without_a_handler_for_the_task_is_said(
    tm: TaskManager, caplog: pytest.LogCaptureFixture
) -> None:
    @tm.task
    async def greet() -> None: ...

    @tm.task(queue="mail", event="hello")
    async def mailed() -> None: ...

    await greet.options(queue="default").emit()
    assert caplog.messages == []
    await greet.options(queue="mail").emit()

    assert "event 'greet' was emitted to queue 'mail', but no handler" in caplog.messages[0]


async def test_why_a_job_failed_is_its_error_not_the_note_below_it(tm: TaskManager) -> None:
    @tm.task
    async def noted() -> None:
        error = ValueError("sold out")
        error.add_note("in item 0")
        raise error

    await run_all(tm)

    with pytest.raises(JobFailed, match=r"failed permanently \(failed\): ValueError: sold out$"):
        await (await noted.emit()).result(10)


async def test_a_schedule_of_a_task_is_checked_when_its_worker_starts(tm: TaskManager) -> None:
    @tm.task(repeat={"pattern": "@daily", "data": {"times": 2}})
    async def report(name: str) -> None: ...

    with pytest.raises(InvalidOption, match=r"the data of repeat .*parameters .'times'.*repeat=\{"):
        await tm.start()


async def test_parameters_may_have_the_names_that_models_cannot_have(tm: TaskManager) -> None:
    @tm.task
    async def odd(json: int, schema: int, model_config: int, self_: int = 0) -> list[int]:
        return [json, schema, model_config]

    await run_all(tm)

    assert await (await odd.emit(1, schema=2, model_config=3)).result(10) == [1, 2, 3]


def test_tasks_are_emitted_from_a_thread_without_a_loop(make: Callable[..., TaskManager]) -> None:
    tm = make()

    @tm.task
    async def double(x: int) -> int:
        return 2 * x

    handles = double.emit_many_sync([double.bind(1), double.bind(2)])
    handle = double.emit_sync(3)

    async def run() -> None:
        await run_all(tm)
        await tm.stop()

    asyncio.run(run())
    assert [it.result(10) for it in (*handles, handle)] == [2, 4, 6]


# Without Redis


async def test_what_is_emitted_within_a_capture_is_checked_and_not_sent() -> None:
    tm = TaskManager("redis://nowhere:1/0")

    @tm.task(queue="mail")
    async def greet(name: str, times: int = 1) -> str: ...  # type: ignore[empty-body]

    with tm.capture() as jobs:
        handle = await greet.options(delay=60, priority=5).emit("Ada")
        tm.emit("other", data=[1], id="7")
        await tm.emit_many([greet.bind("Bob"), {"event": "x"}])
        with pytest.raises(TypeError):
            await greet.emit()  # type: ignore[call-arg]
    with pytest.raises(TaskManagerError, match="was captured and not sent: it has no result"):
        await handle.result()

    assert [(it.event, it.queue, it.data, it.delay) for it in jobs] == [
        ("greet", "mail", {"name": "Ada"}, 60.0),
        ("other", "default", [1], 0.0),
        ("greet", "mail", {"name": "Bob"}, 0.0),
        ("x", "default", {}, 0.0),
    ]
    assert jobs[0].options["priority"] == 5
    assert (handle.created, jobs[0].id, jobs[1].id) == (True, handle.id, "7")


async def test_a_fake_context_keeps_what_is_emitted_with_it() -> None:
    async def sell(n: int, ctx: Context = injected) -> int:
        await ctx.emit("receipt", data={"n": n}, on_success=True)
        return n + ctx.db

    ctx = Context.fake(db=5)

    assert await sell(1, ctx) == 6
    assert [(it.event, it.data, it.on_success) for it in ctx.emitted] == [
        ("receipt", {"n": 1}, True)
    ]
    with pytest.raises(AttributeError, match=r"called directly, .* has no 'emit'.*Context.fake"):
        await sell(1)


async def test_captures_of_several_tasks_are_apart_and_end_in_any_order() -> None:
    tm = TaskManager("redis://nowhere:1/0")
    first, second, emitted = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def outer() -> list[str]:
        with tm.capture() as jobs:
            first.set()
            await second.wait()
        # The inner one has begun later and is still there.
        tm.emit("inner")
        emitted.set()
        return [it.event for it in jobs]

    async def inner() -> list[str]:
        await first.wait()
        with tm.capture() as jobs:
            second.set()
            await emitted.wait()
        return [it.event for it in jobs]

    assert await asyncio.gather(outer(), inner()) == [[], ["inner"]]
    with tm.capture() as jobs:
        tm.emit({"event": "x", "priority": 5, "options": {"delay": 2}})
        tm.emit("tick", repeat="@yearly")
        with pytest.raises(ConflictingOptions):
            tm.get_context().emit("tick", repeat="@yearly", on_success=True)
    assert (jobs[0].options, jobs[0].delay) == ({"priority": 5, "delay": 2}, 2.0)
    assert jobs[1].delay > 0


async def test_a_job_that_a_newer_version_emitted_waits_for_its_worker(
    make: Callable[..., TaskManager], redis: redis_py.Redis, caplog: pytest.LogCaptureFixture
) -> None:
    old, new = make(no_handler_deadline=3), make()
    ran = []

    @old.task(event="greet")
    async def greet_old(name: str) -> None:
        ran.append(("old", name))

    @new.task(event="greet")
    async def greet_new(name: str, loud: bool = False) -> str | None:
        ran.append(("new", name))
        return f"{name} {loud}"

    await run_all(old)
    plain, loud = await greet_new.emit("Ada"), await greet_new.emit("Bob", loud=True)
    assert await plain.result(10) is None
    lost = await greet_new.options(expires=0.5).emit("Eve", loud=True)
    while (info := await loud.info()).reason is None:
        await asyncio.sleep(0.01)
    assert (info.reason, info.errors) == ("this version of 'greet' does not take 'loud'", [])
    # The old one gives up on what nobody takes, in its three seconds.
    with pytest.raises(JobFailed, match="for 3 s, no worker had a version of 'greet' that"):
        await loud.result(20)

    with pytest.raises(JobCancelled, match="expired"):
        await lost.result(20)
    assert ran == [("old", "Ada")]
    assert [it for it in caplog.messages if "newer version" in it] == [
        "this version of 'greet' does not take 'loud', but a job passes it; such jobs wait up to "
        "3 s for a worker with a newer version, then become dead letters"
    ]
    assert letters(redis) == ["for 3 s, no worker had a version of 'greet' that takes 'loud'"]
    await old.stop()
    await new.start()
    assert await (await new.dlq.replay(loud.id)).result(10) == "Bob True"
