"""Register handlers and what surrounds them: decorators, middleware, included modules."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from types import ModuleType, UnionType
from typing import Any, Unpack, overload

from taskmanager.errors import AlreadyStarted
from taskmanager.handlers.alerts import Alerts, F
from taskmanager.handlers.middleware import M
from taskmanager.handlers.modules import Modules
from taskmanager.handlers.registry import Registry
from taskmanager.handlers.signature import D, H, HandlerOf
from taskmanager.options.arguments import DEFAULT_QUEUE, HandlerOptions, with_manual


class HandlerFace:
    """The part of a task manager that modules with handlers see when they are imported."""

    def __init__(self, include: Iterable[str | ModuleType]) -> None:
        self._registry = Registry()
        self._modules = Modules(include)
        self._registry.unhandled.may_come = lambda: not self._modules.are_imported
        self._alerts = Alerts()

    @overload
    def registerHandler(self, handler: H, form: Mapping[str, Any], /) -> H: ...
    @overload
    def registerHandler(self, form: Mapping[str, Any], /) -> Callable[..., Any]: ...
    @overload
    def registerHandler(
        self,
        handler: H,
        *,
        event: str,
        queue: str = DEFAULT_QUEUE,
        payload: object = None,
        **options: Unpack[HandlerOptions],
    ) -> H: ...
    @overload
    def registerHandler(
        self,
        *,
        event: str,
        payload: type[D],
        queue: str = DEFAULT_QUEUE,
        **options: Unpack[HandlerOptions],
    ) -> HandlerOf[D]: ...
    @overload
    def registerHandler(
        self,
        *,
        event: str,
        queue: str = DEFAULT_QUEUE,
        payload: UnionType | None = None,
        **options: Unpack[HandlerOptions],
    ) -> Callable[[H], H]: ...
    @with_manual(HandlerOptions)
    def registerHandler(self, *positional: Any, **options: Any) -> Any:
        """Register the handler of an event in a queue; as a decorator or a call.

            @tm.registerHandler(event="send-email", queue="emails")
            async def send_email(job, ctx): ...

            tm.registerHandler(handler=send_email, event="send-email")
            tm.registerHandler(send_email, {"event": "send-email"})
            tm.registerHandler({"handler": send_email, "event": "send-email"})

        A handler takes (job, ctx) or (job). A coroutine function runs on the
        event loop, a plain one in a thread. What it returns is the job's result
        and must be JSON of at most 64 KiB; if it raises, the job is retried as the
        options below and processor= say, then buried. The function is returned
        unchanged. A wrapper is called as its own parameters say. One of any
        (*args) is given ctx if the second parameter of what it wraps is named
        ctx or context, or annotated as Context. A second handler of the same
        event replaces the first, with a warning; after start it is an
        AlreadyStarted.

        payload, or the annotation job: Job[Payload], says what the data must be:
        a pydantic model, dataclass, TypedDict or whatever pydantic has a schema
        for. job.data is then of that type; data that is not is refused at emit
        where the handler is registered, and elsewhere buried as bad_payload.
        """
        return self._registry.register(positional, options)

    register_handler = registerHandler

    def middleware(self, function: M) -> M:
        """Have every handler of this task manager called through an async function.

            @tm.middleware
            async def timed(job, ctx, call_next):
                started = time.monotonic()
                try:
                    return await call_next()
                finally:
                    print(job.event, time.monotonic() - started)

        The first registered is the outermost. What it returns is the job's
        result; what it raises counts as raised by the handler.
        """
        return self._registry.add_middleware(function)

    def on_dead(self, callback: F) -> F:
        """Have a function, async or not, called with the DeadLetter of each job that dies.

        It is called in the worker that recorded the death, after it is recorded.
        That worker may end before; for alerts, not for bookkeeping.
        """
        return self._alerts.add(callback)

    def include(self, *modules: str | ModuleType) -> None:
        """Name more modules with handlers; see the argument include=."""
        if self._registry.frozen:
            raise AlreadyStarted("include")
        self._modules.add(modules)

    @property
    def included(self) -> list[str]:
        """The names of the modules that include named."""
        return self._modules.names

    def import_handlers(self) -> None:
        """Import the included modules; start and run do it by themselves."""
        self._modules.import_all()

    @property
    def handlers(self) -> list[tuple[str, str]]:
        """(queue, event) of every registered handler."""
        return self._registry.names
