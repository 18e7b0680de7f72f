"""What processor= says, and the defaults that the documents name."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from consumers.codec import default_id
from consumers.errors import InvalidInput
from consumers.job import Envelope, Job
from consumers.lanes import Lane
from consumers.policy import Handler
from consumers.transitions import DeadLetterBounds
from processors import Processor, RetryPolicy
from processors.backoff import delay_ms
from processors.retry import DEFAULT_RETRY_DELAY_MS
from taskmanager import TaskManager
from taskmanager.options import DLQ, RETRY
from taskmanager.policies import Policies, read_policies
from taskmanager.request import new_job

MONTH_MS = 30 * 24 * 3600 * 1000

READ: list[tuple[Any, Policies]] = [
    (None, Policies(None, DeadLetterBounds(10_000, 256 * 1024 * 1024, MONTH_MS))),
    ({}, Policies()),
    ({"retry": None, "dlq": None}, Policies()),
    ({"retry": {}}, Policies(RetryPolicy())),
    ({"retry": {"max_retries": None}}, Policies(RetryPolicy())),
    ({"retry": {"maxRetries": 5}}, Policies(RetryPolicy(max_retries=5))),
    ({"retry": {"attempts": 5}}, Policies(RetryPolicy(max_retries=5))),
    ({"retry": {"retryDelayMs": 50}}, Policies(RetryPolicy(retry_delay_ms=50))),
    ({"retry": {"maxDelayMs": 500}}, Policies(RetryPolicy(max_delay_ms=500))),
    ({"retry": {"multiplier": 3}}, Policies(RetryPolicy(multiplier=3.0))),
    ({"retry": {"jitter": True}}, Policies(RetryPolicy(jitter=True))),
    ({"retry": {"backoff": "linear"}}, Policies(RetryPolicy(backoff="linear"))),
    ({"dlq": {}}, Policies()),
    ({"dlq": {"enabled": False}}, Policies(bounds=DeadLetterBounds(most=0))),
    ({"dlq": {"maxLen": 5}}, Policies(bounds=DeadLetterBounds(most=5))),
    ({"dlq": {"maxAge": 60}}, Policies(bounds=DeadLetterBounds(max_age_ms=60_000))),
    ({"dlq": {"max_age": timedelta(days=30)}}, Policies()),
    ({"dlq": {"maxBytes": 500}}, Policies(bounds=DeadLetterBounds(most_bytes=500))),
]


@pytest.mark.parametrize(("given", "policies"), READ)
def test_processor_is_read(given: Any, policies: Policies) -> None:
    assert read_policies(given) == policies


def test_every_option_with_a_hump_was_written_in_camel_case() -> None:
    written = {name for given, _ in READ for part in (given or {}).values() for name in part or {}}
    humps = {it.name for table in (RETRY, DLQ) for it in table.options if "_" in it.name}

    assert {RETRY.name_of(it) or DLQ.name_of(it) for it in written if it.lower() != it} == humps


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ([], r"processor \[\] is not allowed: give a dict"),
        ({"retries": {}}, "unknown option 'retries' in processor; allowed: retry, dlq, ignore"),
        ({"retry": 3}, "retry 3 is not allowed: give a dict; {} stands for the defaults"),
        ({"retry": {"times": 3}}, "unknown option 'times' in processor's retry; allowed: max_retr"),
        ({"retry": {"max_retries": -1}}, "max_retries -1 is not allowed: give a whole number"),
        ({"retry": {"retry_delay_ms": 0.5}}, "retry_delay_ms 0.5 is not allowed"),
        ({"retry": {"max_delay_ms": "1"}}, "max_delay_ms '1' is not allowed"),
        ({"retry": {"multiplier": 0.5}}, "multiplier 0.5 is not allowed: give a number from 1"),
        ({"retry": {"jitter": 1}}, "jitter 1 is not allowed: give True or False"),
        ({"retry": {"backoff": "wild"}}, "backoff 'wild' is not allowed: give one of exponential"),
        ({"retry": {"attempts": 1, "maxRetries": 2}}, "'attempts' and 'maxRetries' of processor's"),
        ({"dlq": True}, "dlq True is not allowed: give a dict"),
        ({"dlq": {"enabled": 0}}, "enabled 0 is not allowed: give True or False"),
        ({"dlq": {"max_len": 0}}, "max_len 0 is not allowed: give a whole number of at least 1"),
        ({"dlq": {"max_age": "1d"}}, "max_age '1d' is not allowed: give seconds or a timedelta"),
        ({"dlq": {"stream": "x"}}, "unknown option 'stream' in processor's dlq; allowed: enabled"),
        ({"ignore_config_errors": "yes"}, "ignore_config_errors 'yes' is not allowed"),
    ],
)
def test_what_processor_cannot_be_is_refused(given: Any, message: str) -> None:
    with pytest.raises(InvalidInput, match=message):
        read_policies(given)


def test_unknown_options_may_be_warnings(caplog: pytest.LogCaptureFixture) -> None:
    given = {"ignoreConfigErrors": True, "x": 1, "retry": {"y": 2, "max_retries": 1}}

    assert read_policies(given) == Policies(RetryPolicy(max_retries=1))
    assert "unknown option 'x' in processor" in caplog.text
    assert "unknown option 'y' in processor's retry" in caplog.text


def job_of(arguments: Any, processor: Any = None) -> Job[Any]:
    """Return the job as a worker sees it."""
    new = new_job("event", arguments)
    envelope = Envelope(new.id, new.event, new.data, new.options, 1, 1, 0, 0, 0, 0)
    notes: Any = None
    job: Job[Any] = Job(envelope, new.lane, type="workers", delivered=1, epoch=1, notes=notes)
    retry = read_policies(processor).retry
    Processor({("default", "event"): Handler.of(print)}, retry=retry).prepare(job, 0)
    return job


def delays(policy: RetryPolicy) -> list[int]:
    return [delay_ms(n, base_ms=1000, max_ms=policy.max_delay_ms) for n in range(1, 7)]


# The defaults that the documents name, and what they are here.
DEFAULTS: list[tuple[str, Any, Any]] = [
    # The task manager: emit
    ("queue", job_of({}).queue, "default"),
    ("data", job_of({}).data, {}),
    ("options.id", new_job("event", {}).id, default_id("event", "default", b"{}")),
    ("options.priority", job_of({}).priority, 0),
    ("options.retryCount is attempts or 0", job_of({}).max_retries, 0),
    ("options.attempts", job_of({"options": {"attempts": 2}}).max_retries, 2),
    ("options.delayUntil is now", new_job("event", {}).due, ""),
    # The task manager: init and registerHandler
    ("concurrency", TaskManager().settings.concurrency, 1),
    ("processor", read_policies(None), read_policies({})),
    ("ctx", TaskManager().get_context().app, {}),
    ("processor.retry when it is empty", job_of({}, {"retry": {}}).max_retries, 3),
    ("processor.retry.retryDelayMs", DEFAULT_RETRY_DELAY_MS, 1000),
    ("processor.retry.maxDelayMs", RetryPolicy().max_delay_ms, 32_000),
    ("processor.retry.multiplier", RetryPolicy().multiplier, 2),
    ("processor.retry.jitter", RetryPolicy().jitter, False),
    ("processor.retry.backoff", RetryPolicy().backoff, "exponential"),
    # The distributed queue: job options
    ("partition", job_of({}).partition, "default"),
    ("priority is normal", Lane("default").priority, 0),
    # Its retry strategy: 3 attempts in all, 1 s, at most 30 s, doubling, jitter
    (
        "retryStrategy",
        delays(RetryPolicy(max_retries=2, max_delay_ms=30_000, jitter=True)),
        [1000, 2000, 4000, 8000, 16_000, 30_000],
    ),
]


@pytest.mark.parametrize(("name", "found", "wanted"), DEFAULTS, ids=[it[0] for it in DEFAULTS])
def test_the_defaults_of_the_documents_hold(name: str, found: Any, wanted: Any) -> None:
    assert found == wanted, name
