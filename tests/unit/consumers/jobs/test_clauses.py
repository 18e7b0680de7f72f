"""Heads and guards as texts: what is read of them, and what is somebody else's."""

from __future__ import annotations

from itertools import product

import pytest

from consumers.jobs import guards
from consumers.jobs.clauses import (
    Head,
    any_values,
    head_values,
    idempotency_in,
    is_known,
    read_head,
)


def test_a_head_is_six_numbers_and_what_its_clauses_say() -> None:
    assert read_head(b"1:7:1700:2:3:4") == Head(1, 7, 1700, 2, 3, 4, "", False)
    assert read_head(b"1:7:1700:0:0:0:r=1:i=ab") == Head(1, 7, 1700, 0, 0, 0, ":i=ab", 1)
    assert read_head(b"1:7:1700:1:1:0:a=1709:r=1:i=ab") == Head(1, 7, 1700, 1, 1, 0, ":i=ab", 1709)
    # That of the run before a replay, and what is no time.
    for first in (b"1699", b"0", b"x", b"9" * 16):
        head = read_head(b"1:7:1700:0:0:0:a=%b:r=1" % first)
        assert head is not None
        assert head.first_started == 1


@pytest.mark.parametrize("text", [b"", b"1:2", b"0:1:1:0:0:0", b"1:1:1:0:0:x", b"1:1:1:0:0:0i=a"])
def test_what_is_no_head_is_none(text: bytes) -> None:
    assert read_head(text) is None


NUMBERS = ["", "0", "00", "1", "01", "2", "7", "x", " 1", "+1", "1_0", "\u0661", "9" * 9, "9" * 15]
MORE = ["", ":", ":r=1", ":i=ab", "\n", "x"]


@pytest.mark.parametrize("version", ["", "0", "1", "01", "2", "1\n"])
@pytest.mark.parametrize("counts", ["0:0:0", "0:0:1", "00:0:0", "0:0", "0:0:0:0"])
def test_a_head_in_its_commonest_form_is_read_as_any_other(version: str, counts: str) -> None:
    for generation, created, more in product([*NUMBERS, "9" * 16], NUMBERS, MORE):
        head = f"{version}:{generation}:{created}:{counts}{more}".encode()

        assert head_values(head) == any_values(head), head


def test_an_end_is_told_what_it_must_know_as_it_stands_and_nothing_else() -> None:
    head = read_head(b"3:7:1700:0:0:0:r=1:f=q/1/2:z=9:o=hash:s=t,1:i=key")

    assert head is not None
    assert head.tail == ":f=q/1/2:o=hash:i=key"
    assert idempotency_in(head.tail) == "key"


@pytest.mark.parametrize(
    "field",
    [
        "",
        guards.idempotent("ab_-9"),
        guards.debounced("ab", window_ms=5, longest_ms=50, mode="trailing"),
        guards.debounced("ab", window_ms=5, longest_ms=50, mode="leading"),
    ],
)
def test_the_guards_of_this_version_are_known(field: str) -> None:
    assert is_known(field)


@pytest.mark.parametrize("field", ["o ab", "i ab;o cd", "s tenant 12", "i ab;l ab 1 2"])
def test_what_only_a_newer_version_asks_is_not_known(field: str) -> None:
    assert not is_known(field)


@pytest.mark.parametrize(
    "field", ["i", "i caf\u00e9", "i a b", "t ab 1", "I ab", "o  a", "o a:b", ";"]
)
def test_what_are_no_clauses_of_any_version_is_somebody_elses(field: str) -> None:
    with pytest.raises(ValueError, match="not a guard"):
        is_known(field)
