"""Errors raised when the result of a job is read.

TaskManagerError                      (consumers.errors)
└── ResultUnavailable                 there is no result to return
    ├── JobFailed                     the job is dead; carries its dead letter
    ├── JobCancelled                  the job was cancelled; carries the reason
    ├── ResultExpired                 the run ended, and its result is no longer kept
    ├── JobNotFound (LookupError)     nothing is known about such a job
    ├── ResultTimeout (TimeoutError)  the job did not end in time
    └── InvalidResult                 the result does not fit the return annotation
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from consumers.errors import TaskManagerError

if TYPE_CHECKING:
    from consumers.admin.dead_letters import DeadLetter

# The last line of pydantic's own text is a link, not part of the fault.
_URL = "https://errors.pydantic.dev/"
_FAULTS_SHOWN = 5


class ResultUnavailable(TaskManagerError):
    """Raised when the result of a job cannot be returned. The subclasses give the reason."""


class JobFailed(ResultUnavailable):
    """Raised when you ask for the result of a job that is dead.

    `job_id` is the job. `letter` is its dead letter: data, reason, errors. It is None if the dead
    letter was replayed or purged since, or if dead letters are not kept.
    """

    def __init__(self, job_id: str, letter: DeadLetter | None) -> None:
        why = f" ({letter.reason}): {_in_a_line(letter)}" if letter else "; its dead letter is gone"
        super().__init__(f"job {job_id!r} failed permanently{why}")
        self.job_id = job_id
        self.letter = letter


class JobCancelled(ResultUnavailable):
    """Raised when you ask for the result of a job that was cancelled, discarded or expired.

    `job_id` is the job, `reason` the reason that was given, such as "expired".
    """

    def __init__(self, job_id: str, reason: str) -> None:
        why = "" if reason == "cancelled" else f": {reason}"
        super().__init__(f"job {job_id!r} was cancelled{why}")
        self.job_id = job_id
        self.reason = reason


class ResultExpired(ResultUnavailable):
    """Raised when this run of the job has ended and its result is no longer kept.

    `job_id` is the job. Results are kept for the setting `result_ttl`, 300 seconds by default.
    """

    def __init__(self, job_id: str) -> None:
        super().__init__(
            f"the result of job {job_id!r} has expired: the run ended more than result_ttl ago "
            "(300 s by default), or a later job has the same id. To keep results longer, set "
            "TaskManager(result_ttl=...) in the worker"
        )
        self.job_id = job_id


class JobNotFound(ResultUnavailable, LookupError):
    """Raised when you ask for a job by its id, and nothing is known about such a job.

    `job_id` and `queue` are what you asked for. It is a LookupError: in a web application, a 404.
    """

    def __init__(self, job_id: str, queue: str) -> None:
        super().__init__(
            f"job {job_id!r} is not known in queue {queue!r}: it never existed, or it ended more "
            "than result_ttl ago (300 s by default). Check the id and the queue"
        )
        self.job_id = job_id
        self.queue = queue


class ResultTimeout(ResultUnavailable, TimeoutError):
    """Raised when a job did not end within the timeout of `result()`. The job continues.

    `job_id` is the job, `seconds` the timeout. It is a TimeoutError.
    """

    def __init__(self, job_id: str, seconds: float) -> None:
        super().__init__(
            f"job {job_id!r} did not end within {seconds:g} s: it is still waiting or running "
            "(info() shows which). Ask again later"
        )
        self.job_id = job_id
        self.seconds = seconds


class InvalidResult(ResultUnavailable):
    """Raised when the result of a task or handler does not fit its return annotation.

    The job completed: `job_id` is its id, `value` what it returned, as JSON gives it.
    """

    def __init__(self, job_id: str, annotation: str, reason: str, value: object) -> None:
        super().__init__(
            f"the result of job {job_id!r} cannot be read as {annotation}: {reason}; "
            ".value holds the stored result"
        )
        self.job_id = job_id
        self.value = value


def _in_a_line(letter: DeadLetter) -> str:
    said = [line for line in letter.error.strip().splitlines() if _URL not in line]
    if letter.reason == "bad_payload" and not letter.error.startswith("Traceback"):
        return "; ".join(said[:_FAULTS_SHOWN])
    # The last line of a traceback may be a note; the list of errors has the error itself.
    last = letter.errors[-1] if letter.reason == "failed" and letter.errors else {}
    if isinstance(last, dict) and (line := last.get("error")):
        return str(line)
    return said[-1].strip() if said else "no error was recorded"
