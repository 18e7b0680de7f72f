"""The shape of a handler: its types, and whether it takes a context."""

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
TaskHandler = TypeAliasType(
    "TaskHandler",
    Callable[[Job[_D], Context[_T]], Any] | Callable[[Job[_D]], Any],
    type_params=(_T, _D),
)
"""The type of a handler: `TaskHandler[AppContext, Payload]`.

A handler takes `(job, ctx)` or `(job)`, and may be a coroutine function or a plain one.
"""

# Bound to both shapes, so that a decorated function keeps its own signature.
H = TypeVar("H", bound=Callable[[Job[Any], Any], Any] | Callable[[Job[Any]], Any])

D = TypeVar("D")
_C = TypeVar("_C")
_R = TypeVar("_R")


class RegisterHandlerOptions(HandlerOptions, Generic[_T, _D], total=False):
    """The arguments of registerHandler as one dict.

    In `RegisterHandlerOptions[T, D]`, T is the type of `ctx` and D the type of `job.data`.

    - `handler`: the function.
    - `event`, `queue`: where it is registered; `queue` is "default" if left out.
    - `payload`: the type of the job's data.
    - `attempts`, `retry_count`: other names for `max_retries`.

    The other keys are explained at HandlerOptions. At runtime, each key may also be written in
    camelCase; type checkers accept that in a plain dict only.
    """

    handler: Required[TaskHandler[_T, _D]]
    event: Required[str]
    queue: str
    payload: object
    attempts: int | None
    retry_count: int | None


class HandlerOf(Protocol[D]):
    """A decorator for handlers of one payload type."""

    @overload
    def __call__(self, handler: Callable[[Job[D], _C], _R], /) -> Callable[[Job[D], _C], _R]: ...
    @overload
    def __call__(self, handler: Callable[[Job[D]], _R], /) -> Callable[[Job[D]], _R]: ...


# ctx, context, app_ctx; and _, for a context that is not used.
_CTX = re.compile(r"ctx|context|^_+$")
_POSITIONAL = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)


def takes_ctx(handler: Any) -> bool:
    """Return whether a handler takes (job, ctx) or only (job); raise InvalidHandler if neither."""
    if isinstance(handler, EmitsItself):
        raise InvalidHandler(handler, "it is a task and already registered as one")
    if inspect.isclass(handler) or not callable(handler):
        raise InvalidHandler(handler, "it is not a function")
    if inspect.isgeneratorfunction(handler) or inspect.isasyncgenfunction(handler):
        raise InvalidHandler(handler, "it is a generator, so calling it would run nothing")
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
        reason = f"it needs {', '.join(needed)}, but handlers get no keyword arguments"
        raise InvalidHandler(handler, reason)
    count = sum(it.kind in _POSITIONAL for it in parameters)
    takes_any = any(map(_is_any, parameters))
    if count > 2 or (count == 0 and not takes_any):
        raise InvalidHandler(handler, f"it takes {count} positional parameters")
    return count == 2 or (takes_any and _hands_on_ctx(handler))


def _hands_on_ctx(wrapper: Any) -> bool:
    """Return whether a wrapper with `*args` calls a function that takes ctx.

    The wrapped function may take more than (job, ctx), which the wrapper adds. Only the names of
    its parameters show which of them is the context.
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
