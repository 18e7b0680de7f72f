"""What a dead letter says about data that a handler does not take."""

from __future__ import annotations

from typing import Annotated, Any

import pytest
from pydantic import AfterValidator, BaseModel, TypeAdapter

from consumers.jobs.envelope import Envelope
from consumers.jobs.outcome import Buried
from consumers.jobs.texts import ERROR_LIMIT
from consumers.store.unfit import unfit, unreadable


def refusal(payload: Any, data: bytes) -> BaseException:
    try:
        TypeAdapter(payload).validate_json(data)
    except (ValueError, KeyError) as error:
        return error
    raise AssertionError("it was taken")


class Card(BaseModel):
    number: int
    holder: str


def test_each_fault_is_named_by_its_place_and_no_value_is_shown() -> None:
    error = refusal(Card, b'{"number": "4111-secret", "holder": 7}')

    assert unfit(error).splitlines() == [
        "number: Input should be a valid integer, unable to parse string as an integer",
        "holder: Input should be a valid string",
    ]


def test_of_many_faults_twenty_are_named_and_the_others_counted() -> None:
    """A list of 120,000 wrong items gave 21 MB of text."""
    lines = unfit(refusal(list[int], b"[" + b'"x",' * 9_999 + b'"x"]')).splitlines()

    assert len(lines) == 21
    assert lines[19].startswith("19: Input should be a valid integer")
    assert lines[20] == "and 9,980 more faults"


def test_what_a_validator_says_at_length_is_cut() -> None:
    def refuse(value: int) -> int:
        raise ValueError("no " * 1_000_000)

    error = refusal(Annotated[int, AfterValidator(refuse)], b"1")

    assert len(Buried("bad_payload", unfit(error)).error.encode()) <= ERROR_LIMIT


def test_what_pydantic_does_not_expect_is_shown_with_its_traceback() -> None:
    def look_up(value: str) -> str:
        return {"EUR": value}[value]

    text = unfit(refusal(Annotated[str, AfterValidator(look_up)], b'"XXX"'))

    assert "in look_up" in text
    assert text.rstrip().endswith("KeyError: 'XXX'")


@pytest.mark.parametrize(
    ("data", "options", "why"),
    [
        (b"{}", b"", None),
        (b"{}", b'{"timeout":3}', None),
        (b"{", b"", "its data is not JSON: EOF while parsing an object"),
        (b"{}", b"{", "its options cannot be read: EOF while parsing an object"),
        (b"{}", b"[1]", "its options cannot be read: they are not a JSON object"),
        (b"{}", b'{"timeout":NaN}', "its options cannot be read: expected value"),
    ],
)
def test_what_nobody_could_read_is_no_job(data: bytes, options: bytes, why: str | None) -> None:
    found = unreadable(Envelope("a", "e", data, options, 1, 1, 0, 0, 0, 0))

    assert found == why if why is None else (found or "").startswith(why)
