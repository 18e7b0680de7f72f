"""What a consumer used alone refuses, before it connects."""

from __future__ import annotations

from typing import Any

import pytest

from consumers.consumer import Consumer
from consumers.errors import InvalidInput
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
        ("lease", 0, "lease 0 is not allowed: give 0.1 seconds to a year"),
        ("lease", float("nan"), "lease nan"),
        ("result_ttl", -1, "result_ttl -1"),
        ("result_ttl", 9.3e15, "result_ttl 9300000000000000.0"),
        ("log_ttl", float("inf"), "log_ttl inf"),
        ("queues", "default", "give a list of one name or more"),
        ("queues", (), "give a list of one name or more"),
        ("queues", ["a:b"], "queue 'a:b' is not allowed"),
    ],
)
def test_what_makes_no_sense_is_refused_with_what_is_allowed(
    option: str, given: Any, says: str
) -> None:
    with pytest.raises(InvalidInput) as caught:
        Consumer("redis://localhost", policy=Processor({}), **{option: given})

    assert says in str(caught.value)
