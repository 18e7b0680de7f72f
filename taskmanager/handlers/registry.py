"""The registered handlers of a task manager."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Hashable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from consumers.jobs.names import check_name
from consumers.policy import Around, Handler
from processors.debounce import DebounceManager
from processors.processor import Registration, lacking
from processors.schedules.schedule import Schedule
from taskmanager.errors import AlreadyStarted, InvalidOption, MissingCapabilities
from taskmanager.handlers.context import Context
from taskmanager.handlers.functions import is_reloaded, origin_of
from taskmanager.handlers.middleware import M, Middleware, chain, check_middleware, nested
from taskmanager.handlers.payloads import Payload, payload_of
from taskmanager.handlers.signature import takes_ctx
from taskmanager.handlers.unhandled import Unhandled
from taskmanager.options.arguments import DEFAULT_QUEUE
from taskmanager.options.forms import Rules
from taskmanager.options.handler import handler_options, read_form
from taskmanager.options.repeat import handler_schedule

logger = logging.getLogger("taskmanager.handlers")


_HOUR = 3600.0


@dataclass(frozen=True, slots=True)
class KnownHandler:
    """A handler as it was registered. `takes_ctx`: whether it is called with a context."""

    call: Callable[..., Any]
    takes_ctx: bool
    payload: Payload | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    debounce: DebounceManager | None = None
    schedule: Schedule | None = None

    @property
    def requires(self) -> tuple[str, ...]:
        """The capabilities that a worker needs to run it, and its jobs require by default."""
        found: tuple[str, ...] = self.options.get("requires", ())
        return found

    def check(self, queue: str, event: str, data: bytes) -> None:
        """Raise InvalidPayload unless the JSON fits the handler's payload type."""
        if self.payload is not None:
            self.payload.check(queue, event, data)

    def handler(self, context: Context[Any], owner: object, deadline: float) -> Handler:
        """Return what the engine calls, without middleware.

        `deadline` is for how many seconds a job waits for a newer version that takes it.
        """
        extra = (context,) if self.takes_ctx else ()
        handler = Handler.of(self.call, *extra, owner=owner)
        return handler if self.payload is None else replace(handler, decode=self.payload.decode)

    def refuse_other(self, before: Callable[..., Any], queue: str, event: str) -> None:
        """Raise InvalidOption unless this is the same function, or a new import of it."""
        if before != self.call and not is_reloaded(before, self.call):
            raise InvalidOption(
                "event",
                event,
                f"in queue {queue!r} it already belongs to {origin_of(before)}; use event= to give "
                f"{origin_of(self.call)} another one",
            )

    def bind(
        self,
        context: Context[Any],
        middleware: Sequence[Middleware],
        owner: object,
        outermost: Around | None = None,
        *,
        deadline: float = _HOUR,
    ) -> Registration:
        """Return what the engine calls, with middleware, and how its jobs are treated."""
        options, handler = dict(self.options), self.handler(context, owner, deadline)
        if options.pop("keep_data", False):
            handler = replace(handler, keeps_data=True)
        if middleware:
            handler = replace(handler, around=chain(middleware, context))
        if outermost is not None:
            handler = replace(handler, around=nested(outermost, handler.around))
        return Registration(handler, **options)


class _NoRules:
    """The rules for events without a handler here; `emitted` is called with each emit of one."""

    debounce: DebounceManager | None = None
    requires: tuple[str, ...] = ()

    def __init__(self, emitted: Callable[[str, str], None]) -> None:
        self._emitted = emitted

    def check(self, queue: str, event: str, data: bytes) -> None:
        """Report the emit."""
        self._emitted(queue, event)


class Registry:
    """The handlers of one task manager, by (queue, event)."""

    def __init__(self) -> None:
        self._handlers: dict[tuple[str, str], KnownHandler] = {}
        self._middleware: list[Middleware] = []
        self._names_by_function: dict[Any, list[tuple[str, str]]] | None = None
        self._no_rules = _NoRules(self.say_unhandled)
        # How often a handler was registered.
        self.changes = 0
        self.unhandled = Unhandled(self._handlers)
        self.frozen = False

    def __len__(self) -> int:
        return len(self._handlers)

    @property
    def names(self) -> list[tuple[str, str]]:
        """The pairs (queue, event) of all handlers, in the order of their registration."""
        return list(self._handlers)

    @property
    def queues(self) -> tuple[str, ...]:
        """The queues that have a handler, in the order in which they were first named."""
        return tuple(dict.fromkeys(queue for queue, _ in self._handlers))

    def queues_to_read(self, wanted: tuple[str, ...] | None) -> tuple[str, ...]:
        """Return the queues that a worker reads: the wanted ones, or all that have a handler."""
        if unhandled := [queue for queue in wanted or () if queue not in self.queues]:
            raise InvalidOption(
                "queues",
                ",".join(unhandled),
                f"it has no handler; queues with handlers: {', '.join(self.queues) or 'none'}",
            )
        return wanted or self.queues

    def left_out(self, capabilities: Collection[str]) -> dict[tuple[str, str], list[str]]:
        """Return the handlers that a worker with these capabilities leaves out: what it lacks."""
        lacks = {name: lacking(it.requires, capabilities) for name, it in self._handlers.items()}
        return {name: missing for name, missing in lacks.items() if missing}

    def refuse_idle(self, queues: Collection[str], capabilities: Collection[str]) -> None:
        """Raise MissingCapabilities if a worker with these leaves out every handler it reads."""
        left_out = self.left_out(capabilities)
        names = [name for name in self._handlers if name[0] in queues]
        if names and left_out.keys() >= set(names):
            raise MissingCapabilities({name: left_out[name] for name in names}, capabilities)

    def bind(
        self,
        context: Context[Any],
        owner: object,
        outermost: Around | None = None,
        *,
        deadline: float = _HOUR,
    ) -> dict[tuple[str, str], Registration]:
        """Return the handlers as the engine calls them, with this context; runs name the owner.

        `outermost` wraps the middleware of each. `deadline` is for how many seconds a job waits for
        a version of its handler that takes it.
        """
        return {
            name: it.bind(context, self._middleware, owner, outermost, deadline=deadline)
            for name, it in self._handlers.items()
        }

    def schedules(self, queue: str) -> list[Schedule]:
        """Return the schedules of the handlers of a queue."""
        found = (it.schedule for (its, _), it in self._handlers.items() if its == queue)
        return [schedule for schedule in found if schedule is not None]

    def names_of(self, handler: Callable[..., Any]) -> list[tuple[str, str]]:
        """Return (queue, event) for each place where a function is registered."""
        try:
            return self._by_function.get(handler, [])
        except TypeError:
            # It cannot be hashed: an object that defines its own comparison.
            return [name for name, known in self._handlers.items() if known.call is handler]

    @property
    def _by_function(self) -> dict[Any, list[tuple[str, str]]]:
        """The names of each function; rebuilt after a handler was registered."""
        if self._names_by_function is None:
            self._names_by_function = {}
            for name, known in self._handlers.items():
                if isinstance(known.call, Hashable):
                    self._names_by_function.setdefault(known.call, []).append(name)
        return self._names_by_function

    def rules_of(self, queue: str, event: str) -> Rules:
        """Return what the jobs of an event must keep to, by its handler if one is registered here.

        If the queue has handlers here, but none for this event, an emit logs a warning.
        """
        return self._handlers.get((queue, event), self._no_rules)

    def say_unhandled(self, queue: str, event: str) -> None:
        """Warn of an emit without a handler here, if the queue has others."""
        if self._handlers and (queue, event) not in self._handlers:
            self.unhandled.emitted(queue, event)

    def add_middleware(self, middleware: M) -> M:
        """Call every handler through this middleware; the first one added is the outermost."""
        if self.frozen:
            raise AlreadyStarted("the middleware")
        self._middleware.append(check_middleware(middleware))
        return middleware

    def register(self, positional: tuple[Any, ...], given: Mapping[str, Any]) -> Any:
        """Do what registerHandler was called for, in any of its forms.

        Returns the handler, or a decorator if no handler was given.
        """
        values = read_form(positional, given)
        if values.get("handler") is not None:
            return self._add(values["handler"], values)
        self._check(values)
        return lambda handler: self._add(handler, values)

    def add_tasks(self, tasks: Mapping[tuple[str, str], tuple[KnownHandler, Any]]) -> None:
        """Register tasks with their `repeat=`, by (queue, event): all of them or none.

        Raises InvalidOption if another function already has one of their events.
        """
        before = dict(self._handlers)
        try:
            for (queue, event), (task, repeat) in tasks.items():
                self._add_task(queue, event, task, repeat)
        except BaseException:
            self._handlers.clear()
            self._handlers.update(before)
            raise
        finally:
            self._changed()

    def _add_task(self, queue: str, event: str, task: KnownHandler, repeat: Any) -> None:
        if self.frozen:
            raise AlreadyStarted(f"the task of {event!r} in queue {queue!r}")
        if (before := self._handlers.get((queue, event))) is not None:
            task.refuse_other(before.call, queue, event)
        schedule = self._schedule(queue, event, repeat, None, task.requires)
        self._handlers[queue, event] = replace(task, schedule=schedule)

    def _add(self, handler: Any, values: Mapping[str, Any]) -> Any:
        queue, event = self._check(values)
        with_ctx, options = takes_ctx(handler), handler_options(values)
        payload = payload_of(handler, options.pop("payload", None))
        requires = options.get("requires", ())
        schedule = self._schedule(queue, event, options.pop("repeat", None), payload, requires)
        if (queue, event) in self._handlers:
            logger.warning(
                "a second handler for event %r in queue %r replaces the first one",
                event,
                queue,
                extra={"queue": queue, "event": event},
            )
        debounce = options.pop("debounce", None)
        self._handlers[queue, event] = KnownHandler(
            handler, with_ctx, payload, options, debounce, schedule
        )
        self._changed()
        return handler

    def _changed(self) -> None:
        self._names_by_function = None
        self.changes += 1

    def _schedule(
        self,
        queue: str,
        event: str,
        given: Any,
        payload: Payload | None,
        requires: tuple[str, ...],
    ) -> Schedule | None:
        if given is None:
            return None
        schedule = handler_schedule(queue, event, given, requires)
        if payload is not None:
            payload.check(queue, event, schedule.data)
        for other in self.schedules(queue):
            if other.name == schedule.name and other.event != event:
                allowed = f"the schedule of {other.event!r} already has it; give another name"
                raise InvalidOption("the name of repeat", schedule.name, allowed)
        return schedule

    def _check(self, values: Mapping[str, Any]) -> tuple[str, str]:
        queue, event = values.get("queue", DEFAULT_QUEUE), values.get("event")
        if event is None:
            form = 'write for example @tm.registerHandler(event="send-email")'
            raise InvalidOption("event", None, form)
        check_name("event", event)
        check_name("queue", queue)
        handler_options(values)
        if self.frozen:
            raise AlreadyStarted(f"the handler of {event!r} in queue {queue!r}")
        return queue, event
