"""Whether and when a failed job is run again."""

from __future__ import annotations

from asyncio import CancelledError
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, get_args

from consumers.errors import InvalidInput
from consumers.jobs.job import Job
from processors.retries.backoff import MAX_DELAY_MS, Kind, delay_ms
from processors.retries.groups import members
from processors.retries.signals import Discard, Retry, Snooze

# What a callable policy answers: Retry or True to run again, Snooze to do so without
# using the budget, Discard to cancel, False or None to bury.
Decision = Retry | Snooze | Discard | bool | None
RetryFunction = Callable[[Job[Any], BaseException], Decision]

# What counts when nobody says anything else: a policy alone asks for retries.
DEFAULT_MAX_RETRIES = 3
DEFAULT_RETRY_DELAY_MS = 1000

_MOST_RETRIES = 1_000_000
_MOST_MULTIPLIER = 1000
_WHOLE = {
    "max_retries": _MOST_RETRIES,
    "retry_delay_ms": MAX_DELAY_MS,
    "max_delay_ms": MAX_DELAY_MS,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryPolicy:
    """How often a job is retried, after which errors, and with which delays.

    - `max_retries`: how often a job is run again after a failure. None leaves it to the next in
      order: emit, handler, this policy, `processor=`. If none of them sets it, it is 3.
    - `retry_delay_ms`: milliseconds before the first retry. None leaves it open in the same way;
      the last default is 1000.
    - `backoff`: how delays grow. "exponential" is `retry_delay_ms * multiplier ** (retry - 1)`,
      "linear" is `retry_delay_ms * retry`, "fixed" is `retry_delay_ms`.
    - `multiplier`: the factor of the exponential backoff, 1 to 1000.
    - `max_delay_ms`: no delay is longer, in milliseconds.
    - `jitter`: True multiplies each delay by a random factor from 0.5 to 1, so that jobs that
      failed together do not return together.
    - `retry_on`, `never_on`: tuples of exception classes. An error is retried if it is one of
      `retry_on` and none of `never_on`. A group of errors is retried if the group or each error in
      it is, and none is one of `never_on`. A CancelledError counts as an Exception: one that gets
      here came out of something the handler awaited, not from the worker.

    Raises InvalidInput for values that are not allowed.
    """

    max_retries: int | None = None
    retry_delay_ms: int | None = None
    max_delay_ms: int = 32_000
    multiplier: float = 2.0
    jitter: bool = False
    backoff: Kind = "exponential"
    retry_on: tuple[type[BaseException], ...] = (Exception,)
    never_on: tuple[type[BaseException], ...] = ()

    def __post_init__(self) -> None:
        for name, most in _WHOLE.items():
            given = getattr(self, name)
            left_open = given is None and name != "max_delay_ms"
            allowed = left_open or (type(given) is int and 0 <= given <= most)
            _check(name, given, allowed, f"a whole number from 0 to {most:,}")
        factor = self.multiplier
        known = isinstance(factor, int | float) and 1 <= factor <= _MOST_MULTIPLIER
        _check("multiplier", factor, known, f"1 to {_MOST_MULTIPLIER}")
        _check("jitter", self.jitter, type(self.jitter) is bool, "True or False")
        _check("backoff", self.backoff, self.backoff in get_args(Kind), ", ".join(get_args(Kind)))
        for name in ("retry_on", "never_on"):
            given = getattr(self, name)
            _check(name, given, _are_errors(given), "a tuple of exception classes")

    def wants(self, error: BaseException) -> bool:
        """Return whether a job that failed with this error is worth another run."""
        found = members(error)
        if any(isinstance(it, self.never_on) for it in (error, *found)):
            return False
        return self._is_to_be_tried(error) or all(map(self._is_to_be_tried, found))

    def _is_to_be_tried(self, error: BaseException) -> bool:
        if isinstance(error, CancelledError) and Exception in self.retry_on:
            return True
        return isinstance(error, self.retry_on)

    def delay_ms(self, retry: int, base_ms: int) -> int:
        """Return the delay in ms before a retry, 1 being the first, from the base delay in ms."""
        return delay_ms(
            retry,
            base_ms=base_ms,
            kind=self.backoff,
            multiplier=self.multiplier,
            max_ms=self.max_delay_ms,
            jitter=self.jitter,
        )


def _are_errors(given: object) -> bool:
    return isinstance(given, tuple) and all(
        isinstance(it, type) and issubclass(it, BaseException) for it in given
    )


def _check(name: str, given: object, allowed: bool, what: str) -> None:
    if not allowed:
        raise InvalidInput(f"{name} {given!r} of a RetryPolicy is not allowed: give {what}")
