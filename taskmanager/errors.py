"""The errors that the facade raises on purpose.

Errors of results are in handles/errors.py; EmitManyError and NoCapableWorker in emit/errors.py.

    TaskManagerError                    (consumers.errors)
    ├── InvalidInput (ValueError)
    │   ├── InvalidOption               the value of an option is not allowed
    │   ├── ConflictingOptions          two options contradict each other
    │   ├── InvalidHandler              the function cannot be a handler
    │   └── InvalidPayload              the data does not fit the event's handler
    ├── NotConfigured                   no Redis was given
    ├── NoEventLoop                     emit was called where no event loop runs
    ├── NotConfirmedYet                 the handle of an emission was read before awaiting it
    ├── LoopHasEnded                    the event loop that a thread waited for has ended
    ├── LoopIsRunning                   a blocking call was made on a running event loop
    ├── NotInHandler                    on_success=True outside a handler of this manager
    ├── OwnJob                          a handler emitted the id of its own job
    ├── AlreadyStarted                  something was registered or set while the worker runs
    ├── OtherLoop                       the worker belongs to another event loop
    ├── WorkerBroken                    the worker stopped, its process cannot continue
    ├── NoHandlers                      run was called without any handler
    ├── MissingCapabilities             the worker may run none of its handlers
    ├── NotReplayable                   there is no such dead letter, or it never was a job
    ├── ScheduleRefused                 the schedule cannot be put in force
    ├── NoSuchSchedule                  there is no schedule of that name
    ├── AlreadyInitializedError         init was called again with other arguments
    └── EmbeddedError                   the embedded server cannot be started
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from consumers.errors import InvalidInput, TaskManagerError

if TYPE_CHECKING:
    from pydantic_core import ValidationError


# How many handlers a message names.
_SHOWN = 5


class InvalidOption(InvalidInput):
    """Raised when the value of an option or setting is not allowed. Nothing was sent.

    `name` is the option, `given` the value. The message explains what is allowed.
    """

    def __init__(self, name: str, given: object, allowed: str) -> None:
        super().__init__(f"{name} {given!r} is not allowed: {allowed}")
        self.name = name
        self.given = given


class ConflictingOptions(InvalidInput):
    """Raised when two options contradict each other, or one option is given twice and differs."""

    def __init__(self, first: str, second: str, where: str, why: str = "") -> None:
        because = f", because {why}" if why else ""
        super().__init__(
            f"{first} and {second} of {where} cannot be combined{because}: give one of them"
        )


class InvalidHandler(InvalidInput):
    """Raised when a function cannot be called as `handler(job, ctx)` or `handler(job)`.

    Also raised for middleware that does not take `(job, ctx, call_next)`, for `on_dead` callbacks,
    and for functions that cannot be tasks. `handler` is the function.
    """

    def __init__(
        self,
        handler: object,
        reason: str,
        *,
        what: str = "a handler",
        form: str = "def {name}(job, ctx) or async def, or leave ctx out",
    ) -> None:
        name = getattr(handler, "__qualname__", None) or repr(handler)
        super().__init__(
            f"{name} cannot be {what}: {reason}. Write {form.format(name=_plain(name))}"
        )
        self.handler = handler


class InvalidPayload(InvalidInput):
    """Raised by an emit whose data the event's handler would refuse. Nothing was sent.

    `event` and `queue` name the handler. `errors` is pydantic's list of faults: dicts with loc,
    msg, type and input.
    """

    def __init__(self, queue: str, event: str, error: ValidationError) -> None:
        self.errors = error.errors(include_url=False)
        super().__init__(
            f"the data of {event!r} does not fit its handler in queue {queue!r}: {faults_in(error)}"
        )
        self.queue = queue
        self.event = event


class NotConfigured(TaskManagerError):
    """Raised at the first use of a task manager that was not given a Redis."""

    def __init__(self) -> None:
        super().__init__(
            "no Redis is configured: give TaskManager(redis='redis://localhost:6379/0'), "
            "set TASKMANAGER_REDIS_URL, or use embedded:// for a private server"
        )


class NoEventLoop(TaskManagerError, RuntimeError):
    """Raised when emit is called in a thread without a running event loop. Nothing was sent."""

    def __init__(self) -> None:
        super().__init__("emit needs a running event loop and there is none: call emit_sync(...)")


class NotConfirmedYet(TaskManagerError):
    """Raised when the handle of an emission is read before Redis has answered.

    `job_id` is its job. Await the emission first.
    """

    def __init__(self, job_id: str) -> None:
        super().__init__(f"job {job_id!r} is not confirmed yet: await the emission first")
        self.job_id = job_id


class LoopHasEnded(TaskManagerError):
    """Raised in a thread that waited for an event loop which has ended. The outcome is unknown."""

    def __init__(self) -> None:
        super().__init__(
            "the event loop ended before this was confirmed, so it may or may not have been done: "
            "repeating it with the same id is safe while that job is live"
        )


class LoopIsRunning(TaskManagerError, RuntimeError):
    """Raised when a blocking call is made on a running event loop. Nothing was sent."""

    def __init__(self, name: str, instead: str) -> None:
        super().__init__(f"{name} would block the running event loop: call {instead}")


class NotInHandler(TaskManagerError, RuntimeError):
    """Raised when `on_success=True` is given outside a handler of this task manager.

    Nothing was sent.
    """

    def __init__(self, *, elsewhere: bool = False) -> None:
        found = (
            "the running job belongs to another TaskManager: remove it, "
            "or emit with the ctx of the running handler"
            if elsewhere
            else "no job is running here: remove it"
        )
        super().__init__(f"on_success=True adds a job when the running job completes, but {found}")


class OwnJob(TaskManagerError):
    """Raised when a handler emits the id of the job that it is running. Nothing was sent.

    `job_id` is that id. It is live, so the emit would add nothing.
    """

    def __init__(self, job_id: str) -> None:
        super().__init__(
            f"job {job_id!r} is running right now, so emitting it would add nothing: "
            "use on_success=True to run it again afterwards, or deduplicate=False or another id "
            "to add a second job"
        )
        self.job_id = job_id


class AlreadyStarted(TaskManagerError):
    """Raised when a handler is registered, or a setting changed, while a worker runs."""

    def __init__(self, what: str) -> None:
        super().__init__(
            f"{what} comes too late because the worker has started: do it before start(), or call "
            "stop() first"
        )


class OtherLoop(TaskManagerError, RuntimeError):
    """Raised when a worker is started or stopped on another event loop than its own."""

    def __init__(self) -> None:
        super().__init__(
            "this worker was started on another event loop: start and stop it on the same one"
        )


class WorkerBroken(TaskManagerError):
    """Raised by `run` when the worker stopped because its process cannot continue.

    `why` is the reason, for example too many handler threads that outlived their timeout.
    """

    def __init__(self, why: str) -> None:
        super().__init__(
            f"the worker stopped: {why}. Its jobs return to the queue; start a new worker"
        )
        self.why = why


class NoHandlers(TaskManagerError):
    """Raised by `run` when no handler is registered.

    `included` has the names of the modules that were imported to find handlers.
    """

    def __init__(self, included: Sequence[str] = ()) -> None:
        looked = f" (included modules: {', '.join(included)})" if included else ""
        super().__init__(
            f"no handler is registered, so there is nothing to run{looked}: write "
            '@tm.registerHandler(event="...") above a function, and name its module in include='
        )
        self.included = list(included)


class MissingCapabilities(TaskManagerError):
    """Raised when a worker starts that lacks a capability for each of its handlers.

    `lacking` has the missing capabilities by (queue, event) of each handler.
    """

    def __init__(
        self, lacking: Mapping[tuple[str, str], Sequence[str]], capabilities: Iterable[str]
    ) -> None:
        missing = sorted({name for names in lacking.values() for name in names})
        events = [
            f"{queue}/{event} lacks {', '.join(its)}" for (queue, event), its in lacking.items()
        ]
        more = f", and {len(events) - _SHOWN} more" if len(events) > _SHOWN else ""
        super().__init__(
            "this worker lacks a capability for each of its handlers, so there is nothing to run: "
            f"{'; '.join(events[:_SHOWN])}{more}. Its capabilities: "
            f"{', '.join(sorted(capabilities)) or 'none'}. Where it has them, start it with "
            f"--capability {','.join(missing)}, or set capabilities="
        )
        self.lacking = {name: list(its) for name, its in lacking.items()}


class NotReplayable(TaskManagerError):
    """Raised when the dead letter to replay does not exist, or never was a job.

    `job_id` and `queue` are what was asked for.
    """

    def __init__(self, job_id: str, queue: str, reason: str) -> None:
        super().__init__(f"job {job_id!r} of queue {queue!r} cannot be replayed: {reason}")
        self.job_id = job_id
        self.queue = queue


class ScheduleRefused(TaskManagerError):
    """Raised when a schedule cannot be put in force, or this version cannot read it.

    `name` and `queue` are the schedule, `reason` is why.
    """

    def __init__(self, name: str, queue: str, reason: str) -> None:
        super().__init__(f"schedule {name!r} of queue {queue!r} was refused: {reason}")
        self.name = name
        self.queue = queue
        self.reason = reason


class NoSuchSchedule(TaskManagerError):
    """Raised when you run the job of a schedule that does not exist.

    `name` and `queue` are what was asked for.
    """

    def __init__(self, name: str, queue: str) -> None:
        super().__init__(
            f"queue {queue!r} has no schedule {name!r}: tm.schedules() lists the existing ones"
        )
        self.name = name
        self.queue = queue


class AlreadyInitializedError(TaskManagerError):
    """Raised when TaskManager.init is called again with other arguments."""

    def __init__(self, differing: Iterable[str]) -> None:
        super().__init__(
            f"TaskManager.init was already called with another {', '.join(sorted(differing))}: "
            "give the same options, call TaskManager.reset() first, "
            "or construct a second one with TaskManager(...)"
        )


class EmbeddedError(TaskManagerError):
    """Raised when the embedded server cannot be started. The message explains what to do."""


def _plain(name: str) -> str:
    last = name.rpartition(".")[2]
    return last if last.isidentifier() else "handler"


def faults_in(error: ValidationError) -> str:
    """Return pydantic's first five faults in one line, without the values that caused them."""
    faults = error.errors(include_url=False, include_input=False, include_context=False)[:5]
    return "; ".join(f"{_where(fault['loc'])}{fault['msg']}" for fault in faults)


def _where(location: Sequence[object]) -> str:
    return f"{'.'.join(map(str, location))}: " if location else ""
