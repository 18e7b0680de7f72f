"""What became of a run, as values. The processor decides one, the settler records it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from consumers.jobs.texts import ERROR_LIMIT, within

# The reason of a cancellation is sent to every process that waits for the job.
REASON_LIMIT = 1024
# The reasons of letters that are the outcome of a run; the others never ran, or crashed.
AFTER_A_RUN = ("failed", "bad_result")


@dataclass(frozen=True, slots=True)
class Completed:
    """The handler returned. `result` is what it returned, as JSON."""

    result: bytes = b"null"


@dataclass(frozen=True, slots=True)
class RetryAt:
    """The job runs again in `delay_ms` milliseconds, at the end of its lane.

    `uses_attempt` is whether that counts as a failure. `errors` is the JSON list of its last
    errors, kept with the job; empty leaves the list as it is.
    """

    delay_ms: int
    errors: bytes = b""
    uses_attempt: bool = True


@dataclass(frozen=True, slots=True)
class Buried:
    """The job is given up and becomes a dead letter.

    - `reason`: a word, see DeadLetter.
    - `error`: text for a person, with the traceback if there is one, cut to 16 KiB.
    - `raw`: the bytes of an entry that is not a job, kept instead of a payload.
    - `errors`: the JSON list of its last errors.
    """

    reason: str
    error: str = ""
    raw: bytes | None = None
    errors: bytes = b""

    def __post_init__(self) -> None:
        object.__setattr__(self, "error", within(self.error, ERROR_LIMIT))


@dataclass(frozen=True, slots=True)
class Released:
    """The job returns to the queue for another worker, without counting as a failure.

    It goes to the front of its lane. With `event`, it goes to the front of that event's own lane,
    which only workers that handle the event read. `reason` is a word for the log.
    """

    reason: str
    event: str | None = None


@dataclass(frozen=True, slots=True)
class Cancelled:
    """The job ends without a result and without a failure: cancelled, discarded or expired.

    `reason` is text, cut to 1 KiB.
    """

    reason: str

    def __post_init__(self) -> None:
        object.__setattr__(self, "reason", within(self.reason, REASON_LIMIT))


Outcome = Completed | RetryAt | Buried | Released | Cancelled
"""What becomes of a job after a run, or instead of one."""


@dataclass(frozen=True, slots=True)
class Returned:
    """How a run ended: the handler returned `value`."""

    value: object


@dataclass(frozen=True, slots=True)
class Raised:
    """How a run ended: the handler raised `error`."""

    error: BaseException


Ended = Returned | Raised
_RETURNED_NONE = Returned(None)


def returned(value: object) -> Returned:
    """Return the end of a run whose handler returned a value, which mostly is None."""
    return _RETURNED_NONE if value is None else Returned(value)


class Ran(NamedTuple):
    """How the run went that an outcome follows from, measured once, where the handler was called.

    began is a monotonic time (s), seconds how long it took. error is what it raised, or that its
    time was up; None for a run that returned or was ended.
    """

    began: float
    seconds: float
    attempt: int
    max_retries: int
    error: BaseException | None
