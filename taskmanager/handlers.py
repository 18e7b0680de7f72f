"""Keep the registered handlers, and read registerHandler's forms."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias, TypeVar

from typing_extensions import TypeVar as DefaultTypeVar

from consumers.errors import UnknownOption
from consumers.job import Job
from consumers.names import check_name
from consumers.policy import Handler
from taskmanager.context import Context
from taskmanager.errors import AlreadyStarted, ConflictingOptions, InvalidHandler, InvalidOption
from taskmanager.options import HANDLER, REGISTRATION
from taskmanager.request import DEFAULT_QUEUE

logger = logging.getLogger(__name__)

_T = DefaultTypeVar("_T", default=Any)
_D = DefaultTypeVar("_D", default=Any)
# TaskHandler[AppContext, Payload]: what a handler looks like. It may leave out
# the context, and be a coroutine function or a plain one.
TaskHandler: TypeAlias = Callable[[Job[_D], Context[_T]], Any] | Callable[[Job[_D]], Any]

# Bound to both shapes, so that a decorated function keeps its own signature.
H = TypeVar("H", bound=Callable[[Job[Any], Any], Any] | Callable[[Job[Any]], Any])

_POSITIONAL = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)


@dataclass(frozen=True, slots=True)
class Registration:
    """A handler as it was registered. takes_ctx says whether it is called with a context."""

    call: Callable[..., Any]
    takes_ctx: bool

    def bind(self, context: Context[Any], owner: object) -> Handler:
        """Return what the engine calls."""
        return Handler.of(self.call, *((context,) if self.takes_ctx else ()), owner=owner)


class Registry:
    """The handlers of one task manager, by (queue, event)."""

    def __init__(self) -> None:
        self._registered: dict[tuple[str, str], Registration] = {}
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

    def bind(self, context: Context[Any], owner: object) -> dict[tuple[str, str], Handler]:
        """Return the handlers as the engine calls them, with this context; runs name the owner."""
        return {name: it.bind(context, owner) for name, it in self._registered.items()}

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
        registration = Registration(handler, _takes_ctx(handler))
        if (queue, event) in self._registered:
            logger.warning(
                "a second handler replaces the first one of its event",
                extra={"queue": queue, "event": event},
            )
        self._registered[queue, event] = registration
        return handler

    def _check(self, values: Mapping[str, Any]) -> tuple[str, str]:
        queue, event = values.get("queue", DEFAULT_QUEUE), values.get("event")
        if event is None:
            raise InvalidOption("event", None, 'name it: @tm.registerHandler(event="send-email")')
        check_name("event", event)
        check_name("queue", queue)
        HANDLER.read(values.get("options", {}))
        if self.frozen:
            raise AlreadyStarted(f"the handler of {event!r} in queue {queue!r}")
        return queue, event


def _read(positional: tuple[Any, ...], given: Mapping[str, Any]) -> dict[str, Any]:
    """Return handler, event, queue and options from what registerHandler was called with."""
    for name in given:
        if name not in REGISTRATION.allowed:
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


def _takes_ctx(handler: Any) -> bool:
    """Return whether a handler takes (job, ctx) and not only (job); refuse everything else."""
    if inspect.isclass(handler) or not callable(handler):
        raise InvalidHandler(handler, "it is not a function")
    if inspect.isgeneratorfunction(handler) or inspect.isasyncgenfunction(handler):
        raise InvalidHandler(handler, "it yields, so calling it would run nothing")
    try:
        parameters = inspect.signature(handler).parameters.values()
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
    takes_any = any(it.kind is inspect.Parameter.VAR_POSITIONAL for it in parameters)
    if count > 2 or (count == 0 and not takes_any):
        raise InvalidHandler(handler, f"it takes {count} positional parameters")
    return count == 2 or takes_any
