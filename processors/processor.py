"""Decide what becomes of a run. It holds no connection and does no I/O."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from math import ceil
from typing import Any

from consumers.errors import InvalidInput
from consumers.jobs.codec import RESULT_LIMIT, encode
from consumers.jobs.job import Job
from consumers.jobs.outcome import (
    Buried,
    Cancelled,
    Completed,
    Ended,
    Outcome,
    Raised,
    RetryAt,
)
from consumers.jobs.texts import describe, named
from consumers.policy import Handler
from processors.retries.backoff import MAX_DELAY_MS
from processors.retries.groups import lone, signal_of
from processors.retries.history import with_error, with_reason
from processors.retries.retry import (
    DEFAULT_MAX_RETRIES,
    DEFAULT_RETRY_DELAY_MS,
    Decision,
    RetryFunction,
    RetryPolicy,
)
from processors.retries.signals import Discard, Retry, Snooze

_NOTHING = Completed()


@dataclass(frozen=True, slots=True)
class Registration:
    """A handler, and how its jobs are treated. None leaves a value to the processor.

    - `handler`: the function, as a Handler.
    - `max_retries`: how often a job is run again after a failure.
    - `retry_delay_ms`: milliseconds before the first retry.
    - `timeout`: seconds that one run may take.
    - `retry`: a RetryPolicy, or a function `(job, error)` that decides.
    - `requires`: the capabilities that a worker must have to run it.
    """

    handler: Handler
    max_retries: int | None = None
    retry_delay_ms: int | None = None
    timeout: float | None = None
    retry: RetryPolicy | RetryFunction | None = None
    requires: tuple[str, ...] = ()


class Processor:
    """The policy of a worker: decides whether a run completes, is retried, is cancelled or is dead.

    `registrations` maps (queue, event) to a Registration or a Handler, and must not change later.
    `retry` is the policy for jobs whose emit and registration do not set retries. Without any
    policy, nothing is retried. `capabilities` is what the worker can do: registrations that require
    anything else are left out. With None, all are kept.
    """

    def __init__(
        self,
        registrations: Mapping[tuple[str, str], Registration | Handler],
        *,
        retry: RetryPolicy | None = None,
        capabilities: Collection[str] | None = None,
    ) -> None:
        self._registrations = {
            name: given if isinstance(given, Registration) else Registration(given)
            for name, given in registrations.items()
        }
        self._retry = retry
        self._shape = retry or RetryPolicy()
        # What a handler's jobs get that ask for nothing themselves: retries, and a timeout (s).
        self._budgets = {
            name: (self._max_retries(it), it.timeout) for name, it in self._registrations.items()
        }
        self._handlers: dict[tuple[str, str], Handler] = {}
        self._events: dict[str, frozenset[str]] = {}
        self.set_capabilities(capabilities)

    def set_capabilities(self, names: Collection[str] | None) -> None:
        """Leave out the registrations that require other capabilities than these, from now on.

        What becomes of runs that have begun is decided as before. Whoever reads lanes by `events`
        must look at it again.
        """
        able = {
            name: it.handler
            for name, it in self._registrations.items()
            if names is None or not lacking(it.requires, names)
        }
        events: defaultdict[str, set[str]] = defaultdict(set)
        for queue, event in able:
            events[queue].add(event)
        self._events = {queue: frozenset(its) for queue, its in events.items()}
        self._handlers = able

    def events(self, queue: str) -> frozenset[str]:
        """Return the events of a queue that have a handler now; empty if none has."""
        return self._events.get(queue, frozenset())

    def handler(self, queue: str, event: str) -> Handler | None:
        """Return the handler of an event in a queue, or None; left out ones count as none."""
        return self._handlers.get((queue, event))

    def prepare(self, job: Job[Any], now_ms: Callable[[], int]) -> Outcome | None:
        """Set `max_retries` and `timeout` of a job; return an outcome if it must not run.

        That is so for an expired job, which is cancelled.
        """
        job.max_retries, job.timeout = self._budgets[job.queue, job.event]
        return _prepare_as_asked(job, now_ms) if job.options else None

    def decide(self, job: Job[Any], ended: Ended) -> Outcome:
        """Return the outcome to record for the end of a run."""
        if isinstance(ended, Raised):
            return self._after(job, ended.error)
        if ended.value is None:
            return _NOTHING
        try:
            return Completed(
                encode(ended.value, what=f"the result of job {job.id!r}", limit=RESULT_LIMIT)
            )
        except InvalidInput as error:
            return Buried("bad_result", str(error), errors=with_error(job, error))

    def _after(self, job: Job[Any], error: BaseException) -> Outcome:
        signal = signal_of(error)
        if isinstance(signal, Discard):
            return Cancelled(signal.reason)
        if isinstance(signal, Snooze):
            return _put_off(job, signal)
        try:
            decision = signal if isinstance(signal, Retry) else self._decision(job, error)
        except BaseException as broken:
            why = f"{describe(error)}\nand its retry policy raised {named(broken)}"
            return Buried("failed", why, errors=with_error(job, error))
        if isinstance(decision, Snooze):
            return _put_off(job, decision)
        if isinstance(decision, Discard):
            return Cancelled(decision.reason)
        if not decision or job.attempt > job.max_retries:
            return Buried("failed", describe(error), errors=with_error(job, error))
        delay = decision.delay if isinstance(decision, Retry) else None
        return RetryAt(self._delay_ms(job, delay), with_error(job, error))

    def _decision(self, job: Job[Any], error: BaseException) -> Decision:
        retry = self._registration(job).retry
        if retry is not None and not isinstance(retry, RetryPolicy):
            return retry(job, lone(error))
        return self._policy(self._registration(job)).wants(error)

    def _delay_ms(self, job: Job[Any], given: float | None) -> int:
        if given is not None:
            return min(MAX_DELAY_MS, _ms(given))
        registration = self._registration(job)
        policy = self._policy(registration)
        base_ms = _first(
            job.options.get("retry_delay_ms"),
            registration.retry_delay_ms,
            policy.retry_delay_ms,
            self._shape.retry_delay_ms,
            DEFAULT_RETRY_DELAY_MS,
        )
        return policy.delay_ms(job.attempt, base_ms)

    def _max_retries(self, registration: Registration) -> int:
        asked = self._retry is not None or registration.retry is not None
        return _first(
            registration.max_retries,
            self._policy(registration).max_retries,
            self._shape.max_retries,
            DEFAULT_MAX_RETRIES if asked else 0,
        )

    def _registration(self, job: Job[Any]) -> Registration:
        return self._registrations[job.queue, job.event]

    def _policy(self, registration: Registration) -> RetryPolicy:
        own = registration.retry
        return own if isinstance(own, RetryPolicy) else self._shape


def lacking(requires: Collection[str], capabilities: Collection[str]) -> list[str]:
    """Return the required capabilities that are not there, in their order."""
    return [it for it in requires if it not in capabilities]


def _prepare_as_asked(job: Job[Any], now_ms: Callable[[], int]) -> Outcome | None:
    """Let what the job's emit said go before what its handler says."""
    if (expires_at := job.expires_at_ms) is not None and now_ms() >= expires_at:
        return Cancelled("expired")
    job.max_retries = _first(job.options.get("max_retries"), job.max_retries)
    job.timeout = job.options.get("timeout", job.timeout)
    return None


def _put_off(job: Job[Any], snooze: Snooze) -> RetryAt:
    return RetryAt(_ms(snooze.delay), with_reason(job, snooze.reason), uses_attempt=False)


def _ms(seconds: float) -> int:
    # Up, because early is not due.
    return ceil(seconds * 1000)


def _first(*values: int | None) -> int:
    """Return the first value that was given."""
    return next(value for value in values if value is not None)
