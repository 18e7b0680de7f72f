"""What processor= says, and the defaults that the documents name."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from unittest import mock

import pytest

from consumers.chance import chance
from consumers.errors import InvalidInput
from consumers.jobs.bounds import DeadLetterBounds
from consumers.jobs.envelope import Envelope
from consumers.jobs.ids import default_id
from consumers.jobs.job import FakeJob, Job
from consumers.jobs.outcome import Buried, Raised, RetryAt
from consumers.policy import Handler
from processors import Processor, RetryPolicy
from taskmanager import TaskManager
from taskmanager.configuration import Configuration
from taskmanager.handlers.registry import Registry
from taskmanager.options.arguments import DeadLetterOptions, ProcessorOptions, RetryOptions
from taskmanager.options.processor import ProcessorSettings, read_processor
from taskmanager.options.request import requested
from taskmanager.options.tables import DLQ, PROCESSOR, RETRY, Table

MONTH_MS = 30 * 24 * 3600 * 1000

READ: list[tuple[Any, ProcessorSettings]] = [
    (None, ProcessorSettings(None, DeadLetterBounds(10_000, 256 * 1024 * 1024, MONTH_MS))),
    ({}, ProcessorSettings()),
    ({"retry": None, "dlq": None}, ProcessorSettings()),
    ({"retry": {}}, ProcessorSettings(RetryPolicy())),
    ({"retry": {"max_retries": None}}, ProcessorSettings(RetryPolicy())),
    ({"retry": {"maxRetries": 5}}, ProcessorSettings(RetryPolicy(max_retries=5))),
    ({"retry": {"attempts": 5}}, ProcessorSettings(RetryPolicy(max_retries=5))),
    ({"retry": {"retryDelayMs": 50}}, ProcessorSettings(RetryPolicy(retry_delay_ms=50))),
    ({"retry": {"maxDelayMs": 500}}, ProcessorSettings(RetryPolicy(max_delay_ms=500))),
    ({"retry": {"multiplier": 3}}, ProcessorSettings(RetryPolicy(multiplier=3.0))),
    ({"retry": {"jitter": True}}, ProcessorSettings(RetryPolicy(jitter=True))),
    ({"retry": {"backoff": "linear"}}, ProcessorSettings(RetryPolicy(backoff="linear"))),
    ({"dlq": {}}, ProcessorSettings()),
    ({"dlq": "shop-dead"}, ProcessorSettings(bounds=DeadLetterBounds(stream="shop-dead"))),
    ({"dlq": {"stream": "x"}}, ProcessorSettings(bounds=DeadLetterBounds(stream="x"))),
    ({"dlq": {"enabled": False}}, ProcessorSettings(bounds=DeadLetterBounds(most=0))),
    ({"dlq": {"maxLen": 5}}, ProcessorSettings(bounds=DeadLetterBounds(most=5))),
    ({"dlq": {"maxAge": 60}}, ProcessorSettings(bounds=DeadLetterBounds(max_age_ms=60_000))),
    ({"dlq": {"max_age": timedelta(days=30)}}, ProcessorSettings()),
    ({"dlq": {"maxBytes": 500}}, ProcessorSettings(bounds=DeadLetterBounds(most_bytes=500))),
]


@pytest.mark.parametrize(("given", "options"), READ)
def test_processor_is_read(given: Any, options: ProcessorSettings) -> None:
    assert read_processor(given) == options


def test_every_option_with_a_hump_was_written_in_camel_case() -> None:
    written = {name for given, _ in READ for part in (given or {}).values() for name in part or {}}
    humps = {it.name for table in (RETRY, DLQ) for it in table.options if "_" in it.name}

    assert {RETRY.name_of(it) or DLQ.name_of(it) for it in written if it.lower() != it} == humps


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ([], r"processor \[\] is not allowed: give a dict"),
        ({"retries": {}}, "unknown option 'retries' in processor.*; allowed: retry, dlq, ignore"),
        ({"retry": 3}, "retry 3 is not allowed: give a dict; {} means the defaults"),
        ({"retry": {"times": 3}}, "unknown option 'times' in processor's retry; allowed: max_retr"),
        ({"retry": {"max_retries": -1}}, "max_retries -1 is not allowed: give a whole number"),
        ({"retry": {"retry_delay_ms": 0.5}}, "retry_delay_ms 0.5 is not allowed"),
        ({"retry": {"max_delay_ms": "1"}}, "max_delay_ms '1' is not allowed"),
        ({"retry": {"multiplier": 0.5}}, "multiplier 0.5 is not allowed: give a number from 1"),
        ({"retry": {"jitter": 1}}, "jitter 1 is not allowed: give True or False"),
        ({"retry": {"backoff": "wild"}}, "backoff 'wild' is not allowed: give one of exponential"),
        ({"retry": {"attempts": 1, "maxRetries": 2}}, "'attempts' and 'maxRetries' of processor's"),
        ({"dlq": True}, "dlq True is not allowed: give a stream name, or a dict"),
        ({"dlq": {"enabled": 0}}, "enabled 0 is not allowed: give True or False"),
        ({"dlq": {"max_len": 0}}, "max_len 0 is not allowed: give a whole number of at least 1"),
        ({"dlq": {"max_age": "1d"}}, "max_age '1d' is not allowed: give seconds or a timedelta"),
        (
            {"dlq": {"steam": "x"}},
            "unknown option 'steam' in processor's dlq.*; allowed: stream, enabled",
        ),
        ({"dlq": "a b"}, "dead-letter stream 'a b' is not allowed: use 1 to 128"),
        ({"dlq": {"stream": 7}}, "dead-letter stream 7 is not allowed: use 1 to 128"),
        ({"ignore_config_errors": "yes"}, "ignore_config_errors 'yes' is not allowed"),
    ],
)
def test_what_processor_cannot_be_is_refused(given: Any, message: str) -> None:
    with pytest.raises(InvalidInput, match=message):
        read_processor(given)


def test_unknown_options_may_be_warnings(caplog: pytest.LogCaptureFixture) -> None:
    given = {"ignoreConfigErrors": True, "x": 1, "retry": {"y": 2, "max_retries": 1}}

    assert read_processor(given) == ProcessorSettings(RetryPolicy(max_retries=1))
    assert "unknown option 'x' in processor" in caplog.text
    assert "unknown option 'y' in processor's retry" in caplog.text


def job_of(arguments: Any, processor: Any = None, failures: int = 0) -> Job[Any]:
    """Return the job as a worker sees it, after some failures."""
    return prepared(arguments, processor, failures)[1]


def prepared(
    arguments: Any, processor: Any = None, failures: int = 0
) -> tuple[Processor, Job[Any]]:
    new = requested("event", arguments)
    envelope = Envelope(new.id, new.event, new.data, new.options, 1, 1, 0, failures, 0, 0)
    notes = FakeJob(None)._notes
    job: Job[Any] = Job(envelope, new.lane, type="workers", delivered=1, epoch=1, notes=notes)
    retry = read_processor(processor).retry
    policy = Processor({("default", "event"): Handler.of(print)}, retry=retry)
    policy.prepare(job, lambda: 0)
    return policy, job


def runs(arguments: Any, processor: Any = None) -> int:
    """Return how often a job that always fails is run in all."""
    for failures in range(20):
        policy, job = prepared(arguments, processor, failures)
        if isinstance(policy.decide(job, Raised(OSError())), Buried):
            return failures + 1
    raise AssertionError("it is run for ever")


def delays(arguments: Any, processor: Any = None) -> list[int]:
    """Return the delay in ms before each of the first seven retries."""
    return [delay(arguments, processor, failures) for failures in range(7)]


def delay(arguments: Any, processor: Any, failures: int) -> int:
    policy, job = prepared(arguments, processor, failures)
    outcome = policy.decide(job, Raised(OSError()))
    assert isinstance(outcome, RetryAt)
    return outcome.delay_ms


def spread(processor: Any, failures: int) -> tuple[int, int]:
    """Return between which delays (ms) a retry lies, whatever chance has it."""

    def drawn(share: float) -> int:
        with mock.patch.object(chance, "random", return_value=share):
            return delay({"max_retries": 20}, processor, failures)

    return drawn(0.0), drawn(1.0)


def registered(**given: Any) -> tuple[Any, ...]:
    """Return queue, event and options of a handler as they are kept."""
    registry = Registry()
    registry.register((lambda job: None,), {"event": "x", **given})
    ((queue, event),) = registry.names
    return queue, event, registry.bind(TaskManager().get_context(), None)[queue, event]


def places(db: str) -> tuple[str, Any]:
    """Return where the queues are, and the results when that is elsewhere."""
    found = Configuration(None, db=db, streamdb=None, given={})
    return found.connector.where, found.archive


@dataclass(frozen=True)
class Default:
    """A default that a document names, how to find it here, and, where it differs, ours and why."""

    option: str
    documented: Any
    find: Callable[[], Any]
    ours: Any = None
    because: str = ""


RETRIED = {"max_retries": 20}
BASE = 1000
GROWTH = [1000, 2000, 4000, 8000, 16_000, 32_000, 32_000]
# The retry strategy of the distributed queue, in our words: 3 attempts in all are 2 retries.
STRATEGY = {"retry": {"max_retries": 2, "max_delay_ms": 30_000, "jitter": True}}

DEFAULTS = [
    # The task manager: emit
    Default("emit queue", "default", lambda: requested("event", {}).lane.queue),
    Default("emit data", {}, lambda: job_of({}).data),
    Default("emit options", requested("event", {}), lambda: requested("event", {"options": {}})),
    Default(
        "emit options.id",
        default_id("event", "default", b'{"a":1}'),
        lambda: requested("event", {"data": {"a": 1}}).id,
    ),
    Default("emit options.priority", 0, lambda: job_of({}).priority),
    Default("emit options.retryCount: runs after the first", 0, lambda: job_of({}).max_retries),
    Default(
        "emit options.retryCount is attempts",
        2,
        lambda: job_of({"options": {"attempts": 2}}).max_retries,
    ),
    Default("emit options.retryDelayMs", BASE, lambda: delay(RETRIED, None, 0)),
    Default("emit options.retryDelayMs grows exponentially", GROWTH, lambda: delays(RETRIED)),
    Default("emit options.delayUntil: at once", "", lambda: requested("event", {}).due),
    # The task manager: init, registerHandler
    Default("init concurrency", 1, lambda: TaskManager().settings.concurrency),
    Default(
        "init streamdb is db",
        ("redis://db:6379/0", None),
        lambda: places("redis://db:6379/0"),
    ),
    Default("init ctx", {}, lambda: TaskManager().get_context().app),
    Default("init ctx gets emit", True, lambda: callable(TaskManager().get_context().emit)),
    Default("init processor", read_processor({}), lambda: read_processor(None)),
    Default("init processor: nothing is retried", 1, lambda: runs({})),
    Default("registerHandler queue", "default", lambda: registered()[0]),
    Default(
        "registerHandler options",
        (None, None, None, None),
        lambda: (
            registered()[2].max_retries,
            registered()[2].retry_delay_ms,
            registered()[2].timeout,
            registered()[2].retry,
        ),
    ),
    # The task manager: processor={"retry": {}}
    Default("processor.retry.maxRetries", 3, lambda: job_of({}, {"retry": {}}).max_retries),
    Default("processor.retry.maxRetries: runs in all", 4, lambda: runs({}, {"retry": {}})),
    Default("processor.retry.retryDelayMs", BASE, lambda: delay({}, {"retry": {}}, 0)),
    Default(
        "processor.retry: exponential, doubling, 32 s at most, no jitter",
        GROWTH,
        lambda: delays(RETRIED, {"retry": {}}),
    ),
    # The distributed queue: job options
    Default("partition", "default", lambda: job_of({}).partition),
    Default(
        "priority (1 to 10)",
        "NORMAL",
        lambda: job_of({}).priority,
        ours=0,
        because="all priorities are on one scale from -100 to 100, and 0 is its normal",
    ),
    Default(
        "correlationId",
        "a uuid",
        lambda: job_of({}).correlation_id,
        ours=None,
        because="it is the user's word for what belongs together; nobody looks for a made-up one",
    ),
    Default(
        "timeout",
        60_000,
        lambda: job_of({}).timeout,
        ours=None,
        because="a lease finds dead workers, so that a long job needs no limit nobody asked for",
    ),
    Default(
        "retryStrategy: runs in all",
        3,
        lambda: runs({}),
        ours=1,
        because="without processor nothing is retried, as the task manager's retryCount says",
    ),
    # The distributed queue: defaultRetryStrategy as it is written there
    Default("retryStrategy.maxAttempts: runs in all", 3, lambda: runs({}, STRATEGY)),
    Default("retryStrategy.initialDelay with jitter", (500, 1000), lambda: spread(STRATEGY, 0)),
    Default("retryStrategy.multiplier with jitter", (1000, 2000), lambda: spread(STRATEGY, 1)),
    Default("retryStrategy.maxDelay with jitter", (15_000, 30_000), lambda: spread(STRATEGY, 9)),
    # and against what processor={"retry": {}} stands for
    Default(
        "retryStrategy.maxAttempts, when left out",
        3,
        lambda: runs({}, {"retry": {}}),
        ours=4,
        because="max_retries counts the runs after the first, as the task manager's does",
    ),
    Default(
        "retryStrategy.maxDelay, when left out",
        30_000,
        lambda: delay(RETRIED, {"retry": {}}, 9),
        ours=32_000,
        because="the documents name two caps; this is the one of the older two",
    ),
    Default(
        "retryStrategy.jitter, when left out",
        True,
        lambda: RetryPolicy().jitter,
        ours=False,
        because="two documents out of three have none; jitter=True asks for it",
    ),
]


@pytest.mark.parametrize("default", DEFAULTS, ids=[it.option for it in DEFAULTS])
def test_the_defaults_of_the_documents_hold_but_where_a_reason_is_given(default: Default) -> None:
    wanted = default.ours if default.because else default.documented

    assert default.find() == wanted
    assert (wanted != default.documented) == bool(default.because), "it does not differ"


@pytest.mark.parametrize(
    ("table", "given"),
    [(PROCESSOR, ProcessorOptions), (RETRY, RetryOptions), (DLQ, DeadLetterOptions)],
    ids=["processor", "retry", "dlq"],
)
def test_the_types_of_the_dicts_have_every_option(table: Table, given: type) -> None:
    described = set(re.findall(r"^- `(\w+)`", inspect.getdoc(given) or "", re.MULTILINE))

    assert set(given.__annotations__) >= set(table.allowed)
    assert described >= set(table.allowed) - {"debounce_ms"}
