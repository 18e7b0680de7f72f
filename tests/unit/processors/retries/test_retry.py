"""Whether, when and how often a failed job is run again; no Redis is needed to decide that."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import pytest
from pydantic_core import from_json, to_json

from consumers.errors import InvalidInput, JobTimeout
from consumers.jobs.envelope import Envelope
from consumers.jobs.job import FakeJob, Job
from consumers.jobs.lanes import Lane
from consumers.jobs.outcome import Buried, Cancelled, Completed, Outcome, Raised, RetryAt, Returned
from consumers.policy import Handler
from processors import Discard, Processor, Registration, Retry, RetryPolicy, Snooze
from processors.retries.backoff import MAX_DELAY_MS, delay_ms
from processors.retries.history import with_error, with_reason

HANDLER = Handler.of(lambda job: None)


def a_job(*, failures: int = 0, errors: bytes = b"", **options: Any) -> Job[Any]:
    envelope = Envelope(
        "7", "x", b"{}", to_json(options) if options else b"", 1, 1, 1_000, failures, 0, 0, errors
    )
    notes = FakeJob(None)._notes
    return Job(envelope, Lane("default"), type="workers", delivered=1, epoch=1, notes=notes)


def after(
    error: BaseException,
    job: Job[Any] | None = None,
    *,
    processor: RetryPolicy | None = None,
    **registration: Any,
) -> Outcome:
    """Return the outcome of a run that raised."""
    job = job or a_job()
    policy = Processor({("default", "x"): Registration(HANDLER, **registration)}, retry=processor)
    assert policy.prepare(job, lambda: 0) is None
    return policy.decide(job, Raised(error))


@pytest.mark.parametrize(
    ("kind", "delays"),
    [
        ("exponential", [1000, 2000, 4000, 8000, 16_000, 32_000, 32_000]),
        ("linear", [1000, 2000, 3000, 4000, 5000, 6000, 7000]),
        ("fixed", [1000] * 7),
    ],
)
def test_delays_grow_as_the_backoff_says(kind: Any, delays: list[int]) -> None:
    assert [delay_ms(n, base_ms=1000, kind=kind) for n in range(1, 8)] == delays


def test_jitter_is_half_to_all_of_the_delay() -> None:
    given: list[tuple[float, float]] = []

    def uniform(low: float, high: float) -> float:
        given.append((low, high))
        return 0.75

    assert delay_ms(2, base_ms=1000, jitter=True, uniform=uniform) == 1500
    assert given == [(0.5, 1.0)]


def test_a_delay_after_very_many_retries_is_the_longest() -> None:
    assert delay_ms(100_000, base_ms=1000) == 32_000


# What is said at emit, by the handler, by its policy, by the processor; what counts.
BUDGETS: list[tuple[Any, Any, Any, Any, int]] = [
    (None, None, None, None, 0),
    (None, None, None, RetryPolicy(), 3),
    (None, None, None, RetryPolicy(max_retries=5), 5),
    (None, None, RetryPolicy(), None, 3),
    (None, None, RetryPolicy(), RetryPolicy(max_retries=5), 5),
    (None, None, RetryPolicy(max_retries=4), RetryPolicy(max_retries=5), 4),
    (None, None, lambda job, error: True, None, 3),
    (None, 2, RetryPolicy(max_retries=4), RetryPolicy(max_retries=5), 2),
    (None, 0, RetryPolicy(max_retries=4), RetryPolicy(max_retries=5), 0),
    (1, 2, RetryPolicy(max_retries=4), RetryPolicy(max_retries=5), 1),
    (0, 2, RetryPolicy(max_retries=4), RetryPolicy(max_retries=5), 0),
    (1, None, None, None, 1),
]


@pytest.mark.parametrize(("emit", "handler", "policy", "processor", "budget"), BUDGETS)
def test_emit_wins_over_the_handler_over_the_processor_over_the_default(
    emit: Any, handler: Any, policy: Any, processor: Any, budget: int
) -> None:
    options = {} if emit is None else {"max_retries": emit}
    registration = Registration(HANDLER, max_retries=handler, retry=policy)
    job = a_job(**options)
    Processor({("default", "x"): registration}, retry=processor).prepare(job, lambda: 0)

    assert job.max_retries == budget


@pytest.mark.parametrize(
    ("emit", "handler", "policy", "processor", "delay"),
    [
        (None, None, None, None, 1000),
        (None, None, None, 50, 50),
        (None, None, 40, 50, 40),
        (None, 30, 40, 50, 30),
        (20, 30, 40, 50, 20),
        (0, 30, 40, 50, 0),
    ],
)
def test_the_first_delay_has_the_same_precedence(
    emit: int | None, handler: int | None, policy: int | None, processor: int | None, delay: int
) -> None:
    job = a_job(max_retries=1, **({} if emit is None else {"retry_delay_ms": emit}))
    outcome = after(
        OSError(),
        job,
        processor=RetryPolicy(retry_delay_ms=processor),
        retry_delay_ms=handler,
        retry=None if policy is None else RetryPolicy(retry_delay_ms=policy),
    )

    assert isinstance(outcome, RetryAt)
    assert outcome.delay_ms == delay


@pytest.mark.parametrize(
    ("emit", "handler", "timeout"), [(None, None, None), (None, 30.0, 30.0), (2.0, 30.0, 2.0)]
)
def test_the_timeout_is_that_of_emit_then_of_the_handler(
    emit: float | None, handler: float | None, timeout: float | None
) -> None:
    job = a_job(**({} if emit is None else {"timeout": emit}))
    Processor({("default", "x"): Registration(HANDLER, timeout=handler)}).prepare(job, lambda: 0)

    assert job.timeout == timeout


def test_three_retries_are_four_runs() -> None:
    outcomes = [after(OSError(), a_job(failures=n, max_retries=3)) for n in range(4)]

    assert [type(it) for it in outcomes] == [RetryAt, RetryAt, RetryAt, Buried]


class AnHourBehind:
    """The notes and the delivery of a job whose worker knows that Redis' clock is behind."""

    worker = "w"
    started_ms = 5_000
    now = 6_000

    def now_ms(self) -> int:
        return self.now


def test_what_is_noted_of_a_run_is_timed_by_redis_clock() -> None:
    job, told = a_job(max_retries=1), AnHourBehind()
    job._notes, job._delivery = told, told  # type: ignore[assignment]

    (error,) = from_json(with_error(job, OSError("no")))
    (reason,) = from_json(with_reason(job, "not now"))
    assert (error["started"], error["at"], reason["at"]) == (5_000, 6_000, 6_000)

    # It has learned better since the start.
    told.now = 4_000
    (error,) = from_json(with_error(job, OSError("no")))
    assert (error["started"], error["at"]) == (5_000, 5_000)


def test_a_retry_keeps_the_last_ten_errors() -> None:
    before = to_json([{"at": n, "attempt": n, "delivery": n, "error": str(n)} for n in range(10)])
    outcome = after(OSError("disk\nfull"), a_job(failures=9, errors=before, max_retries=20))

    assert isinstance(outcome, RetryAt)
    kept = from_json(outcome.errors)
    assert len(kept) == 10
    assert [kept[0]["error"], kept[-1]["error"]] == ["1", "OSError: disk full"]
    assert kept[-1]["attempt"] == 10


@pytest.mark.parametrize(
    ("policy", "error", "outcome"),
    [
        (RetryPolicy(retry_on=(OSError,)), ConnectionError(), RetryAt),
        (RetryPolicy(retry_on=(OSError,)), ValueError(), Buried),
        (RetryPolicy(never_on=(ValueError,)), ValueError(), Buried),
        (RetryPolicy(never_on=(ValueError,)), OSError(), RetryAt),
        (RetryPolicy(), JobTimeout("7", 1), RetryAt),
        (RetryPolicy(), SystemExit(), Buried),
        (RetryPolicy(), asyncio.CancelledError(), RetryAt),
        (RetryPolicy(retry_on=(OSError,)), asyncio.CancelledError(), Buried),
        (RetryPolicy(never_on=(asyncio.CancelledError,)), asyncio.CancelledError(), Buried),
        (lambda job, error: job.attempt < 2, OSError(), RetryAt),
        (lambda job, error: None, OSError(), Buried),
        (lambda job, error: Discard("no use"), OSError(), Cancelled),
        (lambda job, error: Retry(delay=5), OSError(), RetryAt),
    ],
)
def test_a_policy_decides_by_the_error(
    policy: Any, error: BaseException, outcome: type[Outcome]
) -> None:
    assert isinstance(after(error, retry=policy), outcome)


@pytest.mark.parametrize(
    ("signal", "outcome"),
    [
        (Retry(delay=0.0015), RetryAt(2)),
        (Retry(delay=timedelta(seconds=2)), RetryAt(2000)),
        (Retry("later"), RetryAt(1000)),
        (Snooze(60), RetryAt(60_000, uses_attempt=False)),
        (Snooze(timedelta(minutes=1)), RetryAt(60_000, uses_attempt=False)),
        (Discard("too old"), Cancelled("too old")),
        (Discard(), Cancelled("discarded")),
    ],
)
def test_a_handler_says_by_a_signal_how_its_run_ends(signal: Exception, outcome: Outcome) -> None:
    decided = after(signal, a_job(max_retries=1))

    if isinstance(decided, RetryAt) and decided.uses_attempt:
        decided = RetryAt(decided.delay_ms)
    assert decided == outcome


def test_retry_uses_the_budget_and_snooze_does_not() -> None:
    exhausted = a_job(failures=1, max_retries=1)

    assert isinstance(after(Retry(delay=1), exhausted), Buried)
    assert isinstance(after(Snooze(1), exhausted), RetryAt)


@pytest.mark.parametrize("delay", [-1, float("nan"), "1", None, timedelta(days=400)])
def test_a_signal_refuses_a_delay_that_is_none(delay: Any) -> None:
    with pytest.raises(InvalidInput, match=r"a delay of .* is not allowed: give seconds"):
        Snooze(delay)


def test_a_delay_is_never_longer_than_a_year() -> None:
    outcome = after(Retry(delay=timedelta(days=365)), a_job(max_retries=1))

    assert isinstance(outcome, RetryAt)
    assert outcome.delay_ms == MAX_DELAY_MS


@pytest.mark.parametrize(
    ("options", "now_ms", "expired"),
    [
        ({"expires_ms": 500}, 1_499, False),
        ({"expires_ms": 500}, 1_500, True),
        ({"expires_at": 2_000}, 1_999, False),
        ({"expires_at": 2_000}, 2_000, True),
        ({}, 10**15, False),
    ],
)
def test_an_expired_job_does_not_start(options: Any, now_ms: int, expired: bool) -> None:
    policy = Processor({("default", "x"): HANDLER})

    outcome = policy.prepare(a_job(**options), lambda: now_ms)

    assert outcome == (Cancelled("expired") if expired else None)


def test_a_bad_result_is_not_retried() -> None:
    policy = Processor({("default", "x"): HANDLER}, retry=RetryPolicy())
    job = a_job()
    policy.prepare(job, lambda: 0)

    assert isinstance(policy.decide(job, Returned(object())), Buried)
    assert isinstance(policy.decide(job, Returned(1)), Completed)


@pytest.mark.parametrize(
    ("option", "given"),
    [
        ("max_retries", -1),
        ("max_retries", "3"),
        ("retry_delay_ms", -5),
        ("max_delay_ms", None),
        ("multiplier", float("nan")),
        ("multiplier", 0.1),
        ("jitter", 1),
        ("backoff", "wild"),
        ("retry_on", [ValueError]),
        ("never_on", "x"),
    ],
)
def test_a_policy_that_makes_no_sense_is_refused_when_it_is_made(option: str, given: Any) -> None:
    with pytest.raises(InvalidInput, match=f"^{option} .* of a RetryPolicy is not allowed: give"):
        RetryPolicy(**{option: given})


class Unnamed(type):
    """A metaclass that names nothing."""

    @property
    def __name__(cls) -> str:  # type: ignore[override]
        raise RuntimeError("no")


def test_an_error_whose_class_has_no_name_is_retried_as_any_other() -> None:
    class Nameless(Exception, metaclass=Unnamed):
        pass

    (entry,) = from_json(with_error(Job.fake(None), Nameless("odd")))

    assert entry["type"].endswith("<locals>.Nameless")
    assert entry["error"] == "Nameless: odd"


def test_what_a_class_is_called_breaks_no_layout() -> None:
    odd = type("X\x1ed[1]\n\x1b", (Exception,), {"__module__": "m\x1fod, 1"})

    (entry,) = from_json(with_error(Job.fake(None), odd()))

    assert entry["type"] == "m?od??1.X?d?1???"
