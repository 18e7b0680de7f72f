"""The history of a job: its last errors, as kept with it and in its dead letter."""

from __future__ import annotations

import time
from typing import Any

from pydantic_core import to_json

from consumers.job import Job
from consumers.texts import message_of

KEPT = 10
# Ten of these stay well below a payload's limit.
LINE_LIMIT = 2 * 1024


def with_error(job: Job[Any], error: BaseException) -> bytes:
    """Return the JSON list of the job's last 10 errors, this one the last.

    Each is {"at": ms since 1970, "attempt", "delivery", "error"}; error is one
    line of at most 2 KiB.
    """
    line = " ".join(f"{type(error).__name__}: {message_of(error)}".split())
    entry = {
        "at": int(time.time() * 1000),
        "attempt": job.attempt,
        "delivery": job.delivery,
        "error": line.encode("utf-8", "backslashreplace")[:LINE_LIMIT].decode("utf-8", "ignore"),
    }
    return to_json([*job.errors, entry][-KEPT:])
