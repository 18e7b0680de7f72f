"""Declare tasks, with a TaskManager or before there is one."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Mapping
from importlib import import_module
from threading import Lock
from typing import Any, ParamSpec, Protocol, TypeVar, Unpack, overload

from consumers.errors import UnknownOption
from consumers.jobs.names import check_name
from consumers.policy import is_coroutine_function
from taskmanager.errors import InvalidOption
from taskmanager.options.arguments import DEFAULT_QUEUE, HandlerOptions
from taskmanager.options.checks import flag
from taskmanager.options.handler import handler_options
from taskmanager.options.tables import STUB, TASK, Table
from taskmanager.tasks.errors import NotIncluded
from taskmanager.tasks.includers import homes_of
from taskmanager.tasks.known import KnownTask
from taskmanager.tasks.parameters import default_event, refuse_unfit
from taskmanager.tasks.task import AsyncTask, Home, SyncTask, Task

P = ParamSpec("P")
R = TypeVar("R")


class TaskOptions(HandlerOptions, total=False):
    """The options of `@tm.task`. All may be left out.

    It takes the options of HandlerOptions, and three more:

    - `event`: the event of its jobs. Default: the function's name, after the prefix of its Tasks.
    - `queue`: the queue of its jobs. Default: the queue of its Tasks, else "default".
    - `deduplicate`: True makes equal arguments one live job. Default: False, each emit is a job.
    """

    event: str
    queue: str
    deduplicate: bool


class Declares(Protocol):
    """A decorator that turns a function into a task."""

    @overload
    def __call__(  # type: ignore[overload-overlap]
        self, function: Callable[P, Coroutine[Any, Any, R]], /
    ) -> AsyncTask[P, R]: ...
    @overload
    def __call__(self, function: Callable[P, R], /) -> SyncTask[P, R]: ...


class TaskDecorator(Declares, Protocol):
    """The type of tm.task: a decorator, or a call with options that returns one."""

    @overload
    def __call__(  # type: ignore[overload-overlap]
        self, function: Callable[P, Coroutine[Any, Any, R]], /
    ) -> AsyncTask[P, R]: ...
    @overload
    def __call__(self, function: Callable[P, R], /) -> SyncTask[P, R]: ...
    @overload
    def __call__(self, **options: Unpack[TaskOptions]) -> Declares: ...


class DeclaresStub(Protocol):
    """A decorator that turns a function into a stub."""

    @overload
    def __call__(self, function: Callable[P, Coroutine[Any, Any, R]], /) -> Task[P, R]: ...
    @overload
    def __call__(self, function: Callable[P, R], /) -> Task[P, R]: ...


class StubDecorator(DeclaresStub, Protocol):
    """The type of tm.stub: a decorator, or a call with options that returns one."""

    @overload
    def __call__(self, function: Callable[P, Coroutine[Any, Any, R]], /) -> Task[P, R]: ...
    @overload
    def __call__(self, function: Callable[P, R], /) -> Task[P, R]: ...
    @overload
    def __call__(
        self, *, event: str = ..., queue: str = ..., deduplicate: bool = ...
    ) -> DeclaresStub: ...


class Tasks:
    """Tasks declared where no TaskManager is at hand. A TaskManager includes them later.

        tasks = Tasks(queue="mail", prefix="mail.")

        @tasks.task
        async def greet(name: str, times: int = 1) -> str: ...

        tm.include(tasks)            # or include=["shop.tasks"], the module that has them

    - `queue`: the queue of their jobs. Default: "default".
    - `prefix`: what their events begin with.
    - `app`: their TaskManager as "module:attribute". It is imported at the first emit in a process
      that has not included the tasks yet.
    """

    def __init__(
        self, *, queue: str = DEFAULT_QUEUE, prefix: str = "", app: str | None = None
    ) -> None:
        self._queue = check_name("queue", queue)
        self._prefix = prefix and check_name("event", prefix)
        self._app = app
        self._declared: dict[tuple[str, str], tuple[KnownTask, Any]] = {}
        self._home: Home | None = None
        self._lock = Lock()

    @property
    def task(self) -> TaskDecorator:
        """Turn a function into a task; as a plain decorator, or with TaskOptions.

        Raises InvalidHandler if a worker could not call the function, InvalidOption if the event
        already has another function, and AlreadyStarted while a worker runs.
        """
        return self._task

    @property
    def stub(self) -> StubDecorator:
        """Declare a task that runs elsewhere, by its signature. It registers no handler."""
        return self._stub

    @property
    def home(self) -> Home | None:
        """What connects them to the TaskManager that included them; None before that."""
        return self._home

    def join(self, home: Home, *, register: bool = True) -> None:
        """Attach them to a task manager. It also runs them, unless its worker runs already.

        Raises InvalidOption if they belong to another one.
        """
        with self._lock:
            if self._home is not None and self._home != home:
                allowed = "it belongs to another TaskManager: create one Tasks() for each of them"
                raise InvalidOption("include", self, allowed)
            if self._home is None and register:
                home.registry.add_tasks(self._declared)
            self._home = home

    def _task(self, function: Any = None, /, **options: Any) -> Any:
        _refuse_unknown(TASK, options)
        if function is None:
            return lambda it: self._declare(it, options)
        return self._declare(function, options)

    def _stub(self, function: Any = None, /, **options: Any) -> Any:
        _refuse_unknown(STUB, options)
        if function is None:
            return lambda it: self._made(Task, it, options)
        return self._made(Task, function, options)

    def _declare(self, function: Any, options: Mapping[str, Any]) -> Task[Any, Any]:
        kind = AsyncTask if is_coroutine_function(function) else SyncTask
        beside = {name: value for name, value in options.items() if name not in STUB.keywords}
        checked = handler_options(beside)
        debounce, repeat = checked.pop("debounce", None), checked.pop("repeat", None)
        made = self._made(
            kind, function, options, debounce=debounce, requires=checked.get("requires", ())
        )
        known = KnownTask(
            made.function, True, options=checked, debounce=debounce,
            event=made.event, signature=made.signature,
        )  # fmt: skip
        self._add(made.queue, made.event, known, repeat)
        return made

    def _made(
        self, kind: type[Task[Any, Any]], function: Any, options: Mapping[str, Any], **more: Any
    ) -> Task[Any, Any]:
        function = refuse_unfit(function)
        event, queue = options.get("event"), options.get("queue")
        if event is None:
            event = default_event(function)
        return kind(
            function,
            event=check_name(
                "event", f"{self._prefix}{event}" if isinstance(event, str) else event
            ),
            queue=check_name("queue", self._queue if queue is None else queue),
            home=self._found_home,
            deduplicate=flag("deduplicate", options.get("deduplicate", False)),
            **more,
        )

    def _add(self, queue: str, event: str, known: KnownTask, repeat: Any) -> None:
        with self._lock:
            before = self._declared.get((queue, event))
            if before is not None:
                known.refuse_other(before[0].call, queue, event)
            if self._home is not None:
                self._home.registry.add_tasks({(queue, event): (known, repeat)})
            self._declared[queue, event] = known, repeat

    def _found_home(self, task: str) -> Home:
        if self._home is not None:
            return self._home
        homes = homes_of(self) if self._app is None else [_home_of(self._app)]
        if len(homes) != 1:
            raise NotIncluded(task)
        self.join(homes[0], register=not homes[0].registry.frozen)
        return homes[0]

    def __repr__(self) -> str:
        names = ", ".join(event for _, event in self._declared)
        return f"<Tasks {names or 'without any'}>"


def _home_of(app: str) -> Home:
    """Return the task home of the TaskManager at "module:attribute"."""
    module, _, path = app.partition(":")
    if not module or not path:
        raise InvalidOption("app", app, 'give "module:attribute", for example "shop.app:tm"')
    found: Any = import_module(module)
    for name in path.split("."):
        found = getattr(found, name, None)
    home = getattr(found, "task_home", None)
    if not isinstance(home, Home):
        raise InvalidOption("app", app, f"it is {found!r}, not a TaskManager")
    return home


def _refuse_unknown(table: Table, options: Mapping[str, Any]) -> None:
    for name in options:
        if name not in table.keywords:
            raise UnknownOption(name, table.allowed, table.where)
