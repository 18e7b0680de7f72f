"""All errors of the engine's own that its users meet.

TaskManagerError
├── InvalidInput (ValueError)       something given is not allowed; nothing was sent
│   ├── InvalidName
│   ├── InvalidPriority
│   ├── NotSerializable
│   ├── TooLarge
│   └── UnknownOption
├── QueueFull                       Redis or the queue's depth limit takes no more jobs
├── TooManyLanes                    the queue already has as many lanes as it may
│   └── TooManyRoutes               the same, of lanes whose jobs require something of a worker
├── TooManyPaused                   the queue already has as many paused events as it may
├── BrokenKey                       a key of ours holds another type of value
├── UnknownClause                   only a newer version knows what a job asks
├── RedisUnavailable                Redis was not reached; says whether the outcome is known
├── WriterRefused                   Redis knows a newer batch of this writer
├── LayoutMismatch                  the queue was written by an incompatible version
├── LeaseLost                       the delivery belongs to somebody else by now
└── JobTimeout (TimeoutError)       the handler did not end in time
"""

from __future__ import annotations

import os
import re
from typing import Literal, TypeAlias

# What Redis was asked for: whether anything can have come of it is said accordingly.
Request: TypeAlias = Literal["emit", "change", "read"]
# Whether Redis may have done it.
Sent: TypeAlias = Literal["unknown", "not_sent"]


class TaskManagerError(Exception):
    """The base class of all errors of this project."""


class InvalidInput(TaskManagerError, ValueError):
    """Raised when an argument is refused. Nothing was sent. It is a ValueError."""


class InvalidName(InvalidInput):
    """Raised when the name of a queue, event, partition, type, worker or job is not allowed.

    `kind` is what was to be named, `given` the name.
    """

    def __init__(self, kind: str, given: object, allowed: str) -> None:
        super().__init__(f"{kind} {given!r} is not allowed: {allowed}")
        self.kind = kind
        self.given = given


class InvalidPriority(InvalidInput):
    """Raised when a priority is not an integer from -100 to 100. `given` is the value."""

    def __init__(self, given: object) -> None:
        super().__init__(
            f"priority {given!r} is not allowed: give an integer from -100 to 100 "
            "(higher runs first, 0 is normal)"
        )
        self.given = given


class NotSerializable(InvalidInput):
    """Raised when a value cannot be stored as JSON.

    `what` names the value, for example "the result of job 'a'"; `reason` is why.
    """

    def __init__(self, what: str, reason: str) -> None:
        super().__init__(
            f"{what} cannot be stored as JSON: {reason}. "
            "Give JSON values, a pydantic model, a dataclass or a TypedDict"
        )
        self.what = what
        self.reason = reason


class TooLarge(InvalidInput):
    """Raised when a payload, a result or the jobs of a handler exceed their limit.

    `what` names the value. `size` and `limit` are in bytes, or in jobs if `what` counts jobs.
    """

    def __init__(self, what: str, size: int, limit: int, *, unit: str = "bytes") -> None:
        advice = (
            "store large values elsewhere and send a reference to them"
            if unit == "bytes"
            else "add fewer of them at a time"
        )
        super().__init__(f"{what} has {size:,} {unit}, the limit is {limit:,}: {advice}")
        self.what = what
        self.size = size
        self.limit = limit


# What options are called elsewhere: before, in the documents' dicts, by other frameworks.
_KNOWN_AS = {
    "unique": "deduplicate",
    "attempts": "max_retries",
    "retry_count": "max_retries",
    "every": "repeat",
    "cron": "repeat",
}
_HUMP = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")


class UnknownOption(InvalidInput):
    """Raised when the name of an option is not known.

    `given` is that name, `allowed` lists the known ones. The message suggests the nearest.
    """

    def __init__(self, given: str, allowed: list[str], where: str) -> None:
        super().__init__(
            f"unknown option {given!r} in {where}{_hint(given, allowed)}; "
            f"allowed: {', '.join(allowed)}"
        )
        self.given = given
        self.allowed = allowed


def _hint(given: object, allowed: list[str]) -> str:
    snake = _HUMP.sub("_", str(given)).lower()
    name = _KNOWN_AS.get(snake, snake)
    if name not in allowed:
        # Imported here, for errors only.
        from difflib import get_close_matches

        near = get_close_matches(name, allowed, n=1)
        return f" (did you mean {near[0]!r}?)" if near else ""
    return f" (use {name!r})"


class QueueFull(TaskManagerError):
    """Raised when an emit is refused because the queue, or Redis, is full. Nothing was stored.

    `queue` is the queue, `reason` the limit that was reached.
    """

    def __init__(self, queue: str, reason: str) -> None:
        super().__init__(
            f"queue {queue!r} is full: {reason}. Emit again later, add workers, or raise the limit"
        )
        self.queue = queue
        self.reason = reason


class TooManyLanes(TaskManagerError):
    """Raised when a job would need one more lane than its queue may have.

    A lane is the stream of one priority, partition and type of worker. `queue` is the queue, `lane`
    the lane it would need, `limit` the most that a queue may have.
    """

    def __init__(self, queue: str, lane: str, limit: int) -> None:
        super().__init__(
            f"queue {queue!r} already has {limit} lanes and cannot have another ({lane!r}): "
            "use fewer priorities and partitions, or another queue"
        )
        self.queue = queue
        self.lane = lane
        self.limit = limit


class TooManyRoutes(TooManyLanes):
    """Raised when a job would need one more route than its queue may have, or a lane of one.

    A route is what jobs of an event require of their worker; it has a lane for each priority and
    partition of them. `queue` is the queue, `lane` the lane it would need, `limit` the most routes.
    """

    def __init__(self, queue: str, lane: str, limit: int, most_lanes: int) -> None:
        TaskManagerError.__init__(
            self,
            f"queue {queue!r} already has {limit} routes, or {most_lanes:,} lanes of routes, and "
            f"cannot have another ({lane!r}): require fewer different things of workers, use fewer "
            "priorities and partitions, or another queue",
        )
        self.queue = queue
        self.lane = lane
        self.limit = limit


class TooManyPaused(TaskManagerError):
    """Raised when one more event would be paused than a queue may have paused."""

    def __init__(self, queue: str, event: str, limit: int) -> None:
        super().__init__(
            f"event {event!r} was not paused: queue {queue!r} already has {limit} paused events, "
            "its limit. Resume some of them, or pause the whole queue"
        )


class BrokenKey(TaskManagerError):
    """Raised when a key of the queue holds a value of another type, which another program wrote.

    `key` is the key. Nothing was written; move or delete that value.
    """

    def __init__(self, key: str) -> None:
        super().__init__(
            f"key {key!r} holds a value of the wrong type, so nothing was written. "
            "Another program wrote it; move or delete it"
        )
        self.key = key


class UnknownClause(TaskManagerError):
    """Raised when only a newer version can decide whether a job is to be added. Nothing was added.

    `clause` is the condition that this version does not know.
    """

    def __init__(self, clause: str) -> None:
        super().__init__(
            f"the job was not added: this version does not know its clause {clause!r}. "
            "Emit it from a process of the version that made it"
        )
        self.clause = clause


_HINTS = {
    ("emit", "unknown"): (
        "it may have been stored; repeating it is safe with an idempotency_key, or with the same "
        "id while the job is live"
    ),
    ("emit", "not_sent"): "nothing was stored",
    ("change", "unknown"): "it may have been done; repeating it is safe",
    ("change", "not_sent"): "nothing was changed",
}
# redis-py's texts for why there is no connection. The first names each address that it tried.
_CONNECTING = re.compile(r"Error (.+?) connecting to .+?\.(?: (.+)|\Z)", re.DOTALL)
_READING = re.compile(r"Error while reading from .+? : \(\d+, '(.+)'\)")
_SYSTEM = re.compile(r"\[Errno (\d+)\]")
# Where in a script of ours, or in OpenSSL's code, it happened.
_PLACES = re.compile(
    r"user_script:\d+: | script: [0-9a-f]{40}, on @user_script:\d+|\[SSL[^]]*\] | \(_ssl\.c:\d+\)"
)


def plain_reason(text: str) -> str:
    """Return in a few words why there is no connection; any other text but for its full stop."""
    if text.startswith("HELLO must be called with the client already authenticated"):
        return "it requires a password"
    text = _READING.sub(lambda it: it[1].lower(), _CONNECTING.sub(_why, text))
    return _PLACES.sub("", text).rstrip(". ")


def _why(connecting: re.Match[str]) -> str:
    numbers, said = connecting[1], connecting[2] or ""
    if not said or said.startswith("Connect call failed"):
        return ", ".join(dict.fromkeys(map(_of_the_system, _SYSTEM.findall(numbers) or [numbers])))
    # Not by the number: those of TLS and of a name server are not the system's.
    return said[:1].lower() + said[1:]


def _of_the_system(number: str) -> str:
    return os.strerror(int(number)).lower() if number.isdecimal() else number


class RedisUnavailable(TaskManagerError):
    """Raised when Redis was not reached, or did not answer in time.

    - `where`: the URL of Redis, without a password.
    - `reason`: the last error seen.
    - `outcome`: "not_sent" if nothing was stored for certain, "unknown" if the request may have
      been carried out although its answer was lost. The message adds what that means for an
      emit or another change.

    Repeating an emit is safe if it has an `idempotency_key`. If it has an `id`, or if equal data is
    one job, repeating it is safe while that job is live.
    """

    def __init__(
        self,
        where: str,
        reason: str,
        *,
        outcome: Sent,
        request: Request = "read",
    ) -> None:
        reason = plain_reason(reason)
        hint = _HINTS.get((request, outcome))
        super().__init__(
            f"Redis at {where} is unavailable: {reason}" + (f" ({hint})" if hint else "")
        )
        self.where = where
        self.reason = reason
        self.outcome = outcome


class WriterRefused(TaskManagerError):
    """Raised when Redis has already seen a newer batch of the same writer, so refuses this one."""


class LayoutMismatch(TaskManagerError):
    """Raised when the keys of a queue were written by an incompatible version.

    `queue` is the queue. Upgrade this process, or use another namespace.
    """

    def __init__(self, queue: str, found: str, known: str) -> None:
        super().__init__(
            f"queue {queue!r} has key layout {found}, but this version knows {known}: "
            "upgrade this process, or use another namespace"
        )
        self.queue = queue


class LeaseLost(TaskManagerError):
    """Raised inside a handler whose job was taken over by another worker.

    The worker did not renew its lease in time. Nothing this run does is recorded any more. `job_id`
    is the job.
    """

    def __init__(self, job_id: str) -> None:
        super().__init__(
            f"job {job_id!r} is no longer leased to this worker: another worker may run it, "
            "and the outcome of this run is not recorded"
        )
        self.job_id = job_id


class JobTimeout(TaskManagerError, TimeoutError):
    """Raised in a run that exceeds its timeout.

    It is recorded as the error, and counts as a failure. `job_id` is the job, `seconds` its
    timeout. It is a TimeoutError.
    """

    def __init__(self, job_id: str, seconds: float) -> None:
        super().__init__(
            f"job {job_id!r} ran longer than its timeout of {seconds:g} s and was cancelled"
        )
        self.job_id = job_id
        self.seconds = seconds
