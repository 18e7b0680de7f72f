"""The history of a job: its last errors, and why it was put off, as they are kept with it."""

from __future__ import annotations

from typing import Any

from pydantic_core import to_json

from consumers.jobs.job import Job
from consumers.jobs.texts import class_of, message_of, type_of
from processors.retries.groups import members

MOST_ERRORS = 10
# Ten of these stay well below a payload's limit.
LINE_LIMIT = 2 * 1024
_MEMBERS_NAMED = 5


def with_error(job: Job[Any], error: BaseException) -> bytes:
    """Return the JSON list of the job's last 10 errors, this one the last.

    Each is {"at", "started", "attempt", "delivery", "worker", "type", "error"}, see DeadLetter;
    error is one line of at most 2 KiB.
    """
    now_ms, started_at = job.now_ms(), job.started_at
    started_ms = round(started_at.timestamp() * 1000) if started_at else None
    entry = {
        # Between the two the worker may have learned better.
        "at": max(now_ms, started_ms or 0),
        "started": started_ms,
        "attempt": job.attempt,
        "delivery": job.delivery,
        "worker": job.worker,
        "type": type_of(error),
        "error": _in_a_line(line_of(error)),
    }
    return to_json([*job.errors, entry][-MOST_ERRORS:])


def with_reason(job: Job[Any], reason: str) -> bytes:
    """Return the JSON list of the job's last errors, and behind them why it is put off.

    A reason stands for the one before, and is one line of at most 2 KiB. Nothing, where there
    is neither one now nor before: that leaves what is kept as it is.
    """
    if not (line := _in_a_line(reason)):
        return b"" if job.put_off_reason is None else to_json(job.errors)
    entry = {
        "at": job.now_ms(),
        "delivery": job.delivery,
        "worker": job.worker,
        "put_off": line,
    }
    return to_json([*job.errors, entry])


def _in_a_line(text: str) -> str:
    line = " ".join(text.split())
    return line.encode("utf-8", "backslashreplace")[:LINE_LIMIT].decode("utf-8", "ignore")


def line_of(error: BaseException) -> str:
    """Return an error's class and what it says; of a group its first members' too."""
    named = f"{class_of(error)}: {message_of(error)}"
    if not isinstance(error, BaseExceptionGroup):
        return named
    found = members(error)[:_MEMBERS_NAMED]
    return f"{named}: {'; '.join(map(line_of, found))}"
