"""What is said first on a new connection, and what is made of the answers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from redis.exceptions import ResponseError

from consumers.greeting import Words, greeting
from consumers.refusals import WrongServer

REFUSED = ResponseError("unknown command")


def said(name: str | None, replies: Sequence[Any]) -> tuple[list[Words], int | None]:
    """Return what is asked while replies come, and the number that is made of them."""
    asking = greeting(name)
    asked = [next(asking)]
    *first, last = replies
    asked += [asking.send(reply) for reply in first]
    with pytest.raises(StopIteration) as done:
        asking.send(last)
    return asked, done.value.value


def hello(mode: bytes, number: int = 7) -> list[Any]:
    return [b"server", b"redis", b"proto", 2, b"id", number, b"mode", mode, b"modules", []]


def test_one_command_says_the_name_and_asks_for_the_number() -> None:
    assert said("me", [hello(b"standalone")]) == ([("HELLO", 2, "SETNAME", "me")], 7)
    assert said(None, [hello(b"standalone")]) == ([("HELLO", 2)], 7)


def test_where_hello_is_refused_the_client_command_does_it() -> None:
    asked, number = said("me", [REFUSED, b"OK", 9])

    assert asked[1:] == [("CLIENT", "SETNAME", "me"), ("CLIENT", "ID")]
    assert number == 9


def test_where_both_are_refused_there_is_neither_name_nor_number() -> None:
    assert said("me", [REFUSED, REFUSED, REFUSED])[1] is None


@pytest.mark.parametrize("strange", [b"OK", [], [b"id"], [b"id", b"seven", b"mode", b"standalone"]])
def test_a_proxy_that_answers_something_else_is_taken_as_it_is(strange: Any) -> None:
    assert said(None, [strange])[1] is None


@pytest.mark.parametrize(
    ("mode", "hint"),
    [(b"cluster", "give the URL of a single server"), (b"sentinel", "the URL of the primary")],
)
def test_a_server_that_cannot_keep_jobs_is_refused_with_a_hint(mode: bytes, hint: str) -> None:
    with pytest.raises(WrongServer, match=hint):
        said("me", [hello(mode)])
