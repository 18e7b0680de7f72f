"""Background jobs on Redis Streams: register handlers, emit jobs, run workers.

Names are imported on first use, so that `--help` stays fast.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from taskmanager.shadows import is_command_line, refuse_shadows

if TYPE_CHECKING:
    from consumers.admin.dead_letters import DeadLetter
    from consumers.admin.explanation import Explanation, QueueExplanation, ReasonCount
    from consumers.admin.figures import LaneStats, QueueStats
    from consumers.admin.routes import RouteInfo
    from consumers.admin.workers import WorkerInfo
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
        TooManyRoutes,
        UnknownClause,
        UnknownOption,
        WriterRefused,
    )
    from consumers.jobs.job import FakeJob, Job
    from consumers.policy import CallNext
    from processors.debounce import DebounceManager
    from processors.retries.retry import RetryPolicy
    from processors.retries.signals import Discard, Retry, Snooze
    from processors.schedules.pattern import InvalidSchedule
    from taskmanager.admin.schedules import ScheduleHandle
    from taskmanager.configuration import TaskManagerOptions
    from taskmanager.emit.capture import CapturedJob
    from taskmanager.emit.emission import Emission
    from taskmanager.emit.errors import EmitManyError, NoCapableWorker
    from taskmanager.errors import (
        AlreadyInitializedError,
        AlreadyStarted,
        ConflictingOptions,
        EmbeddedError,
        InvalidHandler,
        InvalidOption,
        InvalidPayload,
        LoopHasEnded,
        LoopIsRunning,
        MissingCapabilities,
        NoEventLoop,
        NoHandlers,
        NoSuchSchedule,
        NotConfigured,
        NotConfirmedYet,
        NotInHandler,
        NotReplayable,
        OtherLoop,
        OwnJob,
        ScheduleRefused,
        WorkerBroken,
    )
    from taskmanager.handlers.context import Context, EmitFunction, FakeContext
    from taskmanager.handlers.middleware import Middleware
    from taskmanager.handlers.signature import RegisterHandlerOptions, TaskHandler
    from taskmanager.handles.errors import (
        InvalidResult,
        JobCancelled,
        JobFailed,
        JobNotFound,
        ResultExpired,
        ResultTimeout,
        ResultUnavailable,
    )
    from taskmanager.handles.handle import JobHandle
    from taskmanager.handles.info import (
        CancelOutcome,
        JobInfo,
        JobState,
        LogLine,
        Progress,
        ScheduleInfo,
    )
    from taskmanager.handles.sync_handle import SyncJobHandle
    from taskmanager.manager import TaskManager
    from taskmanager.options.arguments import (
        CallOptions,
        EmitArguments,
        EmitOptions,
        HandlerOptions,
        HandlerRepeat,
        ProcessorOptions,
        Repeat,
    )
    from taskmanager.options.request import gen_job_id_sync
    from taskmanager.settings import Settings
    from taskmanager.tasks.errors import InvalidArguments, NotIncluded, UnknownParameters
    from taskmanager.tasks.injected import injected
    from taskmanager.tasks.task import AsyncTask, Call, SyncTask, Task
    from taskmanager.tasks.tasks import TaskOptions, Tasks

__all__ = [
    "TaskManager",
    "Job",
    "Context",
    "JobHandle",
    "SyncJobHandle",
    "ScheduleHandle",
    "Emission",
    "Settings",
    # Functions as tasks
    "Tasks",
    "Task",
    "AsyncTask",
    "SyncTask",
    "Call",
    "injected",
    # What handlers raise to steer their job, and how failed jobs are retried
    "Retry",
    "Snooze",
    "Discard",
    "RetryPolicy",
    # Merging many emits into one run, and the id that equal emits share
    "DebounceManager",
    "gen_job_id_sync",
    # Values that describe jobs and queues
    "JobState",
    "JobInfo",
    "LogLine",
    "Progress",
    "CancelOutcome",
    "ScheduleInfo",
    "DeadLetter",
    "Explanation",
    "QueueExplanation",
    "ReasonCount",
    "QueueStats",
    "LaneStats",
    "WorkerInfo",
    "RouteInfo",
    # For unit tests of handlers
    "FakeJob",
    "FakeContext",
    "CapturedJob",
    # Types
    "TaskHandler",
    "TaskManagerOptions",
    "ProcessorOptions",
    "RegisterHandlerOptions",
    "HandlerOptions",
    "TaskOptions",
    "CallOptions",
    "HandlerRepeat",
    "Middleware",
    "CallNext",
    "EmitFunction",
    "EmitArguments",
    "EmitOptions",
    "Repeat",
    # Errors
    "TaskManagerError",
    "AlreadyInitializedError",
    "AlreadyStarted",
    "BrokenKey",
    "ConflictingOptions",
    "EmbeddedError",
    "EmitManyError",
    "InvalidArguments",
    "InvalidHandler",
    "InvalidInput",
    "InvalidName",
    "InvalidOption",
    "InvalidPayload",
    "InvalidPriority",
    "InvalidResult",
    "InvalidSchedule",
    "JobCancelled",
    "JobFailed",
    "JobNotFound",
    "JobTimeout",
    "LayoutMismatch",
    "LeaseLost",
    "LoopHasEnded",
    "LoopIsRunning",
    "MissingCapabilities",
    "NoCapableWorker",
    "NoEventLoop",
    "NoHandlers",
    "NoSuchSchedule",
    "WorkerBroken",
    "NotConfigured",
    "NotConfirmedYet",
    "NotInHandler",
    "NotIncluded",
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
    "TooManyRoutes",
    "UnknownClause",
    "UnknownOption",
    "UnknownParameters",
    "WriterRefused",
]

_HOMES = {
    "TaskManager": "taskmanager.manager",
    "Job": "consumers.jobs.job",
    "Context": "taskmanager.handlers.context",
    "EmitFunction": "taskmanager.handlers.context",
    "JobHandle": "taskmanager.handles.handle",
    "SyncJobHandle": "taskmanager.handles.sync_handle",
    "Retry": "processors.retries.signals",
    "Snooze": "processors.retries.signals",
    "Discard": "processors.retries.signals",
    "RetryPolicy": "processors.retries.retry",
    "JobState": "taskmanager.handles.info",
    "JobInfo": "taskmanager.handles.info",
    "LogLine": "taskmanager.handles.info",
    "Progress": "taskmanager.handles.info",
    "CancelOutcome": "taskmanager.handles.info",
    "ScheduleInfo": "taskmanager.handles.info",
    "ScheduleHandle": "taskmanager.admin.schedules",
    "DeadLetter": "consumers.admin.dead_letters",
    "Explanation": "consumers.admin.explanation",
    "QueueExplanation": "consumers.admin.explanation",
    "ReasonCount": "consumers.admin.explanation",
    "QueueStats": "consumers.admin.figures",
    "LaneStats": "consumers.admin.figures",
    "WorkerInfo": "consumers.admin.workers",
    "RouteInfo": "consumers.admin.routes",
    "FakeJob": "consumers.jobs.job",
    "FakeContext": "taskmanager.handlers.context",
    "CapturedJob": "taskmanager.emit.capture",
    "HandlerOptions": "taskmanager.options.arguments",
    "HandlerRepeat": "taskmanager.options.arguments",
    "Repeat": "taskmanager.options.arguments",
    "CallNext": "consumers.policy",
    "Middleware": "taskmanager.handlers.middleware",
    "Emission": "taskmanager.emit.emission",
    "Settings": "taskmanager.settings",
    "TaskHandler": "taskmanager.handlers.signature",
    "RegisterHandlerOptions": "taskmanager.handlers.signature",
    "TaskManagerOptions": "taskmanager.configuration",
    "ProcessorOptions": "taskmanager.options.arguments",
    "EmitArguments": "taskmanager.options.arguments",
    "EmitOptions": "taskmanager.options.arguments",
    "DebounceManager": "processors.debounce",
    "gen_job_id_sync": "taskmanager.options.request",
    "Tasks": "taskmanager.tasks.tasks",
    "TaskOptions": "taskmanager.tasks.tasks",
    "Task": "taskmanager.tasks.task",
    "AsyncTask": "taskmanager.tasks.task",
    "SyncTask": "taskmanager.tasks.task",
    "Call": "taskmanager.tasks.task",
    "CallOptions": "taskmanager.options.arguments",
    "injected": "taskmanager.tasks.injected",
}
# Every other name is an error, defined in one of these.
_ERRORS = (
    "consumers.errors",
    "taskmanager.errors",
    "taskmanager.emit.errors",
    "taskmanager.handles.errors",
    "taskmanager.tasks.errors",
    "processors.schedules.pattern",
)


# The command line checks on its own and reports what it finds without a traceback.
if not is_command_line():
    refuse_shadows()


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    # sys.path may have changed since the first check.
    refuse_shadows(on_path=False)
    for home in (_HOMES[name],) if name in _HOMES else _ERRORS:
        value = getattr(import_module(home), name, None)
        if value is not None:
            globals()[name] = value
            return value
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
