"""Register handlers, middleware and callbacks, and include modules that do."""

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
    """The part of a task manager that modules with handlers use while they are imported."""

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
        """Register a function as the handler of an event in a queue; as a decorator or a call.

            @tm.registerHandler(event="send-email", queue="emails")
            async def send_email(job, ctx): ...

            tm.registerHandler(handler=send_email, event="send-email")
            tm.registerHandler(send_email, {"event": "send-email"})
            tm.registerHandler({"handler": send_email, "event": "send-email"})

        A handler takes `(job, ctx)` or `(job)`. A coroutine function runs on the event loop, a
        plain function in a thread. Its return value is the job's result and must be JSON of at most
        64 KiB. If it raises, the job is retried as the options and `processor=` allow. After the
        last retry it becomes a dead letter.

        - `event`: the event that the function handles.
        - `queue`: the queue that the handler works on; "default".
        - `payload`: the type of the job's data, see below.

        The function is returned unchanged. Registering a second handler for an event replaces the
        first and logs a warning. Registering while a worker runs raises AlreadyStarted. Raises
        InvalidHandler if the function cannot be called as a handler.

        A function of `(*args)`, such as a decorator's wrapper, receives `ctx` if the second
        parameter of the function it wraps is named `ctx` or `context`, or is annotated as Context.

        `payload=Order`, or the annotation `job: Job[Order]`, sets the type of `job.data`: a
        pydantic model, a dataclass, a TypedDict or any other type that pydantic knows. In processes
        where the handler is registered, emits of other data raise InvalidPayload. Elsewhere such
        jobs become dead letters with the reason "bad_payload", without a run.
        """
        return self._registry.register(positional, options)

    register_handler = registerHandler

    def middleware(self, function: M) -> M:
        """Wrap every handler of this task manager in an async function.

            @tm.middleware
            async def timed(job, ctx, call_next):
                started = time.monotonic()
                try:
                    return await call_next()
                finally:
                    print(job.event, time.monotonic() - started)

        The first one registered is the outermost. What it returns is the job's result, and what it
        raises counts as raised by the handler. Raises InvalidHandler if it is not an async function
        of three arguments, and AlreadyStarted while a worker runs.
        """
        return self._registry.add_middleware(function)

    def on_dead(self, callback: F) -> F:
        """Register a function, async or not, that is called with the DeadLetter of each dead job.

        It is called in the worker that recorded the death, afterwards. That worker may end before
        it gets there: use it for alerts, not for bookkeeping. An error in it is logged.
        """
        return self._alerts.add(callback)

    def include(self, *modules: str | ModuleType) -> None:
        """Add modules with handlers, by import path or as module objects; see `include=`.

        Raises AlreadyStarted while a worker runs.
        """
        if self._registry.frozen:
            raise AlreadyStarted("include")
        self._modules.add(modules)

    @property
    def included(self) -> list[str]:
        """The names of the included modules."""
        return self._modules.names

    def import_handlers(self, *names: str) -> None:
        """Import the included modules now, or only those named. `start` and `run` import all."""
        for name in names or self._modules.names:
            self._modules.import_one(name)

    @property
    def handlers(self) -> list[tuple[str, str]]:
        """The pairs (queue, event) of all registered handlers."""
        return self._registry.names
