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
            "(it may have been stored; repeating it is safe with an idempotency_key, "
            "or with the same id while the job is live)",
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

    assert str(error).startswith(f"Redis at {WHERE} is unavailable: no answer in time")
    assert str(error).endswith(ending)


@pytest.mark.parametrize(
    ("reason", "plain"),
    [
        ("Error 111 connecting to localhost:6399. Connect call failed.", "connection refused"),
        (
            "no connection in time: Error 111 connecting to localhost:6399. Connection refused.",
            "no connection in time: connection refused",
        ),
        (
            # localhost has two addresses on most machines.
            "Error [Errno 111] Connect call failed ('::1', 6379, 0, 0); [Errno 111] Connect call "
            "failed ('127.0.0.1', 6379) connecting to localhost:6379.",
            "connection refused",
        ),
        (
            "Error 1 connecting to db:6379. [SSL: CERTIFICATE_VERIFY_FAILED] certificate verify "
            "failed: self-signed certificate (_ssl.c:992).",
            "certificate verify failed: self-signed certificate",
        ),
        (
            "Error -2 connecting to db.example:6379. Name or service not known.",
            "name or service not known",
        ),
        # Its number is that of a name server, not the system's.
        (
            "Error 8 connecting to db:6379. nodename nor servname provided, or not known.",
            "nodename nor servname provided, or not known",
        ),
        (
            "Error 2 connecting to /run/my redis.sock. No such file or directory.",
            "no such file or directory",
        ),
        ("Error 'a b' is not a host name connecting to a b:6379.", "'a b' is not a host name"),
        (
            "Error while reading from db:6379 : (104, 'Connection reset by peer')",
            "connection reset by peer",
        ),
        (
            "user_script:770: READONLY You can't write against a read only replica. script: "
            "9b5675aecf5591367abd2cf69522acae6d26991f, on @user_script:770.",
            "READONLY You can't write against a read only replica",
        ),
        (
            "HELLO must be called with the client already authenticated, otherwise the HELLO AUTH "
            "<user> <pass> option can be used to authenticate the client",
            "it requires a password",
        ),
        ("Redis is loading the dataset in memory.", "Redis is loading the dataset in memory"),
        ("max number of clients reached", "max number of clients reached"),
    ],
)
def test_a_reason_is_plain_and_has_no_full_stop_of_its_own(reason: str, plain: str) -> None:
    error = RedisUnavailable(WHERE, reason, outcome="not_sent", request="emit")

    assert error.reason == plain
    assert str(error) == f"Redis at {WHERE} is unavailable: {plain} (nothing was stored)"
