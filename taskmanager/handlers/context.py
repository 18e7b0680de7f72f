"""The context that a handler receives beside its job: the application's objects, and emit."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Coroutine, Iterator, Mapping
from typing import Any, Concatenate, Generic, Protocol, Unpack, overload

from typing_extensions import TypeVar

from consumers.jobs.job import Job
from taskmanager.emit.capture import CapturedJob, Recorder
from taskmanager.emit.emission import Emission
from taskmanager.errors import ConflictingOptions, InvalidOption
from taskmanager.options.arguments import EmitArguments, EmitWithoutData

T = TypeVar("T", default=Any)
D = TypeVar("D")
R = TypeVar("R")
A = TypeVar("A")


class EmitFunction(Protocol):
    """The type of `ctx.emit`, for annotating functions that receive it. See Context.emit."""

    @overload
    def __call__(
        self,
        event: str | Mapping[str, Any],
        *,
        on_success: bool = False,
        **arguments: Unpack[EmitArguments],
    ) -> Emission[Any]: ...
    @overload
    def __call__(
        self,
        event: Callable[Concatenate[Job[D], ...], Coroutine[Any, Any, R]],
        *,
        data: D,
        on_success: bool = False,
        **arguments: Unpack[EmitWithoutData],
    ) -> Emission[R]: ...
    @overload
    def __call__(
        self,
        event: Callable[Concatenate[Job[D], ...], R],
        *,
        data: D,
        on_success: bool = False,
        **arguments: Unpack[EmitWithoutData],
    ) -> Emission[R]: ...


class Emits(Protocol):
    """What a context needs from the emitter."""

    def emit(
        self, event: Any, arguments: Mapping[str, Any], *, on_success: bool = False
    ) -> Emission[Any]:
        """Check the arguments and send the job."""


class Context(Generic[T]):
    """What a handler receives beside its job: the application's objects, and `emit`.

    The objects come from `TaskManager(ctx=...)`, or from what `lifespan=` yields. You reach them as
    attributes (`ctx.db`) or as keys (`ctx["db"]`), whether the original is a dict or an object.
    `app` is the original, with its type: in `Context[State]` it is a State.

    A context is read-only. All handlers of a worker share its objects.
    """

    __slots__ = ("__app", "__emitter")

    def __init__(self, app: T, emitter: Emits) -> None:
        refuse_emit(app)
        object.__setattr__(self, "_Context__app", app)
        object.__setattr__(self, "_Context__emitter", emitter)

    @property
    def app(self) -> T:
        """The original object: what `ctx=` was given, or what the lifespan yielded."""
        app: T = object.__getattribute__(self, "_Context__app")
        return app

    @overload
    def emit(
        self,
        event: str | Mapping[str, Any],
        *,
        on_success: bool = False,
        **arguments: Unpack[EmitArguments],
    ) -> Emission[Any]: ...
    @overload
    def emit(
        self,
        event: Callable[Concatenate[Job[D], ...], Coroutine[Any, Any, R]],
        *,
        data: D,
        on_success: bool = False,
        **arguments: Unpack[EmitWithoutData],
    ) -> Emission[R]: ...
    @overload
    def emit(
        self,
        event: Callable[Concatenate[Job[D], ...], R],
        *,
        data: D,
        on_success: bool = False,
        **arguments: Unpack[EmitWithoutData],
    ) -> Emission[R]: ...
    def emit(self, event: Any, *, on_success: bool = False, **arguments: Any) -> Emission[Any]:
        """Emit a job from a handler, either at once or together with the completion of this job.

        Takes the arguments of TaskManager.emit, and `on_success`:

        - False: the job is sent at once. It stays even if the handler fails afterwards.
        - True: the job is added in the same step that records this job as completed. If this job
          does not complete, it is never added. If it belongs to another queue, it is committed in
          that step and appears in its queue right after. One job can emit up to 500 jobs like this,
          1 MiB in all. Their handles have `created=None`.

        Raises what TaskManager.emit raises, and NotInHandler for `on_success=True` outside a
        handler of this task manager.
        """
        emitter: Emits = object.__getattribute__(self, "_Context__emitter")
        return emitter.emit(event, arguments, on_success=on_success)

    @overload
    @staticmethod
    def fake(app: A, /) -> FakeContext[A]: ...
    @overload
    @staticmethod
    def fake(**fields: Any) -> FakeContext[Any]: ...
    @staticmethod
    def fake(app: Any = None, /, **fields: Any) -> FakeContext[Any]:
        """Return a context for calling a handler or task in a unit test. It needs no Redis.

        `Context.fake(db=db)` has the given fields; `Context.fake(app)` has what `app` has. Whatever
        is emitted with it is checked, collected in its `emitted`, and not sent.
        """
        if app is not None and fields:
            raise ConflictingOptions("the first argument", "keywords", "Context.fake")
        return FakeContext(fields if app is None else app)

    def __getattr__(self, name: str) -> Any:
        try:
            return _getter(self.app)(name)
        except (KeyError, AttributeError):
            raise AttributeError(self.__nothing_named(name)) from None

    def __getitem__(self, name: str) -> Any:
        try:
            return _getter(self.app)(name)
        except (KeyError, AttributeError):
            raise KeyError(self.__nothing_named(name)) from None

    def __contains__(self, name: object) -> bool:
        try:
            _getter(self.app)(name)
        except (KeyError, AttributeError, TypeError):
            return False
        return True

    def __iter__(self) -> Iterator[str]:
        return iter(_names(self.app))

    def __dir__(self) -> list[str]:
        return ["app", "emit", *_names(self.app)]

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"ctx is read-only: set {name!r} on ctx.app, which all handlers share")

    def __delattr__(self, name: str) -> None:
        raise AttributeError(f"ctx is read-only: delete {name!r} from ctx.app")

    def __repr__(self) -> str:
        return f"<Context of {', '.join(_names(self.app)) or 'nothing'}>"

    def __nothing_named(self, name: object) -> str:
        return f"ctx has no {name!r}; it has: {', '.join(['app', 'emit', *_names(self.app)])}"


class FakeContext(Context[T]):
    """The context that Context.fake returns, for unit tests."""

    __slots__ = ("__emitted",)

    def __init__(self, app: Any) -> None:
        recorder = Recorder()
        super().__init__(app, recorder)
        object.__setattr__(self, "_FakeContext__emitted", recorder.emitted)

    @property
    def emitted(self) -> list[CapturedJob]:
        """The jobs emitted with this context, oldest first, including `on_success=True` ones."""
        found: list[CapturedJob] = object.__getattribute__(self, "_FakeContext__emitted")
        return found


def refill(context: Context[Any], app: object) -> None:
    """Replace the application's object in a context, for everything that holds the context."""
    refuse_emit(app)
    object.__setattr__(context, "_Context__app", app)


def refuse_emit(app: object) -> None:
    """Raise InvalidOption if `app` has an attribute `emit`, which `ctx.emit` would hide."""
    if isinstance(app, Mapping):
        found = "emit" in app
    else:
        # Statically, because a mock claims to have every attribute.
        found = inspect.getattr_static(app, "emit", None) is not None
    if found:
        raise InvalidOption(
            "ctx with its own", "emit", "handlers emit jobs with ctx.emit; give yours another name"
        )


def _getter(app: object) -> Callable[[Any], Any]:
    if isinstance(app, Mapping):
        return app.__getitem__
    return lambda name: getattr(app, name)


def _names(app: object) -> list[str]:
    names = app if isinstance(app, Mapping) else getattr(app, "__dict__", {})
    return [name for name in names if isinstance(name, str) and not name.startswith("_")]
