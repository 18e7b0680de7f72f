"""What an error says where that depends on what was asked."""

from __future__ import annotations

from typing import Any

import pytest

from consumers.errors import RedisUnavailable

WHERE = "redis://localhost:6379/0"


@pytest.mark.parametrize(
    ("asked", "ending"),
    [
        ({"outcome": "not_sent"}, "no answer in time"),
        ({"outcome": "unknown"}, "no answer in time"),
        ({"outcome": "not_sent", "request": "emit"}, "no answer in time (nothing was stored)"),
        (
            {"outcome": "unknown", "request": "emit"},
            "(it may have been stored; repeating it is safe with the same id or idempotency_key)",
        ),
        ({"outcome": "not_sent", "request": "change"}, "no answer in time (nothing was changed)"),
        (
            {"outcome": "unknown", "request": "change"},
            "(it may have been done; repeating it is safe)",
        ),
    ],
)
def test_only_a_request_that_changes_something_has_a_word_about_that(
    asked: dict[str, Any], ending: str
) -> None:
    error = RedisUnavailable(WHERE, "no answer in time", **asked)

    assert str(error).startswith(f"Redis at {WHERE} did not answer: no answer in time")
    assert str(error).endswith(ending)


@pytest.mark.parametrize(
    ("reason", "plain"),
    [
        ("Error 111 connecting to localhost:6399. Connect call failed.", "connection refused"),
        (
            "no connection in time: Error 111 connecting to localhost:6399. Connection refused.",
            "no connection in time: connection refused",
        ),
        ("Redis is loading the dataset in memory.", "Redis is loading the dataset in memory"),
        ("max number of clients reached", "max number of clients reached"),
    ],
)
def test_a_reason_is_short_and_has_no_full_stop_of_its_own(reason: str, plain: str) -> None:
    error = RedisUnavailable(WHERE, reason, outcome="not_sent", request="emit")

    assert error.reason == plain
    assert str(error) == f"Redis at {WHERE} did not answer: {plain} (nothing was stored)"
