"""Background jobs on Redis Streams: register handlers, emit jobs, run workers.

Names are imported when they are first used, so that ``--help`` stays quick.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from consumers.errors import (
        BrokenKey,
        InvalidInput,
        InvalidName,
        InvalidPriority,
        LayoutMismatch,
        LeaseLost,
        NotSerializable,
        QueueFull,
        RedisUnavailable,
        TaskManagerError,
        TooLarge,
        TooManyLanes,
        UnknownOption,
        WriterRefused,
    )
    from consumers.job import Job
    from taskmanager.context import Context, EmitFunction
    from taskmanager.embedded import EmbeddedError
    from taskmanager.emission import Emission
    from taskmanager.errors import (
        AlreadyInitializedError,
        AlreadyStarted,
        ConflictingOptions,
        EmitManyError,
        InvalidHandler,
        InvalidOption,
        LoopHasEnded,
        LoopIsRunning,
        NoEventLoop,
        NoHandlers,
        NotConfigured,
        NotConfirmedYet,
        NotInHandler,
        OtherLoop,
        OwnJob,
    )
    from taskmanager.handle import JobHandle
    from taskmanager.handlers import TaskHandler
    from taskmanager.manager import TaskManager
    from taskmanager.request import EmitArguments
    from taskmanager.settings import Settings

__all__ = [
    "TaskManager",
    "Job",
    "Context",
    "JobHandle",
    "Emission",
    "Settings",
    # Types
    "TaskHandler",
    "EmitFunction",
    "EmitArguments",
    # Errors
    "TaskManagerError",
    "AlreadyInitializedError",
    "AlreadyStarted",
    "BrokenKey",
    "ConflictingOptions",
    "EmbeddedError",
    "EmitManyError",
    "InvalidHandler",
    "InvalidInput",
    "InvalidName",
    "InvalidOption",
    "InvalidPriority",
    "LayoutMismatch",
    "LeaseLost",
    "LoopHasEnded",
    "LoopIsRunning",
    "NoEventLoop",
    "NoHandlers",
    "NotConfigured",
    "NotConfirmedYet",
    "NotInHandler",
    "NotSerializable",
    "OtherLoop",
    "OwnJob",
    "QueueFull",
    "RedisUnavailable",
    "TooLarge",
    "TooManyLanes",
    "UnknownOption",
    "WriterRefused",
]

_HOMES = {
    "TaskManager": "taskmanager.manager",
    "Job": "consumers.job",
    "Context": "taskmanager.context",
    "EmitFunction": "taskmanager.context",
    "JobHandle": "taskmanager.handle",
    "Emission": "taskmanager.emission",
    "Settings": "taskmanager.settings",
    "TaskHandler": "taskmanager.handlers",
    "EmitArguments": "taskmanager.request",
    "EmbeddedError": "taskmanager.embedded",
}
# Every other name is an error of one of these.
_ERRORS = ("consumers.errors", "taskmanager.errors")


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    for home in (_HOMES[name],) if name in _HOMES else _ERRORS:
        value = getattr(import_module(home), name, None)
        if value is not None:
            globals()[name] = value
            return value
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
