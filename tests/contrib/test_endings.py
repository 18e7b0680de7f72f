"""Which run of a task is its last: what Django's task_finished waits for; no Django is needed."""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from consumers.errors import JobTimeout
from consumers.run.run import current_run
from taskmanager import Discard, Job, JobCancelled, Retry, RetryPolicy, Snooze
from taskmanager.contrib.django.endings import Ending, ending_of

POLICY = RetryPolicy(never_on=(KeyError,))
FAULT = ValueError("no")


@pytest.mark.parametrize(
    ("error", "attempt", "final"),
    [
        (None, 1, True),
        (FAULT, 1, False),
        (FAULT, 3, True),
        (KeyError("x"), 1, True),
        (Retry(), 1, False),
        (Retry(), 3, True),
        (Snooze(1), 3, False),
        (Discard(), 1, True),
        (SystemExit(), 1, True),
    ],
)
def test_of_three_attempts(error: BaseException | None, attempt: int, final: bool) -> None:
    job = Job.fake({}, attempt=attempt, max_retries=2)

    assert ending_of(job, error, POLICY) == Ending(final, error)


@pytest.fixture
def cut_short() -> Iterator[Any]:
    """A run whose job is not to go on; what for is the test's to say."""
    run: Any = SimpleNamespace(delivery=SimpleNamespace(cancelled=False), timed_out=False)
    token = current_run.set(run)
    yield run
    current_run.reset(token)


@pytest.mark.parametrize("error", [None, FAULT])
def test_a_cancelled_job_has_ended_whatever_its_task_did(
    cut_short: Any, error: BaseException | None
) -> None:
    cut_short.delivery.cancelled = True

    ending = ending_of(Job.fake({}, cancelled=True, max_retries=2), error, POLICY)

    assert ending.final
    assert isinstance(ending.error, JobCancelled)


@pytest.mark.parametrize(("attempt", "final"), [(1, False), (3, True)])
def test_a_timeout_uses_an_attempt(cut_short: Any, attempt: int, final: bool) -> None:
    cut_short.timed_out = True
    job = Job.fake({}, cancelled=True, attempt=attempt, max_retries=2, timeout=1.0)

    ending = ending_of(job, None, POLICY)

    assert ending.final is final
    assert isinstance(ending.error, JobTimeout)


def test_a_run_that_a_stop_cut_short_ends_nothing(cut_short: Any) -> None:
    job = Job.fake({}, cancelled=True)

    assert not ending_of(job, FAULT, POLICY).final
