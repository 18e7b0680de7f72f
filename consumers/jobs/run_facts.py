"""What is kept of a run beside how it ended; include/facts.lua says how it is written."""

from __future__ import annotations

import re
from typing import NamedTuple

# The one that this version reads, and the bytes that JSON holds nowhere.
LAYOUT, _PART, _SPACE = "1", b"\x1e", b"\x1f"
_STARTS = re.compile(r"(?:(\d*)/(\d*)/(\d{1,9})|(\d+))?", re.ASCII)
# What is longer is no time, or Redis wrote it with an exponent.
_MOST_DIGITS = 14


class RunFacts(NamedTuple):
    """The facts of a run that ended; times are in ms since 1970 by Redis' clock.

    first_started and last_started are None where that is not known, or the run never began.
    worker is the name of the one that recorded the end, empty when none did. error_type is
    that of a dead job's last error; errors and data are JSON, or empty if they were not kept.
    """

    event: str
    worker: str
    created_at: int
    first_started: int | None
    last_started: int | None
    finished_at: int
    attempts: int
    error_type: str
    errors: bytes
    data: bytes


def read_facts(kept: bytes) -> RunFacts | None:
    """Return the facts that stand behind the state of a kept end; None for none that we know."""
    head, *parts = kept.split(_PART)
    words = head.decode("ascii", "replace").split(",")
    if len(words) < 6 or words[0] != LAYOUT:
        return None
    _, worker, finished, created, starts, event = words[:6]
    started = _STARTS.fullmatch(starts)
    if started is None or not (_is_number(created) and _is_number(finished)):
        return None
    first, last, attempts, only = started.groups()
    since, known = int(created), {part[:1]: part[1:].replace(_SPACE, b" ") for part in parts}
    return RunFacts(
        event=event,
        worker=worker,
        created_at=since,
        first_started=_at(since, only or first),
        last_started=_at(since, only or last),
        # The worker knows Redis' clock to some ms: none ends before it began.
        finished_at=max(int(finished), _at(since, only or last) or since),
        attempts=int(attempts or bool(only)),
        error_type=known.get(b"t", b"").decode("utf-8", "replace"),
        errors=known.get(b"e", b""),
        data=known.get(b"d", b""),
    )


def part(letter: str, text: bytes) -> bytes:
    """Return a part of what is kept beside the event."""
    return _PART + letter.encode() + text.replace(b" ", _SPACE)


def starts(created_at: int, first: int, last: int, attempts: int) -> int | str:
    """Return when a run began, as it is kept; times in ms, up to 1 where nobody knows one."""
    if attempts == 1 and first == last > 1:
        return max(0, last - created_at)
    if attempts == 0 and first <= 1:
        return ""
    return f"{_since(created_at, first)}/{_since(created_at, last)}/{attempts}"


def _since(created_at: int, moment: int) -> int | str:
    return max(0, moment - created_at) if moment > 1 else ""


def _at(since: int, offset: str | None) -> int | None:
    return since + int(offset) if offset and _is_number(offset) else None


def _is_number(text: str) -> bool:
    return text.isdecimal() and len(text) <= _MOST_DIGITS
