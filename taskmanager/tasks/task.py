"""A task: a function that you emit with a call that looks like its own."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Mapping
from functools import update_wrapper
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, NoReturn, ParamSpec, TypeVar, Unpack

from consumers.errors import UnknownOption
from consumers.jobs.names import check_name
from processors.debounce import DebounceManager
from taskmanager.admin.jobs import Jobs
from taskmanager.emit.emission import Emission
from taskmanager.emit.emitter import Emitter
from taskmanager.errors import InvalidOption
from taskmanager.handlers.registry import Registry
from taskmanager.handles.handle import JobHandle
from taskmanager.handles.sync_handle import SyncJobHandle
from taskmanager.options.arguments import CallOptions
from taskmanager.options.checks import flag
from taskmanager.options.debounce import DEBOUNCE_OPTIONS
from taskmanager.options.forms import Rules
from taskmanager.options.request import EmitsItself, Prepared, Way
from taskmanager.tasks.signature import TaskSignature

P = ParamSpec("P")
R = TypeVar("R")

# Options that decide which emits are one job.
_OWN_IDENTITY = frozenset({"id", "idempotency_key", "repeat", *DEBOUNCE_OPTIONS})


class Home(NamedTuple):
    """What a task needs from its task manager."""

    emitter: Emitter
    jobs: Jobs
    registry: Registry


class Call(Prepared, Generic[R]):
    """A call of a task that is not emitted yet: what `bind` returns and `emit_many` takes."""

    __slots__ = ()


class Task(EmitsItself, Generic[P, R]):
    """A function that can be emitted with its own arguments; `@tm.task` makes one.

    Each emit is a separate job, even with equal arguments; `deduplicate=True` makes equal arguments
    one live job. Name, docstring and signature are the function's.

    A plain Task is a stub (see `tm.stub`): it can be emitted but not called. AsyncTask and SyncTask
    can be called, too.

    - `event`: the event of its jobs.
    - `queue`: the queue they go to.
    - `function`: the undecorated function.
    - `deduplicate`: whether equal arguments are one live job.
    - `signature`: how the arguments are checked; for internal use.
    """

    def __init__(
        self,
        function: Callable[..., Any],
        *,
        event: str,
        queue: str,
        home: Callable[[str], Home],
        deduplicate: bool = False,
        debounce: DebounceManager | None = None,
        requires: tuple[str, ...] = (),
    ) -> None:
        update_wrapper(self, function, updated=())  # type: ignore[arg-type]
        # A partial or an object has no __name__.
        self.__name__ = getattr(function, "__name__", event)
        self.function = function
        self.event = event
        self.queue = queue
        self.deduplicate = deduplicate
        self.signature = TaskSignature(function, name=self.__name__)
        self._home = home
        self._debounce = debounce
        self._requires = requires
        self._options: dict[str, Any] = {}
        self._on_success = False
        self._way = Way(_Checks(self.signature, debounce, requires), self.signature.read_result)

    def emit(self, /, *args: P.args, **kwargs: P.kwargs) -> Emission[R]:
        """Emit a job that calls the function with these arguments. Await it to get the JobHandle.

            handle = await greet.emit("Ada", times=2)

        The arguments are checked like a call, and then against the annotated types, before anything
        is sent. In a handler it works like `ctx.emit`.

        Raises InvalidArguments (a TypeError), InvalidPayload, NotIncluded, and what
        TaskManager.emit raises. Repeating an emit after RedisUnavailable may add a second job. To
        prevent that, use `options(id=...)` or `options(idempotency_key=...)`.
        """
        return self._at_home.emitter.emit(
            self.event,
            self._arguments(args, kwargs),
            on_success=self._on_success,
            way=self._way,
        )

    def emit_sync(self, /, *args: P.args, **kwargs: P.kwargs) -> SyncJobHandle[R]:
        """Emit from a thread without an event loop, and return once Redis has the job.

        On a running event loop it raises LoopIsRunning.
        """
        return self._at_home.emitter.emit_sync(
            self.event,
            self._arguments(args, kwargs),
            on_success=self._on_success,
            way=self._way,
        )

    def bind(self, /, *args: P.args, **kwargs: P.kwargs) -> Call[R]:
        """Return the call without emitting it, for emit_many. Raises InvalidArguments."""
        arguments = self._arguments(args, kwargs)
        return Call(
            self.event,
            arguments,
            self._way,
            owner=lambda: self._at_home.emitter,
            on_success=self._on_success,
        )

    async def emit_many(self, calls: Iterable[Call[R]]) -> list[JobHandle[R]]:
        """Emit many calls, of this task or others of its TaskManager; return handles in order.

            await greet.emit_many(greet.bind(name) for name in names)

        Raises what TaskManager.emit_many raises.
        """
        return await self._at_home.emitter.emit_many(_calls(calls))

    def emit_many_sync(self, calls: Iterable[Call[R]]) -> list[SyncJobHandle[R]]:
        """Emit many calls from a thread without an event loop; return once Redis has all."""
        return self._at_home.emitter.emit_many_sync(_calls(calls))

    def options(self, **options: Unpack[CallOptions]) -> Task[P, R]:
        """Return a copy of the task that emits with these options.

            await greet.options(delay=60, priority=5).emit("Ada")

        CallOptions lists them. You may keep the copy, and further calls of `options` add to it. In
        a handler, `on_success=True` adds the job in the step that completes the handler's own job.

        Raises UnknownOption here, and InvalidOption for a bad value here or at the emit.
        """
        _refuse_unknown(self.__name__, options)
        made = copy.copy(self)
        made._options = {**self._options, **options}
        made._on_success = flag("on_success", made._options.pop("on_success", self._on_success))
        made.deduplicate = flag("deduplicate", made._options.pop("deduplicate", self.deduplicate))
        if (queue := made._options.pop("queue", None)) is not None:
            made.queue = check_name("queue", queue)
            if not self._is_stub:
                # Checked at the emit, since no worker would read a misspelt queue.
                checks = _Checks(
                    self.signature, self._debounce, self._requires, self._say_unhandled
                )
                made._way = Way(checks, self._way.read)
        return made

    def handle(self, id: str) -> JobHandle[R]:
        """Return a handle for a job of this task by its id. Its result has the return type."""
        return JobHandle(id, self.queue, None, jobs=self._at_home.jobs, read=self._way.read)

    @property
    def _is_stub(self) -> bool:
        return type(self) is Task

    def _say_unhandled(self, queue: str, event: str) -> None:
        self._at_home.registry.say_unhandled(queue, event)

    @property
    def _at_home(self) -> Home:
        return self._home(self.__name__)

    def _arguments(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> dict[str, Any]:
        data = self.signature.bind(args, kwargs)
        arguments = {"queue": self.queue, "data": data, **self._options}
        if not self.deduplicate and not self._says_identity:
            arguments["deduplicate"] = False
        return arguments

    @property
    def _says_identity(self) -> bool:
        if self._debounce is not None:
            return True
        return any(
            self._options.get(name) is not None for name in self._options if name in _OWN_IDENTITY
        )

    # Hidden from type checkers, so that they report a call of a stub.
    if not TYPE_CHECKING:

        def __call__(self, *args: object, **kwargs: object) -> NoReturn:
            raise TypeError(
                f"{self.__name__} is a stub for a task that runs elsewhere: "
                f"call await {self.__name__}.emit(...)"
            )

    def __repr__(self) -> str:
        return f"<task {self.event!r} in queue {self.queue!r}>"


class AsyncTask(Task[P, R]):
    """A task made from a coroutine function. Calling it calls that function."""

    async def __call__(self, /, *args: P.args, **kwargs: P.kwargs) -> R:
        """Call the plain function. Nothing is checked, injected or emitted."""
        returned: R = await self.function(*args, **kwargs)
        return returned


class SyncTask(Task[P, R]):
    """A task made from a plain function, which runs in a thread. Calling it calls that function."""

    def __call__(self, /, *args: P.args, **kwargs: P.kwargs) -> R:
        """Call the plain function. Nothing is checked, injected or emitted."""
        returned: R = self.function(*args, **kwargs)
        return returned


class _Checks:
    """What is known about a task wherever it is emitted, registered there or not.

    That never changes. `on_emit` is called with queue and event of each emit that passes the check.
    """

    changes = 0

    def __init__(
        self,
        signature: TaskSignature,
        debounce: DebounceManager | None,
        requires: tuple[str, ...],
        on_emit: Callable[[str, str], None] | None = None,
    ) -> None:
        self._signature = signature
        self.debounce = debounce
        self.requires = requires
        self._on_emit = on_emit

    def names_of(self, handler: Callable[..., Any]) -> list[tuple[str, str]]:
        """Return nothing, since tasks are not emitted through tm.emit."""
        return []

    def rules_of(self, queue: str, event: str) -> Rules:
        """Return these checks, which are the same for every queue."""
        return self

    def check(self, queue: str, event: str, data: bytes) -> None:
        """Raise InvalidPayload if the data does not fit the parameters."""
        self._signature.payload.check(queue, event, data)
        if self._on_emit is not None:
            self._on_emit(queue, event)


def _calls(calls: Iterable[Call[Any]]) -> list[Call[Any]]:
    if isinstance(calls, Call):
        raise InvalidOption("calls", calls, "give a list of bound calls, or emit this one alone")
    found = list(calls)
    for it in found:
        if not isinstance(it, Call):
            raise InvalidOption("call", it, "give a bound call such as greet.bind('Ada')")
    return found


def _refuse_unknown(task: str, options: Mapping[str, Any]) -> None:
    allowed = CallOptions.__annotations__
    for name in options:
        if name not in allowed:
            raise UnknownOption(name, list(allowed), f"{task}.options")
