"""Tasks that are declared without a manager at hand, and stubs of those that run elsewhere."""

from __future__ import annotations

import inspect
import itertools
import sys
from collections.abc import Callable
from types import ModuleType

import pytest

from taskmanager import (
    AlreadyStarted,
    Context,
    InvalidArguments,
    InvalidOption,
    NotIncluded,
    TaskManager,
    Tasks,
    UnknownOption,
    injected,
)
from tests.support.facade import run_all

_numbers = itertools.count()


@pytest.fixture
def module(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """A module that declares tasks, as an application's does; no other manager includes it."""
    made = ModuleType(f"shop_tasks_{next(_numbers)}")
    made.tasks = tasks = Tasks(prefix="shop.")  # type: ignore[attr-defined]

    @tasks.task
    async def double(x: int) -> int:
        return 2 * x

    made.double = double  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, made.__name__, made)
    return made


async def test_tasks_are_declared_first_and_included_later(tm: TaskManager) -> None:
    tasks = Tasks(queue="mail", prefix="mail.")

    @tasks.task
    async def greet(name: str) -> str:
        return f"Hello, {name}!"

    with pytest.raises(
        NotIncluded, match=r"'greet' does not belong to a TaskManager yet: call tm.include"
    ):
        await greet.emit("Ada")
    tm.include(tasks)

    @tasks.task(event="bye", queue="other")
    def part(name: str, ctx: Context = injected) -> str:
        return f"Bye, {name}!"

    await run_all(tm)

    assert (greet.event, greet.queue, part.event, part.queue) == (
        "mail.greet", "mail", "mail.bye", "other",
    )  # fmt: skip
    assert await (await greet.emit("Ada")).result(10) == "Hello, Ada!"
    assert await (await part.emit("Ada")).result(10) == "Bye, Ada!"


async def test_the_tasks_of_an_included_module_are_taken_at_its_import(
    make: Callable[..., TaskManager], module: ModuleType
) -> None:
    tm = make(include=[module.__name__])
    await run_all(tm)

    assert await (await module.double.emit(2)).result(10) == 4
    assert ("default", "shop.double") in tm.handlers


async def test_tasks_belong_to_one_manager(
    make: Callable[..., TaskManager], module: ModuleType
) -> None:
    one, other = make(), make(include=[module.__name__])
    one.include(module.tasks)
    one.include(module.tasks)

    with pytest.raises(InvalidOption, match="it belongs to another TaskManager"):
        other.include(module.tasks)
    with pytest.raises(InvalidOption, match="it belongs to another TaskManager"):
        await other.start()


async def test_a_program_that_only_emits_finds_the_manager_that_includes_the_tasks(
    make: Callable[..., TaskManager], module: ModuleType
) -> None:
    tm = make(include=[module.__name__])

    handle = await module.double.emit(2)
    await run_all(tm)

    assert await handle.result(10) == 4


async def test_tasks_that_cannot_all_be_included_are_not_included(tm: TaskManager) -> None:
    tasks = Tasks()

    @tasks.task
    async def fine() -> None: ...

    @tasks.task
    async def taken() -> None: ...

    tm.registerHandler(lambda job: None, event="taken")

    with pytest.raises(InvalidOption, match="in queue 'default' it already belongs to"):
        tm.include(tasks)
    assert tm.handlers == [("default", "taken")]
    with pytest.raises(NotIncluded):
        await fine.emit()


async def test_a_task_finds_its_app_at_the_first_emit(
    make: Callable[..., TaskManager], monkeypatch: pytest.MonkeyPatch
) -> None:
    app = ModuleType("shop_app")
    app.tm = make()  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "shop_app", app)
    tasks = Tasks(app="shop_app:tm")

    @tasks.task
    async def double(x: int) -> int:
        return 2 * x

    handle = await double.emit(2)
    await run_all(app.tm)

    assert await handle.result(10) == 4


@pytest.mark.parametrize(
    ("app", "message"),
    [("shop_app", 'give "module:attribute"'), ("sys:path", "not a TaskManager")],
)
async def test_an_app_that_is_none_is_refused(app: str, message: str) -> None:
    async def noop() -> None: ...

    with pytest.raises(InvalidOption, match=message):
        await Tasks(app=app).task(noop).emit()


async def test_tasks_that_a_running_worker_did_not_include_are_emitted_for_others(
    make: Callable[..., TaskManager], monkeypatch: pytest.MonkeyPatch
) -> None:
    tm, elsewhere = make(), make()
    app = ModuleType("shop_app")
    app.tm = tm  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "shop_app", app)
    tm.registerHandler(lambda job: None, event="x")
    await tm.start()
    late = Tasks(app="shop_app:tm")

    async def double(x: int) -> int:
        return 2 * x

    with pytest.raises(AlreadyStarted):
        tm.task(double)
    handle = await late.task(double).emit(2)
    elsewhere.task(double)
    await run_all(elsewhere)

    assert await handle.result(10) == 4


async def test_a_stub_is_emitted_and_cannot_be_called(make: Callable[..., TaskManager]) -> None:
    tm, gpu = make(), make()

    @tm.stub(queue="gpu")
    async def render(scene: str, *, frames: int) -> list[str]:
        raise NotImplementedError

    async def run(scene: str, *, frames: int) -> list[str]:
        return [scene] * frames

    real = gpu.task(queue="gpu", event="render")(run)
    await run_all(gpu)

    assert await (await render.emit("a", frames=2)).result(10) == ["a", "a"]
    assert inspect.signature(render) == inspect.signature(real)
    assert tm.handlers == []
    with pytest.raises(InvalidArguments, match="'frames' is missing"):
        await render.emit("a")  # type: ignore[call-arg]
    with pytest.raises(TypeError, match=r"render is a stub.*await render.emit\("):
        await render("a", frames=1)  # type: ignore[operator]
    with pytest.raises(
        UnknownOption, match="unknown option 'retry' in stub; allowed: event, queue"
    ):
        tm.stub(retry=None)  # type: ignore[call-overload]
    with pytest.raises(UnknownOption, match="unknown option 'payload' in task; allowed: event"):
        tm.task(payload=int)  # type: ignore[call-overload]


async def test_a_stub_warns_of_no_missing_handler(
    make: Callable[..., TaskManager], caplog: pytest.LogCaptureFixture
) -> None:
    tm = make()
    tm.registerHandler(lambda job: None, event="x")

    @tm.stub
    async def render(scene: str) -> None: ...

    await render.emit("a")

    assert caplog.messages == []
