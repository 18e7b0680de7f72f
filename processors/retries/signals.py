"""What a handler may raise to say how its run ends. These are signals, not faults."""

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
    """The base of what a handler raises on purpose; logged without a traceback."""


class Retry(Signal):
    """Run the job again, as after a failure: it uses the retry budget.

    delay is given in seconds or a timedelta, and kept in seconds; without it the backoff
    decides. reason is what is recorded as the error.
    """

    def __init__(self, reason: str = "", *, delay: float | timedelta | None = None) -> None:
        super().__init__(reason)
        self.reason = str(reason)
        self.delay = None if delay is None else seconds_of(delay)


class Snooze(Signal):
    """Run the job again after a delay, without using the retry budget.

    delay is given in seconds or a timedelta, and kept in seconds; reason says what it waits for.
    """

    def __init__(self, delay: float | timedelta, reason: str = "") -> None:
        super().__init__(reason)
        self.reason = "" if reason is None else str(reason)
        self.delay = seconds_of(delay)


class Discard(Signal):
    """Give the job up: it ends as cancelled, with the reason, and becomes no dead letter.

    Of the reason 1 KiB is kept.
    """

    def __init__(self, reason: str = "discarded") -> None:
        super().__init__(reason)
        self.reason = str(reason)
