"""The errors that the facade raises on purpose.

Those of results are in handles/errors.py, and EmitManyError, which has handles, in emit/.

TaskManagerError                    (consumers.errors)
├── InvalidInput (ValueError)
│   ├── InvalidOption               an option's value is not allowed
│   ├── ConflictingOptions          one option was given twice and differs
│   ├── InvalidHandler              the function cannot be a handler
│   └── InvalidPayload              the data is not what the event's handler takes
├── NotConfigured                   no Redis was given
├── NoEventLoop                     emit was called where no event loop runs
├── NotConfirmedYet                 an emission's handle was asked for before it was awaited
├── LoopHasEnded                    the event loop that a thread waited for has ended
├── LoopIsRunning                   emit_sync was called where one runs
├── NotInHandler                    on_success was asked for outside a handler of this manager
├── OwnJob                          a handler emitted the job that it is running
├── AlreadyStarted                  a handler or setting comes while the worker runs
├── OtherLoop                       the worker was started on another event loop
├── WorkerBroken                    the worker stopped by itself, its process cannot go on
├── NoHandlers                      run was called without a handler registered
├── NotReplayable                   there is no such dead letter, or it is no job
├── ScheduleRefused                 a schedule cannot be put in force
├── NoSuchSchedule                  there is no schedule of that name
├── AlreadyInitializedError         init was called again with other options
└── EmbeddedError                   the embedded server cannot be started
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from consumers.errors import InvalidInput, TaskManagerError

if TYPE_CHECKING:
    from pydantic_core import ValidationError


class InvalidOption(InvalidInput):
    """Raised when an option or a setting, name, was given a value that is not allowed, given."""

    def __init__(self, name: str, given: object, allowed: str) -> None:
        super().__init__(f"{name} {given!r} is not allowed: {allowed}")
        self.name = name
        self.given = given


class ConflictingOptions(InvalidInput):
    """Raised when one option was given under two names, or in two places, and differs."""

    def __init__(self, first: str, second: str, where: str) -> None:
        super().__init__(f"{first} and {second} of {where} cannot be combined: give one of them")


class InvalidHandler(InvalidInput):
    """Raised when a function cannot be called as handler(job, ctx) or handler(job).

    The same for middleware, (job, ctx, call_next), and callbacks of dead letters.
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
    """Raised when data is emitted that the handler of its event would refuse; nothing was sent.

    event and queue name the handler; errors are pydantic's, one a fault: loc, msg, type, input.
    """

    def __init__(self, queue: str, event: str, error: ValidationError) -> None:
        self.errors = error.errors(include_url=False)
        super().__init__(
            f"the data of {event!r} is not what its handler in queue {queue!r} takes: "
            f"{faults_in(error)}"
        )
        self.queue = queue
        self.event = event


class NotConfigured(TaskManagerError):
    """Raised at the first use when nobody said where Redis is."""

    def __init__(self) -> None:
        super().__init__(
            "no Redis is configured: give TaskManager(redis='redis://localhost:6379/0'), "
            "set TASKMANAGER_REDIS_URL, or use embedded:// for a private server"
        )


class NoEventLoop(TaskManagerError, RuntimeError):
    """Raised when emit is called in a thread where no event loop runs; nothing was sent."""

    def __init__(self) -> None:
        super().__init__("emit needs a running event loop and there is none: call emit_sync(...)")


class NotConfirmedYet(TaskManagerError):
    """Raised when the handle of an emission, of job_id, is asked for before Redis has answered."""

    def __init__(self, job_id: str) -> None:
        super().__init__(f"job {job_id!r} is not confirmed yet: await the emission first")
        self.job_id = job_id


class LoopHasEnded(TaskManagerError):
    """Raised in a thread whose event loop ended while it waited; the outcome is unknown."""

    def __init__(self) -> None:
        super().__init__(
            "the event loop that was to do this has ended, nobody knows whether it was done: "
            "repeating it with the same id is safe while that job lives"
        )


class LoopIsRunning(TaskManagerError, RuntimeError):
    """Raised when a blocking call would block the event loop it is made on; nothing was sent."""

    def __init__(self, name: str, instead: str) -> None:
        super().__init__(f"{name} would block the running event loop: call {instead}")


class NotInHandler(TaskManagerError, RuntimeError):
    """Raised when on_success=True is given where no job is running; nothing was sent.

    elsewhere: a job is running, but it is one of another TaskManager.
    """

    def __init__(self, *, elsewhere: bool = False) -> None:
        found = (
            "the job that is running belongs to another TaskManager: leave it out, "
            "or emit with the ctx that its handler got"
            if elsewhere
            else "no job is running here: leave it out"
        )
        super().__init__(
            "on_success=True adds a job together with the running one's acknowledgement, "
            f"and {found}"
        )


class OwnJob(TaskManagerError):
    """Raised when a handler emits the id that it is running, job_id; nothing was sent.

    The id is live, so the emit would find it and add nothing.
    """

    def __init__(self, job_id: str) -> None:
        super().__init__(
            f"job {job_id!r} is the one that is running, so emitting it now would add nothing: "
            "use on_success=True to run it again afterwards, deduplicate=False or another id "
            "for a job beside it"
        )
        self.job_id = job_id


class AlreadyStarted(TaskManagerError):
    """Raised when a handler is registered, or a setting changed, while the worker runs."""

    def __init__(self, what: str) -> None:
        super().__init__(
            f"{what} comes too late, the worker has started: do it before start(), or stop() first"
        )


class OtherLoop(TaskManagerError, RuntimeError):
    """Raised when a worker that runs on one event loop is started or stopped on another."""

    def __init__(self) -> None:
        super().__init__(
            "this worker was started on another event loop: start and stop it on the same one"
        )


class WorkerBroken(TaskManagerError):
    """Raised by run when the worker stopped by itself because its process cannot go on; see why."""

    def __init__(self, why: str) -> None:
        super().__init__(f"the worker stopped: {why}; its jobs are handed back, start it anew")
        self.why = why


class NoHandlers(TaskManagerError):
    """Raised when a worker is to run and no handler is registered.

    included names the modules that were imported for handlers.
    """

    def __init__(self, included: Sequence[str] = ()) -> None:
        looked = f" (included was {', '.join(included)})" if included else ""
        super().__init__(
            f"there is nothing to run, no handler is registered{looked}: write "
            '@tm.registerHandler(event="...") above a function, and name its module in include='
        )
        self.included = list(included)


class NotReplayable(TaskManagerError):
    """Raised when a dead letter is to be replayed that is not there, or that is no job.

    job_id and queue say which.
    """

    def __init__(self, job_id: str, queue: str, reason: str) -> None:
        super().__init__(f"job {job_id!r} of queue {queue!r} cannot be replayed: {reason}")
        self.job_id = job_id
        self.queue = queue


class ScheduleRefused(TaskManagerError):
    """Raised when a schedule is not put in force, or cannot be by this version.

    name and queue say which, reason why.
    """

    def __init__(self, name: str, queue: str, reason: str) -> None:
        super().__init__(f"schedule {name!r} of queue {queue!r} is refused: {reason}")
        self.name = name
        self.queue = queue
        self.reason = reason


class NoSuchSchedule(TaskManagerError):
    """Raised when the job of a schedule is to be emitted and the queue has none of that name."""

    def __init__(self, name: str, queue: str) -> None:
        super().__init__(
            f"queue {queue!r} has no schedule {name!r}: tm.schedules() lists those there are"
        )
        self.name = name
        self.queue = queue


class AlreadyInitializedError(TaskManagerError):
    """Raised when TaskManager.init is called again with other options."""

    def __init__(self, differing: Iterable[str]) -> None:
        super().__init__(
            f"TaskManager.init was called before with another {', '.join(sorted(differing))}: "
            "give the same options, call TaskManager.reset() first, "
            "or construct TaskManager(...) for a second one"
        )


class EmbeddedError(TaskManagerError):
    """Raised when the embedded server cannot be started; the message says what to do."""


def _plain(name: str) -> str:
    last = name.rpartition(".")[2]
    return last if last.isidentifier() else "handler"


def faults_in(error: ValidationError) -> str:
    """Return pydantic's first five faults in a line, without the values that have them."""
    faults = error.errors(include_url=False, include_input=False, include_context=False)[:5]
    return "; ".join(f"{_where(fault['loc'])}{fault['msg']}" for fault in faults)


def _where(location: Sequence[object]) -> str:
    return f"{'.'.join(map(str, location))}: " if location else ""
