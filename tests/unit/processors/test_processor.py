"""The simplest policy: completed when returned, buried when raised."""

from __future__ import annotations

from typing import Any

import pytest

from consumers.jobs.envelope import Envelope
from consumers.jobs.job import FakeJob, Job
from consumers.jobs.lanes import Lane
from consumers.jobs.outcome import Buried, Completed, Raised, RetryAt, Returned
from consumers.jobs.texts import ERROR_LIMIT, describe
from consumers.policy import Handler
from processors import Processor
from processors.processor import Registration


class Unprintable(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no text")


def handle(job: object, ctx: object) -> None:
    return None


def a_job() -> Job[Any]:
    envelope = Envelope("7", "resize", b"{}", b"", 1, 1, 0, 0, 0, 0)
    notes = FakeJob(None)._notes
    return Job(envelope, Lane("images"), type="workers", delivered=1, epoch=1, notes=notes)


def raised(error: BaseException) -> BaseException:
    try:
        raise error
    except BaseException as caught:
        return caught


@pytest.fixture
def processor() -> Processor:
    return Processor(
        {("images", "resize"): Handler.of(handle), ("mail", "send"): Handler.of(handle)}
    )


def test_it_knows_its_events_by_queue(processor: Processor) -> None:
    assert processor.events("images") == {"resize"}
    assert processor.events("elsewhere") == frozenset()


def test_it_finds_the_handler_of_an_event_in_its_queue_only(processor: Processor) -> None:
    found = processor.handler("images", "resize")

    assert found is not None
    assert found.call is handle
    assert processor.handler("mail", "resize") is None


@pytest.mark.parametrize(
    ("value", "stored"), [(None, b"null"), (0, b"0"), ({"width": 3}, b'{"width":3}')]
)
def test_a_returned_value_completes_the_job(
    processor: Processor, value: object, stored: bytes
) -> None:
    assert processor.decide(a_job(), Returned(value)) == Completed(stored)


@pytest.mark.parametrize(
    ("value", "why"),
    [
        (object(), "the result of job '7' cannot be stored as JSON"),
        (b"raw", "it holds bytes"),
        (float("nan"), "it holds nan, which JSON does not have: use None or a string instead"),
        ("x" * 70_000, "the result of job '7' has 70,002 bytes, the limit is 65,536"),
    ],
)
def test_a_result_that_cannot_be_stored_buries_the_job(
    processor: Processor, value: object, why: str
) -> None:
    outcome = processor.decide(a_job(), Returned(value))

    assert isinstance(outcome, Buried)
    assert outcome.reason == "bad_result"
    assert why in outcome.error


@pytest.mark.parametrize("error", [ValueError("no such image"), SystemExit(3), StopIteration(1)])
def test_an_exception_of_any_kind_buries_the_job(
    processor: Processor, error: BaseException
) -> None:
    outcome = processor.decide(a_job(), Raised(raised(error)))

    assert isinstance(outcome, Buried)
    assert outcome.reason == "failed"
    assert outcome.error.rstrip().endswith(f"{type(error).__name__}: {error}")
    assert "in raised\n    raise error" in outcome.error


def test_the_values_of_variables_stay_out_of_the_traceback() -> None:
    password = "hunter2"  # noqa: F841
    try:
        1 / 0  # noqa: B018
    except ZeroDivisionError as error:
        text = describe(error)

    assert "ZeroDivisionError" in text
    assert "hunter2" not in text


def test_a_long_error_keeps_its_head_and_its_tail() -> None:
    text = describe(raised(ValueError("x" * 50_000 + " the end")))

    assert len(text.encode()) <= ERROR_LIMIT
    assert text.startswith("Traceback")
    assert "... shortened ..." in text
    assert text.rstrip().endswith("the end")


def test_an_error_that_cannot_be_shown_does_not_stop_the_policy() -> None:
    assert "Unprintable" in describe(raised(Unprintable()))


def test_an_error_that_is_no_utf8_can_be_stored() -> None:
    describe(raised(ValueError("\ud800"))).encode()


def requiring(*requires: str) -> Registration:
    return Registration(Handler.of(handle), max_retries=3, requires=requires)


def test_it_leaves_out_what_requires_a_missing_capability() -> None:
    processor = Processor(
        {("images", "resize"): requiring("gpu", "av1"), ("images", "crop"): requiring()},
        capabilities=["gpu"],
    )

    assert processor.events("images") == {"crop"}
    assert processor.handler("images", "resize") is None
    assert processor.handler("images", "crop") is not None


def test_without_capabilities_it_leaves_out_nothing() -> None:
    assert Processor({("images", "resize"): requiring("gpu")}).events("images") == {"resize"}


def test_its_events_follow_its_capabilities_and_what_runs_is_decided_as_before() -> None:
    processor = Processor({("images", "resize"): requiring("gpu")}, capabilities=["gpu"])
    job = a_job()
    assert processor.prepare(job, lambda: 0) is None

    processor.set_capabilities([])

    assert processor.events("images") == frozenset()
    assert isinstance(processor.decide(job, Raised(ValueError("no"))), RetryAt)
    processor.set_capabilities(["gpu", "av1"])
    assert processor.events("images") == {"resize"}
