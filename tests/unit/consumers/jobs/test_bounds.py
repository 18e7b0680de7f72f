"""What a consumer used alone refuses, before it connects."""

from __future__ import annotations

from typing import Any

import pytest

from consumers.consumer import Consumer
from consumers.errors import InvalidInput
from consumers.jobs.job import Job
from processors.processor import Processor


@pytest.mark.parametrize(
    ("option", "given", "says"),
    [
        ("concurrency", 0, "concurrency 0 is not allowed: give a whole number from 1 to 10,000"),
        ("concurrency", -1, "concurrency -1"),
        ("concurrency", "3", "concurrency '3'"),
        ("concurrency", True, "concurrency True"),
        ("concurrency", 10**9, "concurrency 1000000000"),
        ("max_deliveries", 0, "max_deliveries 0"),
        ("lease", 0, "lease 0 is not allowed: give seconds from 0.1 to"),
        ("lease", float("nan"), "lease nan"),
        ("result_ttl", -1, "result_ttl -1"),
        ("result_ttl", 9.3e15, "result_ttl 9300000000000000.0"),
        ("log_ttl", float("inf"), "log_ttl inf"),
        ("queues", "default", "give a list of at least one name"),
        ("queues", (), "give a list of at least one name"),
        ("queues", ["a:b"], "queue 'a:b' is not allowed"),
    ],
)
def test_what_makes_no_sense_is_refused_with_what_is_allowed(
    option: str, given: Any, says: str
) -> None:
    with pytest.raises(InvalidInput) as caught:
        Consumer("redis://localhost", policy=Processor({}), **{option: given})

    assert says in str(caught.value)


@pytest.mark.parametrize(
    ("given", "says"),
    [
        (
            (float("nan"),),
            "done nan of job.progress is not allowed: give a number from 0 to "
            '9,007,199,254,740,992, as in job.progress(3, 10, "parsed")',
        ),
        ((float("inf"),), "done inf"),
        ((-1,), "done -1"),
        ((2**53 + 1,), "done 9007199254740993"),
        ((True,), "done True"),
        (("3",), "done '3'"),
        ((None,), "done None"),
        ((1, float("nan")), "total nan of job.progress is not allowed: give a number from 0 to "),
        ((1, "10"), "total '10'"),
        ((1, 0, 5), "note 5 of job.progress is not allowed: give text or None, as in job.progre"),
        ((1, None, b"x"), "note b'x'"),
    ],
)
def test_a_progress_that_says_nothing_is_refused_with_what_is_allowed(
    given: Any, says: str
) -> None:
    job = Job.fake(None)

    with pytest.raises(InvalidInput) as caught:
        job.progress(*given)

    assert says in str(caught.value)
    assert job.progressed == []


@pytest.mark.parametrize("given", [(0,), (0.5, 1), (3, 2, "more than we thought"), (2**53, 0, "")])
def test_a_progress_of_any_unit_is_taken(given: Any) -> None:
    job = Job.fake(None)

    job.progress(*given)

    assert len(job.progressed) == 1
