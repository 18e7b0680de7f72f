"""What a handler gets beside its job: the application's own things and emit."""

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
    """The type of ``ctx.emit``."""

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
    """What a context needs of the emitter."""

    def emit(
        self, event: Any, arguments: Mapping[str, Any], *, on_success: bool = False
    ) -> Emission[Any]:
        """Check everything and send the job."""


class Context(Generic[T]):
    """A read-only view of what was given as ctx= or yielded by lifespan=, plus ``emit``.

    The things in it are reached as attributes (``ctx.db``) or keys
    (``ctx["db"]``), whether the original is a mapping or an object. ``app`` is
    the original itself, with its type.
    """

    __slots__ = ("__app", "__emitter")

    def __init__(self, app: T, emitter: Emits) -> None:
        refuse_emit(app)
        object.__setattr__(self, "_Context__app", app)
        object.__setattr__(self, "_Context__emitter", emitter)

    @property
    def app(self) -> T:
        """What was given as ctx=, unchanged."""
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
        """Emit a job: at once, or with on_success together with this job's completion.

        Works like TaskManager.emit. A job emitted at once stays even if the
        handler fails afterwards. With on_success=True it is added in the same
        step that records this job as completed, and not at all when that does
        not happen; one of another queue is committed in that step and added there
        right after. A job may have 500 such children of 1 MiB together. Its handle
        has created=None.
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
        """Return a context to call a handler or task with in a unit test; nothing needs Redis.

        It has the fields (db=db), or what app has. What is emitted with it is checked and kept in
        its ``emitted``, on_success jobs too; nothing is sent.
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
        raise AttributeError(f"ctx is read-only: set {name!r} on ctx.app, all handlers share it")

    def __delattr__(self, name: str) -> None:
        raise AttributeError(f"ctx is read-only: delete {name!r} from ctx.app")

    def __repr__(self) -> str:
        return f"<Context of {', '.join(_names(self.app)) or 'nothing'}>"

    def __nothing_named(self, name: object) -> str:
        return f"ctx has no {name!r}; it has: {', '.join(['app', 'emit', *_names(self.app)])}"


class FakeContext(Context[T]):
    """A context that no worker made; see Context.fake. emitted has the jobs, oldest first."""

    __slots__ = ("__emitted",)

    def __init__(self, app: Any) -> None:
        recorder = Recorder()
        super().__init__(app, recorder)
        object.__setattr__(self, "_FakeContext__emitted", recorder.emitted)

    @property
    def emitted(self) -> list[CapturedJob]:
        """The jobs that were emitted with it, oldest first."""
        found: list[CapturedJob] = object.__getattribute__(self, "_FakeContext__emitted")
        return found


def refill(context: Context[Any], app: object) -> None:
    """Put another application into a context, for everybody who has it."""
    refuse_emit(app)
    object.__setattr__(context, "_Context__app", app)


def refuse_emit(app: object) -> None:
    """Raise InvalidOption when app has an ``emit`` of its own, which ctx.emit would hide."""
    if isinstance(app, Mapping):
        found = "emit" in app
    else:
        # Statically, because a mock has every attribute that it is asked for.
        found = inspect.getattr_static(app, "emit", None) is not None
    if found:
        raise InvalidOption(
            "ctx with its own", "emit", "ctx.emit is how handlers emit jobs; call yours otherwise"
        )


def _getter(app: object) -> Callable[[Any], Any]:
    if isinstance(app, Mapping):
        return app.__getitem__
    return lambda name: getattr(app, name)


def _names(app: object) -> list[str]:
    names = app if isinstance(app, Mapping) else getattr(app, "__dict__", {})
    return [name for name in names if isinstance(name, str) and not name.startswith("_")]
