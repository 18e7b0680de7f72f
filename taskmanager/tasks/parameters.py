"""Read how a task's function is called: what an emit gives it, and what the worker injects."""

from __future__ import annotations

import inspect
import re
import typing
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from inspect import Parameter
from typing import Any

from typing_extensions import TypeAliasType

from consumers.jobs.job import Job
from taskmanager.errors import InvalidHandler
from taskmanager.handlers.context import Context
from taskmanager.options.annotations import evaluated, text_of
from taskmanager.options.request import EmitsItself
from taskmanager.options.signatures import wrapped_signature_of
from taskmanager.tasks.injected import Injected

# An annotation that cannot be evaluated, because it is imported for type checkers only.
# Bare or with our package's name: an application may have its own Job in a module.
_INJECTED = re.compile(r"(?:taskmanager\.)?(?P<kind>Context|Job)(?:\[.*\])?", re.DOTALL)
_UNREAD = "cannot be read ({}): import it outside `if TYPE_CHECKING`, and define it at module level"
_POSITIONAL = (Parameter.POSITIONAL_ONLY, Parameter.POSITIONAL_OR_KEYWORD)
_KINDS: dict[str, type] = {"Context": Context, "Job": Job}


@dataclass(frozen=True, slots=True)
class Parameters:
    """The parameters of a task's function, in its order.

    `given` has the parameters that an emit may give, by name, without *args and **kwargs, whose
    names are in `rest` and `more`. `hints` has the type of each; for *args and **kwargs, of each
    item. `contexts` and `jobs` name the parameters that the worker fills, and `filled_by_position`
    the ones among them that a call could give by position.
    """

    given: dict[str, Parameter]
    contexts: tuple[str, ...] = ()
    jobs: tuple[str, ...] = ()
    filled_by_position: tuple[str, ...] = ()
    rest: str | None = None
    more: str | None = None
    hints: dict[str, Any] = field(default_factory=dict)

    @property
    def positional(self) -> tuple[str, ...]:
        """The names of the parameters that may be given by position."""
        return tuple(name for name, it in self.given.items() if it.kind in _POSITIONAL)

    @property
    def required(self) -> frozenset[str]:
        """The names of the parameters without a default."""
        return frozenset(name for name, it in self.given.items() if it.default is Parameter.empty)

    @property
    def taken(self) -> frozenset[str]:
        """The names that no key of **kwargs may have."""
        others = [name for name in (self.rest, self.more) if name is not None]
        return frozenset((*self.given, *self.contexts, *self.jobs, *others))


def read_parameters(function: Callable[..., Any]) -> Parameters:
    """Return the parameters of a function. Its annotations are evaluated now.

    Raises InvalidHandler if one cannot be evaluated, or if something cannot be injected.
    """
    given: dict[str, Parameter] = {}
    contexts: list[str] = []
    jobs: list[str] = []
    by_position: list[str] = []
    hints: dict[str, Any] = {}
    rest = more = None
    for name, it in wrapped_signature_of(function).parameters.items():
        kind = _injection(function, it)
        if kind is not None:
            (contexts if kind is Context else jobs).append(name)
            if it.kind in _POSITIONAL:
                by_position.append(name)
            continue
        hints[name] = _hint(function, it)
        if it.kind is Parameter.VAR_POSITIONAL:
            rest = name
        elif it.kind is Parameter.VAR_KEYWORD:
            more = name
        else:
            given[name] = it
    return Parameters(given, tuple(contexts), tuple(jobs), tuple(by_position), rest, more, hints)


def form_of(function: Callable[..., Any]) -> str:
    """Return how a task is called, for people: greet(name: str, times: int = 1) -> str."""
    try:
        return _form(function)
    except Exception:
        # The repr of a default may be the user's code, and may raise anything.
        return f"{_name(function)}(...)"


def _form(function: Callable[..., Any]) -> str:
    signature = wrapped_signature_of(function)
    shown = [_unquoted(it) for it in signature.parameters.values() if not _is_injected(it)]
    returned = signature.return_annotation
    if returned is not inspect.Signature.empty:
        returned = _Text(_shown(returned))
    return f"{_name(function)}{signature.replace(parameters=shown, return_annotation=returned)}"


def refuse_unfit(function: object) -> Callable[..., Any]:
    """Return a function that can be a task, as far as can be told without its annotations.

    Raises InvalidHandler for classes, generators, methods in a class body, and non-callables.
    """
    if isinstance(function, EmitsItself):
        raise _unfit(function, "it is already a task: pass its .function")
    if inspect.isclass(function) or not callable(function):
        raise _unfit(function, "it is not a function")
    if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
        raise _unfit(function, "it is a generator, so calling it would run nothing")
    try:
        first = next(iter(wrapped_signature_of(function).parameters), "")
    except (TypeError, ValueError):
        raise _unfit(function, "its parameters cannot be read") from None
    if first in ("self", "cls") and _is_in_class(function):
        raise _unfit(
            function, "it is a method: declare a function, or the bound method of an object"
        )
    return function


def default_event(function: Callable[..., Any]) -> str:
    """Return the event named after a function; raises InvalidHandler if its name is not allowed."""
    name = getattr(function, "__name__", "")
    if isinstance(function, partial) or not name or name == "<lambda>":
        raise _unfit(function, 'it has no name: give its event, @tm.task(event="...")')
    if name.startswith("_"):
        raise _unfit(function, 'its name begins with "_": give its event, @tm.task(event="...")')
    return str(name)


def unfit_parameter(function: Callable[..., Any], name: str, why: str) -> InvalidHandler:
    """Return the error for a parameter that an emit cannot give."""
    return _unfit(function, f"its parameter {name!r} {why}")


def unreadable_result(function: Callable[..., Any], error: Exception) -> InvalidHandler:
    """Return the error for a return annotation that cannot be read."""
    text = text_of(wrapped_signature_of(function).return_annotation)
    return _unfit(function, f"its return annotation {text!r} {_UNREAD.format(error)}")


def _unfit(function: object, reason: str) -> InvalidHandler:
    return InvalidHandler(
        function, reason, what="a task", form="@tm.task above def {name}(...) or async def"
    )


def _injection(function: Callable[..., Any], it: Parameter) -> type | None:
    """Return Context or Job for a parameter that the worker fills, None for the others."""
    kind = _kind(function, it)
    if kind is None and isinstance(it.default, Injected):
        raise unfit_parameter(
            function, it.name, "is injected, but its annotation is neither Context nor Job"
        )
    if kind is not None and it.kind in (Parameter.VAR_POSITIONAL, Parameter.VAR_KEYWORD):
        raise unfit_parameter(
            function, it.name, "collects arguments, but only one context or job is injected"
        )
    return kind


def _kind(function: Callable[..., Any], it: Parameter) -> type | None:
    if it.annotation is Parameter.empty:
        return None
    try:
        wanted = evaluated(function, it.annotation)
    except Exception:
        match = _INJECTED.fullmatch(text_of(it.annotation))
        return None if match is None else _KINDS[match["kind"]]
    origin = _origin(wanted)
    return origin if origin is Context or origin is Job else None


def _origin(wanted: Any) -> Any:
    """Return the class behind an annotation, without type arguments, aliases and Annotated."""
    while True:
        origin = typing.get_origin(wanted) or wanted
        if origin is typing.Annotated:
            wanted = typing.get_args(wanted)[0]
        elif isinstance(origin, TypeAliasType):
            wanted = origin.__value__
        else:
            return origin


def _hint(function: Callable[..., Any], it: Parameter) -> Any:
    if it.annotation is Parameter.empty:
        return Any
    if type(it.default).__module__ == "pydantic.fields":
        raise unfit_parameter(
            function, it.name, "has a Field as its default: write Annotated[..., Field(...)] = ..."
        )
    try:
        return evaluated(function, it.annotation)
    except Exception as error:
        text = text_of(it.annotation)
        raise _unfit(
            function,
            f"the annotation {text!r} of {it.name!r} {_UNREAD.format(error)}",
        ) from None


def _is_injected(it: Parameter) -> bool:
    return (
        isinstance(it.default, Injected) or _INJECTED.fullmatch(_shown(it.annotation)) is not None
    )


def _unquoted(it: Parameter) -> Parameter:
    """Return a parameter whose annotation is shown as it was written, without quotes."""
    if it.annotation is Parameter.empty:
        return it
    return it.replace(annotation=_Text(_shown(it.annotation)))


class _Text:
    """Text that inspect shows unchanged."""

    def __init__(self, text: str) -> None:
        self._text = text

    def __repr__(self) -> str:
        return self._text


def _shown(annotation: Any) -> str:
    return (
        annotation.__qualname__
        if isinstance(annotation, type) and not (typing.get_args(annotation))
        else text_of(annotation)
    )


def _is_in_class(function: Callable[..., Any]) -> bool:
    outside = getattr(function, "__qualname__", "").rpartition(".")[0]
    return bool(outside) and not outside.endswith("<locals>")


def _name(function: Callable[..., Any]) -> str:
    return str(getattr(function, "__name__", None) or "the task")


def names_in(parameters: Parameters) -> Iterator[str]:
    """Return the names that data may have, *args among them."""
    yield from parameters.given
    if parameters.rest is not None:
        yield parameters.rest
