"""How long a job waits for a newer version of its handler."""

from __future__ import annotations

import pytest

from consumers.jobs.job import Job
from consumers.jobs.outcome import Buried, RetryAt
from consumers.jobs.past import noted, reason_in
from processors.retries.newer import NewerData, delay_after


def test_it_is_put_back_soon_at_first_and_then_once_a_minute_for_an_hour() -> None:
    delays = []
    while (delay := delay_after(len(delays) + 1, 3600)) is not None:
        delays.append(delay)

    assert delays[:4] == [1, 2, 4, 5]
    assert (delays.count(5), delays.count(60)) == (24, 58)
    assert 3600 <= sum(delays) < 3660


@pytest.mark.parametrize(("deliveries", "deadline"), [(1, 0), (2, 1), (10**9, 3600)])
def test_it_is_buried_when_it_has_waited_long_enough(deliveries: int, deadline: float) -> None:
    outcome = NewerData("greet", ["loud", "x" * 500], deadline=deadline).outcome(
        Job.fake(None, delivery=deliveries)
    )

    assert isinstance(outcome, Buried)
    assert outcome.reason == "bad_payload"
    assert "had a version of 'greet' that takes 'loud', 'xxxx" in outcome.error
    assert len(outcome.error) < 300


def test_put_backs_are_not_in_step_with_anything() -> None:
    newer, job = NewerData("greet", ["loud"], deadline=60), Job.fake(None, delivery=4)
    outcomes = [newer.outcome(job) for _ in range(20)]

    assert len({it.delay_ms for it in outcomes if isinstance(it, RetryAt)}) > 10


def test_a_put_back_uses_no_attempt() -> None:
    outcome = NewerData("greet", ["loud"], deadline=60).outcome(Job.fake(None, delivery=2))

    assert isinstance(outcome, RetryAt)
    assert 1000 <= outcome.delay_ms <= 3000
    assert outcome.uses_attempt is False
    assert reason_in(noted(outcome.errors)) == "this version of 'greet' does not take 'loud'"
