"""Background jobs on Redis Streams: register handlers, emit jobs, run workers.

Names are imported when they are first used, so that ``--help`` stays quick.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from consumers.dead_letters import DeadLetter
    from consumers.errors import (
        BrokenKey,
        InvalidInput,
        InvalidName,
        InvalidPriority,
        JobTimeout,
        LayoutMismatch,
        LeaseLost,
        NotSerializable,
        QueueFull,
        RedisUnavailable,
        TaskManagerError,
        TooLarge,
        TooManyLanes,
        TooManyPaused,
        UnknownOption,
        WriterRefused,
    )
    from consumers.inspector import LaneStats, QueueStats
    from consumers.job import FakeJob, Job
    from consumers.policy import CallNext
    from processors.cron_pattern import InvalidSchedule
    from processors.retry import RetryPolicy
    from processors.signals import Discard, Retry, Snooze
    from taskmanager.context import Context, EmitFunction
    from taskmanager.emission import Emission, EmitManyError
    from taskmanager.errors import (
        AlreadyInitializedError,
        AlreadyStarted,
        ConflictingOptions,
        EmbeddedError,
        InvalidHandler,
        InvalidOption,
        InvalidPayload,
        JobCancelled,
        JobFailed,
        LoopHasEnded,
        LoopIsRunning,
        NoEventLoop,
        NoHandlers,
        NoSuchSchedule,
        NotConfigured,
        NotConfirmedYet,
        NotInHandler,
        NotReplayable,
        OtherLoop,
        OwnJob,
        ResultExpired,
        ResultTimeout,
        ResultUnavailable,
        ScheduleRefused,
        WorkerBroken,
    )
    from taskmanager.facts import (
        CancelOutcome,
        JobInfo,
        JobState,
        LogLine,
        Progress,
        ScheduleInfo,
    )
    from taskmanager.handle import JobHandle
    from taskmanager.handlers import HandlerOptions, TaskHandler
    from taskmanager.manager import TaskManager
    from taskmanager.middleware import Middleware
    from taskmanager.request import EmitArguments
    from taskmanager.schedules import ScheduleHandle
    from taskmanager.settings import Settings
    from taskmanager.sync_handle import SyncJobHandle

__all__ = [
    "TaskManager",
    "Job",
    "Context",
    "JobHandle",
    "SyncJobHandle",
    "ScheduleHandle",
    "Emission",
    "Settings",
    # What handlers may raise, and how they are retried
    "Retry",
    "Snooze",
    "Discard",
    "RetryPolicy",
    # What is told of jobs and queues
    "JobState",
    "JobInfo",
    "LogLine",
    "Progress",
    "CancelOutcome",
    "ScheduleInfo",
    "DeadLetter",
    "QueueStats",
    "LaneStats",
    # For unit tests of handlers
    "FakeJob",
    # Types
    "TaskHandler",
    "HandlerOptions",
    "Middleware",
    "CallNext",
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
    "InvalidPayload",
    "InvalidPriority",
    "InvalidSchedule",
    "JobCancelled",
    "JobFailed",
    "JobTimeout",
    "LayoutMismatch",
    "LeaseLost",
    "LoopHasEnded",
    "LoopIsRunning",
    "NoEventLoop",
    "NoHandlers",
    "NoSuchSchedule",
    "WorkerBroken",
    "NotConfigured",
    "NotConfirmedYet",
    "NotInHandler",
    "NotReplayable",
    "NotSerializable",
    "OtherLoop",
    "OwnJob",
    "QueueFull",
    "RedisUnavailable",
    "ResultExpired",
    "ResultTimeout",
    "ResultUnavailable",
    "ScheduleRefused",
    "TooLarge",
    "TooManyLanes",
    "TooManyPaused",
    "UnknownOption",
    "WriterRefused",
]

_HOMES = {
    "TaskManager": "taskmanager.manager",
    "Job": "consumers.job",
    "Context": "taskmanager.context",
    "EmitFunction": "taskmanager.context",
    "JobHandle": "taskmanager.handle",
    "SyncJobHandle": "taskmanager.sync_handle",
    "Retry": "processors.signals",
    "Snooze": "processors.signals",
    "Discard": "processors.signals",
    "RetryPolicy": "processors.retry",
    "JobState": "taskmanager.facts",
    "JobInfo": "taskmanager.facts",
    "LogLine": "taskmanager.facts",
    "Progress": "taskmanager.facts",
    "CancelOutcome": "taskmanager.facts",
    "ScheduleInfo": "taskmanager.facts",
    "ScheduleHandle": "taskmanager.schedules",
    "DeadLetter": "consumers.dead_letters",
    "QueueStats": "consumers.inspector",
    "LaneStats": "consumers.inspector",
    "FakeJob": "consumers.job",
    "HandlerOptions": "taskmanager.handlers",
    "CallNext": "consumers.policy",
    "Middleware": "taskmanager.middleware",
    "Emission": "taskmanager.emission",
    "Settings": "taskmanager.settings",
    "TaskHandler": "taskmanager.handlers",
    "EmitArguments": "taskmanager.request",
    "EmitManyError": "taskmanager.emission",
}
# Every other name is an error of one of these.
_ERRORS = (
    "consumers.errors",
    "taskmanager.errors",
    "processors.cron_pattern",
)


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
