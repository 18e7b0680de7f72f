"""What a handler looks like: its types, and whether it takes a context."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from typing import Any, Generic, Protocol, Required, TypeVar, overload

from typing_extensions import TypeAliasType
from typing_extensions import TypeVar as DefaultTypeVar

from consumers.jobs.job import Job
from taskmanager.errors import InvalidHandler
from taskmanager.handlers.context import Context
from taskmanager.options.arguments import HandlerOptions
from taskmanager.options.request import EmitsItself
from taskmanager.options.signatures import signature_of, wrapped_signature_of

_T = DefaultTypeVar("_T", default=Any)
_D = DefaultTypeVar("_D", default=Any)
# TaskHandler[AppContext, Payload]: what a handler looks like. It may leave out
# the context, and be a coroutine function or a plain one.
TaskHandler = TypeAliasType(
    "TaskHandler",
    Callable[[Job[_D], Context[_T]], Any] | Callable[[Job[_D]], Any],
    type_params=(_T, _D),
)

# Bound to both shapes, so that a decorated function keeps its own signature.
H = TypeVar("H", bound=Callable[[Job[Any], Any], Any] | Callable[[Job[Any]], Any])

D = TypeVar("D")
_C = TypeVar("_C")
_R = TypeVar("_R")


class RegisterHandlerOptions(HandlerOptions, Generic[_T, _D], total=False):
    """What registerHandler takes as one dict; T is the type of ctx, D that of job.data.

    handler is the function, event and queue are where it is registered, payload says what its
    data must be; the others are those of HandlerOptions. attempts and retry_count are the
    documents' names for max_retries. In a dict every name may be in camelCase as well, which
    type checkers take in a plain dict only.
    """

    handler: Required[TaskHandler[_T, _D]]
    event: Required[str]
    queue: str
    payload: object
    attempts: int | None
    retry_count: int | None


class HandlerOf(Protocol[D]):
    """A decorator of handlers of one payload type."""

    @overload
    def __call__(self, handler: Callable[[Job[D], _C], _R], /) -> Callable[[Job[D], _C], _R]: ...
    @overload
    def __call__(self, handler: Callable[[Job[D]], _R], /) -> Callable[[Job[D]], _R]: ...


# ctx, context, app_ctx; also _, for who has no use for it.
_CTX = re.compile(r"ctx|context|^_+$")
_POSITIONAL = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)


def takes_ctx(handler: Any) -> bool:
    """Return whether a handler takes (job, ctx) and not only (job); refuse everything else."""
    if isinstance(handler, EmitsItself):
        raise InvalidHandler(handler, "it is a task, which needs no other registration")
    if inspect.isclass(handler) or not callable(handler):
        raise InvalidHandler(handler, "it is not a function")
    if inspect.isgeneratorfunction(handler) or inspect.isasyncgenfunction(handler):
        raise InvalidHandler(handler, "it yields, so calling it would run nothing")
    try:
        parameters = signature_of(handler).parameters.values()
    except ValueError:
        raise InvalidHandler(handler, "its parameters cannot be read") from None
    needed = [
        it.name
        for it in parameters
        if it.kind is inspect.Parameter.KEYWORD_ONLY and it.default is inspect.Parameter.empty
    ]
    if needed:
        raise InvalidHandler(handler, f"nobody would give it {', '.join(needed)}")
    count = sum(it.kind in _POSITIONAL for it in parameters)
    takes_any = any(map(_is_any, parameters))
    if count > 2 or (count == 0 and not takes_any):
        raise InvalidHandler(handler, f"it takes {count} positional parameters")
    return count == 2 or (takes_any and _hands_on_ctx(handler))


def _hands_on_ctx(wrapper: Any) -> bool:
    """Return whether a function of any arguments calls another one with ctx.

    What it wraps may take more than (job, ctx), which the wrapper then adds; only the
    names tell one from the other.
    """
    parameters = list(wrapped_signature_of(wrapper).parameters.values())
    if any(map(_is_any, parameters)):
        return True
    second = [it for it in parameters if it.kind in _POSITIONAL][1:2]
    return any(_is_ctx(it) for it in second)


def _is_any(parameter: inspect.Parameter) -> bool:
    return parameter.kind is inspect.Parameter.VAR_POSITIONAL


def _is_ctx(parameter: inspect.Parameter) -> bool:
    return bool(_CTX.search(parameter.name) or "Context" in str(parameter.annotation))
