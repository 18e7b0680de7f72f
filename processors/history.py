"""The history of a job: its last errors, as kept with it and in its dead letter."""

from __future__ import annotations

import time
import traceback
from typing import Any

from pydantic_core import to_json

from consumers.job import Job

KEPT = 10
# Ten of these stay well below a payload's limit.
LINE_LIMIT = 2 * 1024
# A traceback longer than this keeps its head and, since the cause stands at
# the end, three times as much of its tail.
ERROR_LIMIT = 16 * 1024
_HEAD = ERROR_LIMIT // 4


def with_error(job: Job[Any], error: BaseException) -> bytes:
    """Return the JSON list of the job's last 10 errors, this one the last.

    Each is {"at": ms since 1970, "attempt", "delivery", "error"}; error is one
    line of at most 2 KiB.
    """
    line = " ".join(f"{type(error).__name__}: {_text(error)}".split())
    entry = {
        "at": int(time.time() * 1000),
        "attempt": job.attempt,
        "delivery": job.delivery,
        "error": line.encode("utf-8", "backslashreplace")[:LINE_LIMIT].decode("utf-8", "ignore"),
    }
    return to_json([*job.errors, entry][-KEPT:])


def describe(error: BaseException) -> str:
    """Return the traceback as text of at most 16 KiB, without local variables. Never raises."""
    try:
        text = "".join(traceback.format_exception(error))
    except Exception:
        # An exception class may break its own formatting.
        text = f"{type(error).__name__} (its traceback cannot be shown)"
    return _shorten(text.encode("utf-8", "backslashreplace"))


def _text(error: BaseException) -> str:
    try:
        return str(error)
    except Exception:
        return "(its text cannot be shown)"


def _shorten(text: bytes) -> str:
    if len(text) > ERROR_LIMIT:
        gap = b"\n... shortened ...\n"
        text = text[:_HEAD] + gap + text[_HEAD + len(gap) - ERROR_LIMIT :]
    return text.decode("utf-8", "ignore")
