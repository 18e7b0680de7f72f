"""What is noted of a job's earlier runs: the errors of those that failed, and why it was put off.

Both stand in one JSON list, kept with the job and in its dead letter. A reason is an entry with
"put_off" in place of "error"; there is one at most, the last.
"""

from __future__ import annotations

from typing import Any

from pydantic_core import from_json


def noted(stored: bytes) -> list[Any]:
    """Return what is noted, oldest first; raises ValueError for what is no JSON list."""
    found = from_json(stored) if stored else []
    if not isinstance(found, list):
        raise ValueError("it is not a list")
    return found


def errors_in(listed: list[Any]) -> list[Any]:
    """Return the errors among what is noted."""
    return [it for it in listed if not _is_reason(it)]


def reason_in(listed: list[Any]) -> str | None:
    """Return why the job was put off last; None when it was not, or has failed since."""
    return str(listed[-1]["put_off"]) if listed and _is_reason(listed[-1]) else None


def _is_reason(entry: object) -> bool:
    return isinstance(entry, dict) and "put_off" in entry
