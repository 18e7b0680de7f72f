"""Call handlers through the middleware that the application registered."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeAlias, TypeVar

from consumers.jobs.job import Job
from consumers.policy import Around, CallNext
from taskmanager.errors import InvalidHandler
from taskmanager.handlers.context import Context
from taskmanager.options.signatures import signature_of

Middleware: TypeAlias = Callable[[Job[Any], Context[Any], CallNext], Awaitable[Any]]
"""The type of middleware: `async def (job, ctx, call_next)`. What it returns is the result."""

M = TypeVar("M", bound=Callable[[Job[Any], Any, CallNext], Awaitable[Any]])


def chain(middleware: Sequence[Middleware], context: Context[Any]) -> Around:
    """Combine all middleware into one function around a handler; the first is the outermost."""

    async def around(job: Job[Any], call_next: CallNext) -> Any:
        for layer in reversed(middleware):
            call_next = _around(layer, job, context, call_next)
        return await call_next()

    return around


def nested(outer: Around, inner: Around | None) -> Around:
    """Combine two functions around a handler into one; `outer` is called first."""
    if inner is None:
        return outer

    async def around(job: Job[Any], call_next: CallNext) -> Any:
        async def call() -> Any:
            return await inner(job, call_next)

        return await outer(job, call)

    return around


def check_middleware(given: M) -> M:
    """Return the middleware; raise InvalidHandler unless it is async and takes three arguments."""
    call = getattr(given, "__call__", None)  # noqa: B004
    if not (inspect.iscoroutinefunction(given) or inspect.iscoroutinefunction(call)):
        raise _refused(given, "it is not an async function")
    try:
        signature_of(given).bind("job", "ctx", "call_next")
    except TypeError as error:
        raise _refused(given, str(error)) from None
    return given


def _around(
    layer: Middleware, job: Job[Any], context: Context[Any], call_next: CallNext
) -> CallNext:
    async def call() -> Any:
        return await layer(job, context, call_next)

    return call


def _refused(given: object, reason: str) -> InvalidHandler:
    return InvalidHandler(
        given, reason, what="middleware", form="async def {name}(job, ctx, call_next)"
    )
