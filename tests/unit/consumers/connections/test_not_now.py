"""What the refusals of Redis mean."""

from __future__ import annotations

import pytest
from redis._parsers import BaseParser

from consumers.connections.not_now import is_for_now, is_of_a_replica

parse = BaseParser.parse_error

_OF_A_REPLICA = [
    "READONLY You can't write against a read only replica.",
    # Inside a script, on 6.2 and on 7.0.
    "ERR Error running script (call to f_6b1): @user_script:3: @user_script: 3: "
    "-READONLY You can't write against a read only replica. ",
    "READONLY You can't write against a read only replica. script: 6b1, on @user_script:3.",
    "ERR user_script:479: READONLY You can't write against a read only replica. script: 6b1",
    "MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.",
]
# A read that blocked while its server became a replica: it is closed as well.
_UNBLOCKED = (
    "UNBLOCKED force unblock from blocking operation, instance state changed (master -> replica?)"
)


@pytest.mark.parametrize("text", _OF_A_REPLICA)
def test_what_only_a_replica_says_is_known_and_waited_for(text: str) -> None:
    assert is_of_a_replica(parse(text))
    assert is_for_now(parse(text))


def test_a_read_that_was_unblocked_by_a_change_of_roles_is_told_from_one_that_was_woken() -> None:
    assert is_of_a_replica(parse(_UNBLOCKED))
    assert not is_of_a_replica(parse("UNBLOCKED client unblocked via CLIENT UNBLOCK"))


def test_a_node_that_does_not_have_a_key_any_more_is_left_and_a_key_on_its_way_waited_for() -> None:
    moved, asked = (parse(f"{word} 3999 127.0.0.1:6381") for word in ("MOVED", "ASK"))

    assert (is_of_a_replica(moved), is_for_now(moved)) == (True, True)
    assert (is_of_a_replica(asked), is_for_now(asked)) == (False, True)


@pytest.mark.parametrize(
    "text",
    [
        "WRONGTYPE tm:{READONLY}:meta",
        "LOADING Redis is loading the dataset in memory",
        "BUSY Redis is busy running a script.",
        "ERR no such key",
    ],
)
def test_what_a_primary_says_costs_no_connection(text: str) -> None:
    assert not is_of_a_replica(parse(text))
