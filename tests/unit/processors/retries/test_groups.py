"""Errors and signals that a TaskGroup wrapped count as if the handler had raised them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from pydantic_core import from_json

from consumers.jobs.envelope import Envelope
from consumers.jobs.job import FakeJob, Job
from consumers.jobs.lanes import Lane
from consumers.jobs.outcome import Buried, Cancelled, Outcome, Raised, RetryAt
from consumers.policy import Handler
from processors.processor import Processor, Registration
from processors.retries.retry import RetryPolicy
from processors.retries.signals import Discard, Retry, Snooze
from taskmanager.worker.job_sentences import last_line


def group(*errors: Exception) -> ExceptionGroup[Exception]:
    return ExceptionGroup("unhandled errors in a TaskGroup", list(errors))


def after(error: BaseException, retry: Any = None, *, max_retries: int = 3) -> Outcome:
    handler = Handler.of(lambda job: None)
    policy = Processor({("q", "e"): Registration(handler, max_retries=max_retries, retry=retry)})
    envelope, notes = Envelope("7", "e", b"{}", b"", 1, 1, 0, 0, 0, 0), FakeJob(None)._notes
    job: Job[Any] = Job(
        envelope,
        Lane("q"),
        type="workers",
        delivered=1,
        epoch=1,
        notes=notes,
    )
    policy.prepare(job, 0)
    return policy.decide(job, Raised(error))


@pytest.mark.parametrize(
    ("error", "outcome"),
    [
        (group(Snooze(2)), RetryAt(2000, uses_attempt=False)),
        (group(group(Snooze(2))), RetryAt(2000, uses_attempt=False)),
        (group(Snooze(2), Discard("no")), RetryAt(2000, uses_attempt=False)),
        (group(Discard("no")), Cancelled("no")),
    ],
)
def test_a_signal_in_a_group_says_how_the_run_ends(error: Exception, outcome: Outcome) -> None:
    assert after(error) == outcome


def test_a_retry_in_a_group_has_its_delay_and_uses_the_budget() -> None:
    again = after(group(Retry(delay=5)))

    assert isinstance(again, RetryAt)
    assert (again.delay_ms, again.uses_attempt) == (5000, True)
    assert isinstance(after(group(Retry(delay=5)), max_retries=0), Buried)


def test_a_fault_beside_a_signal_is_a_failure() -> None:
    assert isinstance(after(group(Discard("no"), ValueError("a bug")), max_retries=0), Buried)


NETWORK = RetryPolicy(max_retries=3, retry_on=(OSError,))


@pytest.mark.parametrize(
    ("error", "retry", "outcome"),
    [
        (group(ConnectionError()), NETWORK, RetryAt),
        (group(ConnectionError(), group(TimeoutError())), NETWORK, RetryAt),
        (group(ConnectionError(), ValueError()), NETWORK, Buried),
        (group(ValueError()), RetryPolicy(retry_on=(ExceptionGroup,)), RetryAt),
        (group(OSError(), ValueError()), RetryPolicy(never_on=(ValueError,)), Buried),
        (group(OSError()), RetryPolicy(never_on=(ExceptionGroup,)), Buried),
        (BaseExceptionGroup("", [asyncio.CancelledError()]), RetryPolicy(), RetryAt),
        (BaseExceptionGroup("", [KeyboardInterrupt()]), RetryPolicy(), Buried),
        (group(OSError()), lambda job, error: isinstance(error, OSError), RetryAt),
        (group(OSError(), OSError()), lambda job, error: isinstance(error, OSError), Buried),
    ],
)
def test_a_group_is_retried_when_every_error_in_it_would_be(
    error: BaseException, retry: RetryPolicy | Callable[..., Any], outcome: type[Outcome]
) -> None:
    assert isinstance(after(error, retry), outcome)


def test_the_history_and_the_log_name_what_is_in_a_group() -> None:
    """The log line of such a dead job was the frame around its traceback."""
    try:
        raise group(ValueError("first"), KeyError("second"))
    except ExceptionGroup as error:
        outcome = after(error, max_retries=0)

    assert isinstance(outcome, Buried)
    [kept] = from_json(outcome.errors)
    assert kept["error"].endswith("(2 sub-exceptions): ValueError: first; KeyError: 'second'")
    assert last_line(outcome.error) == "KeyError: 'second'"
