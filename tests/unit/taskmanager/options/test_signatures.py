"""Annotations that name what is imported for type checkers only: they have no value here.

Python 3.14 raises NameError when such an annotation is read. Older ones have it as text,
in quotes or of a module with future annotations, which must come to the same.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import ModuleType
from typing import TYPE_CHECKING, Any, ForwardRef

import pytest

from taskmanager import InvalidHandler, Job, TaskManager
from taskmanager.cli.loading import load
from taskmanager.handlers.payloads import payload_of
from taskmanager.options.signatures import signature_of

if TYPE_CHECKING:
    from decimal import Decimal

_IMPORTS = "from taskmanager import Job\n"
# As it is written: with future annotations, in quotes, and (since 3.14) plain.
_MANNERS = {
    "future": "from __future__ import annotations\n{imports}async def function({plain}): ...",
    "quoted": "{imports}async def function({quoted}): ...",
}
if sys.version_info >= (3, 14):
    _MANNERS["plain"] = "{imports}async def function({plain}): ..."


class Unreadable:
    """An object that can be called, and whose own annotations raise when they are read."""

    @property
    def __annotations__(self) -> dict[str, Any]:  # type: ignore[override]
        raise NameError("name 'Decimal' is not defined")

    __annotate__ = __annotations__

    def __call__(self, *given: Any) -> TaskManager[Any]:
        return TaskManager()


@pytest.fixture(params=_MANNERS)
def written(request: pytest.FixtureRequest) -> Callable[..., Any]:
    """Return a function with these parameters, written in one of the manners."""

    def function(*parameters: str, imports: str = _IMPORTS) -> Any:
        plain, quoted = ", ".join(parameters), ", ".join(map(_quoted, parameters))
        source = _MANNERS[request.param].format(imports=imports, plain=plain, quoted=quoted)
        module: dict[str, Any] = {"__name__": "shop"}
        exec(compile(source, "shop.py", "exec", dont_inherit=True), module)
        return module["function"]

    return function


def _quoted(parameter: str) -> str:
    name, _, annotation = parameter.partition(": ")
    return f'{name}: "{annotation}"'


def takes_context(tm: TaskManager[Any]) -> bool:
    return bool(tm._registry.bind(tm.get_context(), tm)["default", "a"].handler.extra)


@pytest.mark.parametrize(
    ("parameters", "context"),
    [
        (["job: Unknown"], False),
        (["job: Job[Any]", "ctx: Context[Services]"], True),
        (["job: shop.Unknown", "ctx: Missing"], True),
    ],
)
def test_a_handler_is_registered_whatever_its_annotations_name(
    written: Callable[..., Any], parameters: list[str], context: bool
) -> None:
    tm = TaskManager()

    tm.registerHandler(written(*parameters), event="a")

    assert takes_context(tm) is context


@pytest.mark.parametrize("imports", [_IMPORTS, ""], ids=["Job-is-imported", "nothing-is"])
def test_a_payload_that_has_a_value_is_found_beside_one_that_has_none(
    written: Callable[..., Any], imports: str
) -> None:
    payload = payload_of(written("job: Job[list[int]]", "ctx: Missing", imports=imports), None)

    assert payload is not None
    assert payload.decode(b"[1]") == [1]


@pytest.mark.parametrize("wanted", ["Decimal", "list[Decimal]", "dict[str, Decimal | None]"])
def test_a_payload_without_a_value_is_asked_for_by_its_name(
    written: Callable[..., Any], wanted: str
) -> None:
    with pytest.raises(InvalidHandler, match=r"give payload=.*Decimal.* as well"):
        TaskManager().registerHandler(written(f"job: Job[{wanted}]"), event="a")


def test_middleware_and_on_dead_are_taken_whatever_their_annotations_name(
    written: Callable[..., Any],
) -> None:
    tm = TaskManager()
    middleware = written("job: Job[Decimal]", "ctx: Missing", "call_next: CallNext")
    on_dead = written("letter: DeadLetter")

    assert tm.middleware(middleware) is middleware
    assert tm.on_dead(on_dead) is on_dead


def test_an_object_is_called_although_its_own_annotations_cannot_be_read(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    module = ModuleType("shop_of_tomorrow")
    module.make = Unreadable()  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "shop_of_tomorrow", module)

    tm = load("shop_of_tomorrow:make")

    assert tm.on_dead(module.make) is module.make


@pytest.mark.parametrize("payload", ["list[int]", list["int"]], ids=["whole", "part"])
def test_a_quoted_payload_is_found_where_the_handler_was_written(payload: Any) -> None:
    def handler(job: Any) -> None: ...

    handler.__annotations__["job"] = Job[payload]  # type: ignore[valid-type]

    found = payload_of(handler, None)
    assert found is not None
    assert found.decode(b"[1]") == [1]


@pytest.mark.parametrize(
    "annotation", [Job["Decimal"], Job[list["Decimal"]], ForwardRef("Job[Decimal]")]
)
def test_a_quoted_payload_without_a_value_is_refused_at_registration(annotation: Any) -> None:
    def handler(job: Any) -> None: ...

    handler.__annotations__["job"] = annotation

    with pytest.raises(InvalidHandler, match=r"give payload=.*Decimal.* as well"):
        TaskManager().registerHandler(handler, event="a")


def test_what_has_no_signature_is_still_refused() -> None:
    with pytest.raises(ValueError, match="no signature"):
        signature_of(dict)
    with pytest.raises(TypeError, match="not a callable"):
        signature_of(7)  # type: ignore[arg-type]
