"""What is said first on a new connection, and what is made of the answers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from redis.exceptions import ResponseError

from consumers.connections.greeting import Greeted, Words, greeting
from consumers.connections.not_now import WrongServer

REFUSED = ResponseError("unknown command")


def said(name: str | None, replies: Sequence[Any]) -> tuple[list[Words], int | None]:
    """Return what is asked while replies come, and the number that is made of them."""
    asking = greeting(name)
    asked = [next(asking)]
    *first, last = replies
    asked += [asking.send(reply) for reply in first]
    with pytest.raises(StopIteration) as done:
        asking.send(last)
    greeted: Greeted = done.value.value
    return asked, greeted.number


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
        said("me", [hello(mode), REFUSED])


ONE, OTHER = ([b"127.0.0.1", port, node] for port, node in [(1, b"5f1"), (2, b"a70")])


def is_cluster(mode: bytes, *replies: Any) -> bool:
    asking = greeting(None)
    next(asking)
    with pytest.raises(StopIteration) as done:
        for reply in (hello(mode), *replies):
            asking.send(reply)
    greeted: Greeted = done.value.value
    return greeted.is_cluster


@pytest.mark.parametrize(
    "slots",
    [
        [[0, 16383, ONE]],
        [[0, 16383, ONE, OTHER]],
        [[8001, 16383, ONE], [0, 8000, [*ONE, [b"hostname", b"h"]]]],
        [[0, 8000, [None, 1, b"5f1"]], [8001, 16383, ONE]],
        [[0, 16383, [b"127.0.0.1", 1]]],
    ],
)
def test_a_node_that_serves_all_slots_is_taken_and_known_to_be_in_cluster_mode(slots: Any) -> None:
    assert is_cluster(b"cluster", slots)
    assert not is_cluster(b"standalone")


@pytest.mark.parametrize(
    "slots",
    [
        REFUSED,
        [],
        b"OK",
        [[0, 16383]],
        [[0, 16383, None]],
        [[0, b"16383", ONE]],
        [[0, 8000, ONE]],
        [[0, 8000, ONE], [8002, 16383, ONE]],
        [[0, 8000, ONE], [8001, 16383, OTHER]],
    ],
)
def test_a_node_that_does_not_serve_all_slots_by_itself_is_refused(slots: Any) -> None:
    with pytest.raises(WrongServer, match="only if one node serves all slots"):
        is_cluster(b"cluster", slots)
