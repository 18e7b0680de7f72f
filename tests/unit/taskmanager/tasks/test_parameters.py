"""Which functions can be tasks, and which of their parameters a worker fills."""

import functools
from collections.abc import Callable
from typing import Annotated, Any

import pytest
from typing_extensions import TypeAliasType

from taskmanager import Context, InvalidHandler, Job, Tasks, injected
from taskmanager.tasks.parameters import read_parameters
from taskmanager.tasks.signature import TaskSignature
from tests.unit.taskmanager.tasks import later

Ctx = TypeAliasType("Ctx", Context[dict[str, int]])


def plain(a: int, ctx: Context = injected) -> None: ...
def typed(a: int, ctx: Context[dict[str, int]]) -> None: ...
def quoted(a: int, ctx: "Context[dict[str, int]]" = injected) -> None: ...
def first(ctx: Context, a: int) -> None: ...
def named(a: int, *, ctx: Context) -> None: ...
def any_job(a: int, it: Job[Any] = injected) -> None: ...
def aliased(a: int, ctx: Ctx = injected) -> None: ...
def annotated(a: int, ctx: Annotated[Context, "mine"] = injected) -> None: ...
def both(a: int, job: Job = injected, ctx: Context = injected) -> None: ...


@pytest.mark.parametrize(
    ("function", "contexts", "jobs"),
    [
        (plain, ("ctx",), ()),
        (typed, ("ctx",), ()),
        (quoted, ("ctx",), ()),
        (first, ("ctx",), ()),
        (named, ("ctx",), ()),
        (any_job, (), ("it",)),
        (both, ("ctx",), ("job",)),
        (later.imported_for_checkers_only, ("ctx",), ()),
        (later.job_for_checkers_only, (), ("it",)),
        (later.by_module, ("ctx",), ()),
        (later.in_quotes, ("ctx",), ()),
        (aliased, ("ctx",), ()),
        (annotated, ("ctx",), ()),
    ],
)
def test_contexts_and_jobs_are_found_by_annotation(
    function: Callable[..., Any], contexts: tuple[str, ...], jobs: tuple[str, ...]
) -> None:
    found = read_parameters(function)

    assert (found.contexts, found.jobs, list(found.given)) == (contexts, jobs, ["a"])


def collected(*ctx: Context) -> None: ...
def not_typed(a: int, ctx=injected) -> None: ...  # type: ignore[no-untyped-def]


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (
            collected,
            "its parameter 'ctx' collects arguments, but only one context or job is injected",
        ),
        (not_typed, "'ctx' is injected, but its annotation is neither Context nor Job"),
        (
            later.job_of_another_module,
            r"the annotation 'models\.Job' of 'job' cannot be read",
        ),
        (
            later.unreadable,
            r"annotation 'Decimal' of 'x' cannot be read \(name 'Decimal' is not defined\): import "
            "it outside `if TYPE_CHECKING`, and define it at module level",
        ),
    ],
)
def test_a_parameter_that_cannot_be_read_is_named(
    function: Callable[..., Any], message: str
) -> None:
    with pytest.raises(InvalidHandler, match=message):
        read_parameters(function)


def test_a_type_without_a_json_form_is_named_with_its_parameter() -> None:
    with pytest.raises(InvalidHandler, match="its parameter 'what' has no JSON form"):
        TaskSignature(later.forward, name="forward").payload  # noqa: B018


class Shop:
    def sell(self, what: str) -> None: ...
    def __call__(self, what: str) -> None: ...


async def agen() -> Any:
    yield 1


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (Shop, "it is not a function"),
        (7, "it is not a function"),
        (agen, "it is a generator, so calling it would run nothing"),
        (Shop.sell, "it is a method: declare a function, or the bound method of an object"),
        (lambda: 1, r'it has no name: give its event, @tm.task\(event="..."\)'),
        (functools.partial(plain, 1), "it has no name"),
        (Shop(), "it has no name"),
    ],
)
def test_what_cannot_be_a_task_is_refused_at_the_decorator(function: Any, message: str) -> None:
    with pytest.raises(InvalidHandler, match=message):
        Tasks().task(function)


def test_a_private_name_needs_an_event() -> None:
    def _tidy() -> None: ...

    with pytest.raises(InvalidHandler, match='its name begins with "_": give its event'):
        Tasks().task(_tidy)
    assert Tasks().task(event="tidy")(_tidy).event == "tidy"


@pytest.mark.parametrize(
    "function", [Shop().sell, lambda what: None, Shop(), functools.partial(plain, 1)]
)
def test_other_callables_can_be_tasks_where_their_event_is_said(function: Any) -> None:
    assert Tasks(prefix="shop.").task(event="sell")(function).event == "shop.sell"
