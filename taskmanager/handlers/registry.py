"""Keep the registered handlers, and read registerHandler's forms."""

from __future__ import annotations

import inspect
import logging
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any, Literal, Protocol, TypeAlias, TypedDict, TypeVar, overload

from typing_extensions import TypeVar as DefaultTypeVar

from consumers.errors import UnknownOption
from consumers.jobs.job import Job
from consumers.jobs.names import check_name
from consumers.policy import Around, Handler
from processors.debounce import DebounceManager
from processors.processor import Registration
from processors.retries.retry import RetryFunction, RetryPolicy
from processors.schedules.schedule import Schedule
from taskmanager.errors import AlreadyStarted, ConflictingOptions, InvalidHandler, InvalidOption
from taskmanager.handlers.context import Context
from taskmanager.handlers.middleware import M, Middleware, chain, check_middleware, nested
from taskmanager.handlers.payloads import Payload, payload_of
from taskmanager.options.checks import positive_s, whole_ms, whole_number
from taskmanager.options.debounce import OPTIONS as STORM_OPTIONS
from taskmanager.options.debounce import handler_storms
from taskmanager.options.processor import check_retry
from taskmanager.options.repeat import handler_schedule
from taskmanager.options.request import DEFAULT_QUEUE
from taskmanager.options.signatures import signature_of, wrapped_signature_of
from taskmanager.options.tables import HANDLER, REGISTRATION

logger = logging.getLogger(__name__)

_T = DefaultTypeVar("_T", default=Any)
_D = DefaultTypeVar("_D", default=Any)
# TaskHandler[AppContext, Payload]: what a handler looks like. It may leave out
# the context, and be a coroutine function or a plain one.
TaskHandler: TypeAlias = Callable[[Job[_D], Context[_T]], Any] | Callable[[Job[_D]], Any]

# Bound to both shapes, so that a decorated function keeps its own signature.
H = TypeVar("H", bound=Callable[[Job[Any], Any], Any] | Callable[[Job[Any]], Any])

D = TypeVar("D")
_C = TypeVar("_C")
_R = TypeVar("_R")


class HandlerOf(Protocol[D]):
    """A decorator of handlers of one payload type."""

    @overload
    def __call__(self, handler: Callable[[Job[D], _C], _R], /) -> Callable[[Job[D], _C], _R]: ...
    @overload
    def __call__(self, handler: Callable[[Job[D]], _R], /) -> Callable[[Job[D]], _R]: ...


# ctx, context, app_ctx; also _, for who has no use for it.
_CTX = re.compile(r"ctx|context|^_+$")
_POSITIONAL = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)


class HandlerOptions(TypedDict, total=False):
    """What registerHandler takes beside event, queue and payload; all may be left out.

    options          these, and payload, as a dict, in camelCase if you like
    max_retries      runs after a first one that failed, where emit does not say; processor='s.
                     attempts and retry_count are other names for it
    retry_delay_ms   whole milliseconds before the first retry; processor's, else 1000
    timeout          seconds or a timedelta that a run may take; no limit
    retry            a RetryPolicy, or a function (job, error) that returns Retry, Discard or a bool
    debounce         a window, in whole milliseconds or a timedelta: many emits become one run;
                     see EmitArguments. It counts for emits that give none themselves, from
                     processes in which this handler is registered: emits from elsewhere need
                     their own debounce=. debounce_ms is another name for it, and
                     debounce_seconds for seconds
    debounce_max_wait  seconds or a timedelta that a storm without an end waits; 10 windows
    debounce_mode    "trailing" (the last emit runs) or "leading" (the first does); trailing
    repeat           a dict, of which pattern (cron) is needed: every worker of the queue emits
                     a job at each fire time, exactly one in all. tz ("UTC"), name (the event),
                     missed ("one", "skip", "all"), overlap ("allow", "skip", "queue"), version
                     (0), and the job's data ({}), priority (0) and partition. A process that
                     never starts a worker registers nothing
    """

    options: Mapping[str, Any] | None
    max_retries: int | None
    attempts: int | None
    retry_count: int | None
    retry_delay_ms: int | None
    timeout: float | timedelta | None
    retry: RetryPolicy | RetryFunction | None
    debounce: int | timedelta | None
    debounce_ms: int | timedelta | None
    debounce_seconds: float | timedelta | None
    debounce_max_wait: float | timedelta | None
    debounce_mode: Literal["trailing", "leading"] | None
    repeat: Mapping[str, Any] | None


@dataclass(frozen=True, slots=True)
class Registered:
    """A handler as it was registered. takes_ctx says whether it is called with a context."""

    call: Callable[..., Any]
    takes_ctx: bool
    payload: Payload | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    storms: DebounceManager | None = None
    schedule: Schedule | None = None

    def bind(
        self,
        context: Context[Any],
        middleware: Sequence[Middleware],
        owner: object,
        outermost: Around | None = None,
    ) -> Registration:
        """Return what the engine calls, and how its jobs are treated."""
        extra = (context,) if self.takes_ctx else ()
        handler = Handler.of(self.call, *extra, owner=owner)
        if self.payload is not None:
            handler = replace(handler, decode=self.payload.decode)
        if middleware:
            handler = replace(handler, around=chain(middleware, context))
        if outermost is not None:
            handler = replace(handler, around=nested(outermost, handler.around))
        return Registration(handler, **self.options)


class Registry:
    """The handlers of one task manager, by (queue, event)."""

    def __init__(self) -> None:
        self._registered: dict[tuple[str, str], Registered] = {}
        self._middleware: list[Middleware] = []
        self.frozen = False

    def __len__(self) -> int:
        return len(self._registered)

    @property
    def names(self) -> list[tuple[str, str]]:
        """(queue, event) of every handler, in the order they were registered."""
        return list(self._registered)

    @property
    def queues(self) -> tuple[str, ...]:
        """The queues that have a handler, in the order they were first named."""
        return tuple(dict.fromkeys(queue for queue, _ in self._registered))

    def bind(
        self, context: Context[Any], owner: object, outermost: Around | None = None
    ) -> dict[tuple[str, str], Registration]:
        """Return the handlers as the engine calls them, with this context; runs name the owner.

        outermost is put around the middleware of each.
        """
        return {
            name: it.bind(context, self._middleware, owner, outermost)
            for name, it in self._registered.items()
        }

    def schedules(self, queue: str) -> list[Schedule]:
        """Return the schedules of a queue's handlers."""
        found = (it.schedule for (its, _), it in self._registered.items() if its == queue)
        return [schedule for schedule in found if schedule is not None]

    def debounce_of(self, queue: str, event: str) -> DebounceManager | None:
        """Return how the emits of a handler are debounced; None when they are not."""
        registered = self._registered.get((queue, event))
        return None if registered is None else registered.storms

    def check_payload(self, queue: str, event: str, data: bytes) -> None:
        """Raise InvalidPayload when a handler is registered that would refuse this JSON."""
        registered = self._registered.get((queue, event))
        if registered is not None and registered.payload is not None:
            registered.payload.check(queue, event, data)

    def add_middleware(self, middleware: M) -> M:
        """Have every handler called through it; the first added is the outermost."""
        if self.frozen:
            raise AlreadyStarted("the middleware")
        self._middleware.append(check_middleware(middleware))
        return middleware

    def register(self, positional: tuple[Any, ...], given: Mapping[str, Any]) -> Any:
        """Do what registerHandler was asked for, in any of its forms.

        Returns the handler, or a decorator when none was given.
        """
        values = _read(positional, given)
        if values.get("handler") is not None:
            return self._add(values["handler"], values)
        self._check(values)
        return lambda handler: self._add(handler, values)

    def _add(self, handler: Any, values: Mapping[str, Any]) -> Any:
        queue, event = self._check(values)
        takes_ctx, options = _takes_ctx(handler), _options(values)
        payload = payload_of(handler, options.pop("payload", None))
        schedule = self._schedule(queue, event, options.pop("repeat", None), payload)
        if (queue, event) in self._registered:
            logger.warning(
                "a second handler replaces the first one of its event",
                extra={"queue": queue, "event": event},
            )
        storms = options.pop("debounce", None)
        self._registered[queue, event] = Registered(
            handler, takes_ctx, payload, options, storms, schedule
        )
        return handler

    def _schedule(
        self, queue: str, event: str, given: Any, payload: Payload | None
    ) -> Schedule | None:
        if given is None:
            return None
        schedule = handler_schedule(queue, event, given)
        if payload is not None:
            payload.check(queue, event, schedule.data)
        for other in self.schedules(queue):
            if other.name == schedule.name and other.event != event:
                allowed = f"the schedule of {other.event!r} has that name; give another"
                raise InvalidOption("the name of repeat", schedule.name, allowed)
        return schedule

    def _check(self, values: Mapping[str, Any]) -> tuple[str, str]:
        queue, event = values.get("queue", DEFAULT_QUEUE), values.get("event")
        if event is None:
            raise InvalidOption("event", None, 'name it: @tm.registerHandler(event="send-email")')
        check_name("event", event)
        check_name("queue", queue)
        _options(values)
        if self.frozen:
            raise AlreadyStarted(f"the handler of {event!r} in queue {queue!r}")
        return queue, event


def _read(positional: tuple[Any, ...], given: Mapping[str, Any]) -> dict[str, Any]:
    """Return handler, event, queue and options from what registerHandler was called with."""
    for name in given:
        if name not in REGISTRATION.keywords:
            raise UnknownOption(name, REGISTRATION.allowed, REGISTRATION.where)
    keywords = dict(given)
    if len(positional) > 2:
        raise InvalidOption(
            "arguments of registerHandler", positional[2:], "give (handler, {...}) or keywords"
        )
    form: object = {}
    for value in positional:
        if isinstance(value, Mapping):
            form = value
        elif "handler" in keywords:
            raise ConflictingOptions("the first argument", "handler", REGISTRATION.where)
        else:
            keywords["handler"] = value
    return REGISTRATION.merge(keywords, form)


def _options(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the handler's options that were given, checked, as Registration names them."""
    keywords = {name: value for name, value in values.items() if name in HANDLER.keywords}
    merged = HANDLER.merge(keywords, values.get("options", {}))
    storms = handler_storms(merged)
    options = {
        name: _CHECKS[name](name, value)
        for name, value in merged.items()
        if name not in STORM_OPTIONS
    }
    return options if storms is None else {**options, "debounce": storms}


def _takes_ctx(handler: Any) -> bool:
    """Return whether a handler takes (job, ctx) and not only (job); refuse everything else."""
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


_CHECKS: Mapping[str, Callable[[str, Any], Any]] = {
    "max_retries": whole_number,
    "retry_delay_ms": whole_ms,
    "timeout": positive_s,
    "retry": lambda _, given: check_retry(given),
    "payload": lambda _, given: given,
    "repeat": lambda _, given: given,
}
