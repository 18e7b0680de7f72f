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
    """The handler returned; result is its JSON, stored for the queue's result TTL."""

    result: bytes = b"null"


@dataclass(frozen=True, slots=True)
class RetryAt:
    """The job is run again in delay_ms, by Redis' clock, at the tail of its lane.

    uses_attempt says whether that counts as a failure. errors is the JSON list
    of its last errors, kept with the job; empty leaves it as it is.
    """

    delay_ms: int
    errors: bytes = b""
    uses_attempt: bool = True


@dataclass(frozen=True, slots=True)
class Buried:
    """The job is given up and becomes a dead letter.

    reason is a short fixed word (failed, bad_result, bad_payload, bad_outcome,
    crash_loop, no_handler, missing, foreign); error is text for a person, with
    the traceback where there is one, cut to 16 KiB; errors is the JSON list of the last ones.
    raw replaces the payload of an entry that is not a job.
    """

    reason: str
    error: str = ""
    raw: bytes | None = None
    errors: bytes = b""

    def __post_init__(self) -> None:
        object.__setattr__(self, "error", within(self.error, ERROR_LIMIT))


@dataclass(frozen=True, slots=True)
class Released:
    """The job goes back for somebody else, without an attempt burnt.

    It goes to the front of its own lane; with event to the front of that
    event's own lane, which only workers that handle the event read.
    """

    reason: str
    event: str | None = None


@dataclass(frozen=True, slots=True)
class Cancelled:
    """The job ends without a result, and not as a failure: discarded, expired.

    Of the reason 1 KiB is kept.
    """

    reason: str

    def __post_init__(self) -> None:
        object.__setattr__(self, "reason", within(self.reason, REASON_LIMIT))


Outcome = Completed | RetryAt | Buried | Released | Cancelled


@dataclass(frozen=True, slots=True)
class Returned:
    """A handler came back with a value."""

    value: object


@dataclass(frozen=True, slots=True)
class Raised:
    """A handler ended with an exception, of whatever kind."""

    error: BaseException


Ended = Returned | Raised


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
