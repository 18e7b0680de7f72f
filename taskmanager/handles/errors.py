"""The errors of those that ask for a job's result.

TaskManagerError                      (consumers.errors)
└── ResultUnavailable                 there is no result to return
    ├── JobFailed                     the job is dead; has its letter
    ├── JobCancelled                  the job ended without a result; has the reason
    ├── ResultExpired                 how the run ended is not kept any more
    ├── JobNotFound (LookupError)     nothing is known of such a job
    ├── ResultTimeout (TimeoutError)  the job did not end in time
    └── InvalidResult                 what it returned is not what its annotation says
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from consumers.errors import TaskManagerError

if TYPE_CHECKING:
    from consumers.admin.dead_letters import DeadLetter

# The last line of pydantic's own text says nothing about the fault.
_URL = "https://errors.pydantic.dev/"
_FAULTS_SHOWN = 5


class ResultUnavailable(TaskManagerError):
    """Raised when a job's result cannot be returned; its subclasses say why."""


class JobFailed(ResultUnavailable):
    """Raised when the job whose result is asked for, job_id, was given up.

    letter is its dead letter; None when it was replayed or purged since, or
    dead letters are not kept.
    """

    def __init__(self, job_id: str, letter: DeadLetter | None) -> None:
        why = f"{letter.reason}: {_in_a_line(letter)}" if letter else "its letter is gone"
        super().__init__(f"job {job_id!r} is dead, {why}")
        self.job_id = job_id
        self.letter = letter


class JobCancelled(ResultUnavailable):
    """Raised when the job whose result is asked for was cancelled, discarded or had expired.

    job_id is the job, reason what the cancel said.
    """

    def __init__(self, job_id: str, reason: str) -> None:
        super().__init__(f"job {job_id!r} was cancelled: {reason}")
        self.job_id = job_id
        self.reason = reason


class ResultExpired(ResultUnavailable):
    """Raised when a run of job_id that was emitted has ended, and its end is not kept any more."""

    def __init__(self, job_id: str) -> None:
        super().__init__(
            f"how this run of job {job_id!r} ended is not kept any more: it ended more than "
            "result_ttl seconds ago (300 unless the worker's settings say more), or a later job "
            "has its id; give its worker TaskManager(result_ttl=...) to keep ends for longer"
        )
        self.job_id = job_id


class JobNotFound(ResultUnavailable, LookupError):
    """Raised when a job is asked for by job_id and queue alone, and nothing is known of one."""

    def __init__(self, job_id: str, queue: str) -> None:
        super().__init__(
            f"nothing is known of a job {job_id!r} in queue {queue!r}: there was none, or it "
            "ended more than result_ttl seconds ago (300 unless the worker's settings say "
            "more); check the id, and the queue that it was emitted to"
        )
        self.job_id = job_id
        self.queue = queue


class ResultTimeout(ResultUnavailable, TimeoutError):
    """Raised when a job, job_id, did not end within the seconds that its result was waited for."""

    def __init__(self, job_id: str, seconds: float) -> None:
        super().__init__(
            f"job {job_id!r} did not end within {seconds:g} s: it waits or runs, and info() says "
            "which; ask again later"
        )
        self.job_id = job_id
        self.seconds = seconds


class InvalidResult(ResultUnavailable):
    """Raised when a result is not what its function's return annotation says.

    The job, job_id, completed: value has what it returned, as JSON gives it.
    """

    def __init__(self, job_id: str, annotation: str, reason: str, value: object) -> None:
        super().__init__(
            f"the result of job {job_id!r} cannot be read as {annotation}: {reason}; "
            ".value has it as it was stored"
        )
        self.job_id = job_id
        self.value = value


def _in_a_line(letter: DeadLetter) -> str:
    said = [line for line in letter.error.strip().splitlines() if _URL not in line]
    if letter.reason == "bad_payload" and not letter.error.startswith("Traceback"):
        return "; ".join(said[:_FAULTS_SHOWN])
    # A traceback ends with the notes of its error.
    last = letter.errors[-1] if letter.reason == "failed" and letter.errors else {}
    if isinstance(last, dict) and (line := last.get("error")):
        return str(line)
    return said[-1].strip() if said else "no error is kept"
