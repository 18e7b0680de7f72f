"""Stored JSON: what goes in comes back, what would not is refused."""

from __future__ import annotations

import uuid
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, field_serializer, model_serializer

from consumers.errors import NotSerializable, TooLarge
from consumers.jobs.codec import decode, encode, encode_and_read
from consumers.jobs.ids import DefaultIds, default_id, fresh_id

json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


class Email(BaseModel):
    to: str
    copies: list[str] = []


class Price(BaseModel):
    amount: float


@dataclass
class Point:
    x: int
    y: int


class Tagged(BaseModel):
    tags: set[str]


class Sorted(Tagged):
    @field_serializer("tags")
    def in_order(self, tags: set[str]) -> list[str]:
        return sorted(tags)


class Raises(BaseModel):
    @model_serializer
    def broken(self) -> dict[str, Any]:
        raise LookupError("no such thing")


def _encode(value: object, limit: int = 10_000) -> bytes:
    return encode(value, what="the data of 'x'", limit=limit)


def _deep(levels: int) -> object:
    value: object = 1
    for _ in range(levels):
        value = [value]
    return value


def _cycle() -> list[object]:
    cycle: list[object] = []
    cycle.append(cycle)
    return cycle


def _iterator() -> Iterator[int]:
    yield 1


@given(json_values)
def test_json_values_come_back_as_they_were(value: object) -> None:
    assert decode(_encode(value, 10**9)) == value


@pytest.mark.parametrize(
    ("value", "stored"),
    [
        (Email(to="ada@example.com"), b'{"to":"ada@example.com","copies":[]}'),
        ({"point": Point(1, 2)}, b'{"point":{"x":1,"y":2}}'),
        (datetime(2026, 1, 2, tzinfo=UTC), b'"2026-01-02T00:00:00Z"'),
        (uuid.UUID(int=7), b'"00000000-0000-0000-0000-000000000007"'),
        ((1, 2), b"[1,2]"),
        ({"pair": (1, deque([2]))}, b'{"pair":[1,[2]]}'),
        (Decimal("1.50"), b'"1.50"'),
        ({1: "a", "2": "b"}, b'{"1":"a","2":"b"}'),
        (Sorted(tags={"b", "a"}), b'{"tags":["a","b"]}'),
        (None, b"null"),
        ("NaN, not a number; Infinity", b'"NaN, not a number; Infinity"'),
        (2**64, b"18446744073709551616"),
        ([], b"[]"),
    ],
)
def test_models_dataclasses_and_dates_are_dumped(value: object, stored: bytes) -> None:
    assert _encode(value) == stored


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (b"raw", "it holds bytes"),
        ({"file": b"raw"}, "it holds bytes"),
        ([bytearray(b"raw")], "it holds bytes"),
        ({b"key": 1}, "it holds bytes"),
        (b"\xff", "utf-8"),
        (_iterator(), "iterator"),
        (float("nan"), "it holds nan, which JSON does not have: use None or a string instead"),
        ({"deep": [float("inf")]}, "it holds inf, which"),
        (float("-inf"), "it holds -inf, which"),
        ([Price(amount=float("nan"))], "it holds nan, which"),
        ("\ud800", "surrogates not allowed"),
        (object(), "unknown type"),
        (_cycle(), "[Cc]ircular"),
        (_deep(300), "depth"),
        (_deep(230), "could not be read again"),
        pytest.param(10**4999, "could not be read again|digits", id="huge integer"),
        (Raises(), "no such thing"),
        ({1, 2}, "it holds a set, which has no order: use a list"),
        ({"deep": [(frozenset("ab"),)]}, "it holds a set"),
        ({"point": Point(1, deque([{2}]))}, "it holds a set"),  # type: ignore[arg-type]
        ([Tagged(tags={"a"})], "it holds a set"),
        ({1: "a", "1": "b"}, "two keys of a dict become the same string"),
        ({"deep": [{True: "a", "true": "b"}]}, "two keys of a dict become the same string"),
        (Decimal("NaN"), "it holds NaN"),
        ({"price": Decimal("-Infinity")}, "it holds -Infinity"),
        ({float("nan"): 1}, "it holds nan"),
    ],
)
def test_what_would_not_come_back_is_refused(value: object, reason: str) -> None:
    with pytest.raises(NotSerializable, match=rf"^the data of 'x' .*JSON: (?s:.*){reason}"):
        _encode(value)


def test_a_value_over_the_limit_is_refused_with_its_size() -> None:
    with pytest.raises(TooLarge, match=r"has 1,002 bytes, the limit is 1,000") as caught:
        _encode("x" * 1000, limit=1000)

    assert (caught.value.size, caught.value.limit) == (1002, 1000)


def test_a_value_of_just_the_limit_is_stored() -> None:
    assert len(_encode("x" * 998, limit=1000)) == 1000


def test_equal_data_have_equal_ids_whatever_the_order_of_their_keys() -> None:
    one = _encode({"a": 1, "b": {"c": 2, "d": [{"e": 1, "f": 2}]}})
    other = _encode({"b": {"d": [{"f": 2, "e": 1}], "c": 2}, "a": 1})

    assert default_id("x", "default", one) == default_id("x", "default", other)


@given(json_values)
def test_an_id_is_the_same_for_what_was_read_already_as_for_the_data_alone(value: Any) -> None:
    data, read = encode_and_read(value, "the data", 1_000_000)

    assert read == value
    assert DefaultIds("x", "default").id(data, read) == default_id("x", "default", data)


def test_other_data_events_and_partitions_have_other_ids() -> None:
    ids = {
        default_id(event, partition, _encode(data))
        for event in ("x", "y")
        for partition in ("default", "tenant")
        for data in ({"a": 1}, {"a": "1"}, {"a": 1.0}, {"a": [1]}, [1], [[1]], None, {})
    }

    assert len(ids) == 2 * 2 * 8


def test_ids_have_22_characters_and_never_look_like_an_option() -> None:
    ids = [default_id("x", "default", _encode(n)) for n in range(500)]
    ids += [fresh_id() for _ in range(500)]

    assert len(set(ids)) == 1000
    assert {len(job_id) for job_id in ids} == {22}
    assert not any("-" in job_id for job_id in ids)


def test_the_default_id_stays_the_same_in_every_version() -> None:
    # Another value would let one job run twice during a rolling deploy.
    assert default_id("send-email", "default", b'{"to":"ada"}') == "AJ1a.yg3Lzq0yshQ2UEqhQ"
