"""Signals that a handler raises to decide how its run ends. They are not faults."""

from __future__ import annotations

from datetime import timedelta

from consumers.errors import InvalidInput
from processors.retries.backoff import MAX_DELAY_MS


def seconds_of(delay: float | timedelta) -> float:
    """Return a delay in seconds; raises InvalidInput unless it is 0 to 1 year."""
    seconds = delay.total_seconds() if isinstance(delay, timedelta) else delay
    if not isinstance(seconds, int | float) or not 0 <= seconds * 1000 <= MAX_DELAY_MS:
        raise InvalidInput(
            f"a delay of {delay!r} is not allowed: give seconds or a timedelta of at most a year"
        )
    return float(seconds)


class Signal(Exception):
    """The base of what a handler raises on purpose. It is logged without a traceback."""


class Retry(Signal):
    """Raise it in a handler to run the job again, as after a failure: it uses up a retry.

    - `reason`: recorded as the error.
    - `delay`: seconds or a timedelta; kept in seconds. None: the backoff decides.

    If no retries are left, the job becomes a dead letter. Raises InvalidInput for a delay below 0
    or above a year.
    """

    def __init__(self, reason: str = "", *, delay: float | timedelta | None = None) -> None:
        super().__init__(reason)
        self.reason = str(reason)
        self.delay = None if delay is None else seconds_of(delay)


class Snooze(Signal):
    """Raise it in a handler to run the job again later, without using up a retry.

    - `delay`: seconds or a timedelta, at most a year; kept in seconds.
    - `reason`: what the job waits for; `jobs show` displays it.
    """

    def __init__(self, delay: float | timedelta, reason: str = "") -> None:
        super().__init__(reason)
        self.reason = "" if reason is None else str(reason)
        self.delay = seconds_of(delay)


class Discard(Signal):
    """Raise it in a handler to give the job up: it is cancelled, and does not become a dead letter.

    `reason` is kept up to 1 KiB; `result()` raises JobCancelled with it.
    """

    def __init__(self, reason: str = "discarded") -> None:
        super().__init__(reason)
        self.reason = str(reason)
