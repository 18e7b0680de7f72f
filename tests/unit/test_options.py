"""What emit is given: which options there are, which places agree, what job it makes."""

from __future__ import annotations

from typing import Any

import pytest

from consumers.codec import decode
from consumers.errors import InvalidInput, InvalidName, UnknownOption
from consumers.lanes import Lane
from taskmanager.errors import ConflictingOptions
from taskmanager.options import Option, Table
from taskmanager.request import new_job, new_jobs

TABLE = Table("brew", Option("max_retries", ("attempts", "retry_count")), Option("strong"))


@pytest.mark.parametrize(
    ("given", "read"),
    [
        ({"max_retries": 3}, {"max_retries": 3}),
        ({"maxRetries": 3}, {"max_retries": 3}),
        ({"attempts": 3}, {"max_retries": 3}),
        ({"retryCount": 3, "attempts": 3}, {"max_retries": 3}),
        ({}, {}),
    ],
)
def test_a_dict_may_use_other_names_and_camel_case(
    given: dict[str, Any], read: dict[str, Any]
) -> None:
    assert TABLE.read(given) == read


@pytest.mark.parametrize(
    ("keywords", "values", "message"),
    [
        ({}, {"retries": 3}, "unknown option 'retries' in brew; allowed: max_retries, strong"),
        ({}, {7: 3}, "unknown option 7 in brew"),
        ({}, ["max_retries"], r"the options of brew \['max_retries'\] is not allowed: give a dict"),
        ({}, {"attempts": 3, "retryCount": 4}, "'attempts' and 'retryCount' of brew say different"),
        ({"max_retries": 3}, {"attempts": 4}, "the keyword 'max_retries' and options of brew say"),
        ({"strong": 1}, {"strong": True}, "the keyword 'strong' and options of brew say different"),
    ],
)
def test_what_is_unknown_or_contradicts_is_refused(
    keywords: dict[str, Any], values: Any, message: str
) -> None:
    with pytest.raises(InvalidInput, match=message):
        TABLE.merge(keywords, values)


def test_keyword_and_options_may_agree_and_none_is_not_given() -> None:
    merged = TABLE.merge({"max_retries": 3, "strong": None}, {"attempts": 3, "strong": True})

    assert merged == {"max_retries": 3, "strong": True}


def test_a_job_with_nothing_given_has_the_defaults() -> None:
    job = new_job("send", {})

    assert (job.event, job.data, job.options) == ("send", b"{}", b"")
    assert job.lane == Lane("default", "workers", "default", 0)


def test_everything_given_is_in_the_job() -> None:
    job = new_job(
        "send",
        {
            "queue": "mail",
            "data": {"to": "ada"},
            "id": "m1",
            "priority": -5,
            "correlation_id": "c1",
            "partition": "acme",
        },
    )

    assert (job.id, decode(job.data)) == ("m1", {"to": "ada"})
    assert job.lane == Lane("mail", "workers", "acme", -5)
    assert decode(job.options) == {"correlation_id": "c1"}


def test_options_may_be_a_dict_in_camel_case() -> None:
    given = {"id": "m1", "priority": 3, "correlationId": "c1", "partition": "acme", "unique": True}

    assert new_job("send", {"options": given}) == new_job(
        "send", {"id": "m1", "priority": 3, "correlation_id": "c1", "partition": "acme"}
    )


def test_equal_jobs_have_one_id_unless_they_are_not_unique() -> None:
    assert new_job("send", {"data": {"a": 1}}).id == new_job("send", {"data": {"a": 1}}).id
    assert new_job("send", {"unique": False}).id != new_job("send", {"unique": False}).id
    assert new_job("send", {"options": {"unique": False}}).id != new_job("send", {}).id


def test_data_of_none_stays_null() -> None:
    assert new_job("send", {"data": None}).data == b"null"
    assert new_jobs([{"event": "send", "data": None}])[0].data == b"null"


def test_the_correlation_id_is_inherited_unless_given() -> None:
    inherits = new_job("send", {}, inherited="parent")
    has_its_own = new_job("send", {"correlation_id": "own"}, inherited="parent")

    assert decode(inherits.options) == {"correlation_id": "parent"}
    assert decode(has_its_own.options) == {"correlation_id": "own"}


WRONG: list[tuple[Any, dict[str, Any], str]] = [
    ("a b", {}, "event 'a b' is not allowed: use 1 to 128"),
    (None, {}, "event None is not allowed"),
    ("x", {"queue": "a b"}, "queue 'a b' is not allowed"),
    ("x", {"queue": ["a"]}, r"queue \['a'\] is not allowed"),
    ("x", {"partition": ""}, "partition '' is not allowed"),
    ("x", {"priority": 101}, "priority 101 is not allowed: give an integer from -100 to 100"),
    ("x", {"priority": -101}, "priority -101 is not allowed"),
    ("x", {"priority": 1.0}, "priority 1.0 is not allowed"),
    ("x", {"priority": True}, "priority True is not allowed"),
    ("x", {"priority": False}, "priority False is not allowed"),
    ("x", {"priority": "high"}, "priority 'high' is not allowed"),
    ("x", {"id": "a b"}, "job id 'a b' is not allowed: use 1 to 256 printable"),
    ("x", {"id": 7}, "job id 7 is not allowed"),
    ("x", {"id": "7", "unique": False}, "id and unique=False of emit say different things"),
    ("x", {"unique": 0}, "unique 0 is not allowed: give True or False"),
    ("x", {"correlation_id": ""}, "correlation_id '' is not allowed: give 1 to 256 characters"),
    ("x", {"correlation_id": 7}, "correlation_id 7 is not allowed"),
    ("x", {"correlation_id": "\ud800"}, "correlation_id cannot be stored as JSON"),
    ("x", {"data": b"raw"}, "the data of 'x' cannot be stored as JSON: it holds bytes"),
    ("x", {"data": float("nan")}, "the data of 'x' cannot be stored as JSON"),
    ("x", {"data": "x" * 300_000}, "the data of 'x' has 300,002 bytes, the limit is 262,144"),
    ("x", {"delay": 3}, "unknown option 'delay' in emit; allowed: event, queue, data, options, id"),
    ("x", {"max_retries": 3}, "unknown option 'max_retries' in emit; allowed: event, queue"),
    ("x", {"options": {"delay": 3}}, "unknown option 'delay' in emit; allowed: id, unique, prio"),
    ("x", {"options": {"attempts": 3}}, "unknown option 'attempts' in emit"),
    ("x", {"options": {"queue": "a"}}, "unknown option 'queue' in emit"),
    ("x", {"options": 7}, "the options of emit 7 is not allowed: give a dict"),
    ("x", {"id": "7", "options": {"id": "8"}}, "the keyword 'id' and options of emit say diff"),
    ("x", {"options": {"priority": 200}}, "priority 200 is not allowed"),
    ("x", {"correlationId": "c"}, "unknown option 'correlationId' in emit"),
]


@pytest.mark.parametrize(("event", "arguments", "message"), WRONG)
def test_what_emit_cannot_take_is_refused(event: Any, arguments: Any, message: str) -> None:
    with pytest.raises(InvalidInput, match=f"^{message}"):
        new_job(event, arguments)


@pytest.mark.parametrize(
    ("event", "arguments", "message"),
    [case for case in WRONG if case[0] and "option" not in case[2]],
)
def test_emit_many_refuses_what_emit_refuses(event: Any, arguments: Any, message: str) -> None:
    with pytest.raises(InvalidInput, match=f"^{message}") as caught:
        new_jobs([{"event": "fine"}, {"event": event, **arguments}])

    assert caught.value.__notes__ == ["in item 1 of emit_many, counted from 0; nothing was sent"]


@pytest.mark.parametrize(
    ("items", "message"),
    [
        ({"event": "x"}, "the argument of emit_many .* is not allowed: give a list of dicts"),
        ("x", "give a list of dicts"),
        (7, "give a list of dicts"),
        (["x"], "item 'x' is not allowed: give a dict like"),
        ([{}], "event None is not allowed"),
        ([{"event": "x", "delay": 3}], "unknown option 'delay' in an item of emit_many; allowed"),
        ([{"event": "x", "options": {"delay": 3}}], "unknown option 'delay' in emit"),
    ],
)
def test_emit_many_takes_dicts(items: Any, message: str) -> None:
    with pytest.raises(InvalidInput, match=message):
        new_jobs(items)


def test_an_item_may_use_camel_case() -> None:
    (job,) = new_jobs([{"event": "x", "queue": "mail", "correlationId": "c", "priority": None}])

    assert decode(job.options) == {"correlation_id": "c"}
    assert job.lane == Lane("mail")


def test_the_errors_carry_what_was_given() -> None:
    with pytest.raises(UnknownOption) as unknown:
        new_job("x", {"options": {"delay": 3}})
    with pytest.raises(InvalidName) as name:
        new_job("a b", {})
    with pytest.raises(ConflictingOptions):
        new_job("x", {"id": "7", "unique": False})

    assert unknown.value.given == "delay"
    assert "priority" in unknown.value.allowed
    assert name.value.kind == "event"
