"""What emit is given: which options there are, which places agree, what job it makes."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta, timezone
from typing import Any

import pytest

from consumers.errors import InvalidInput, InvalidName, UnknownOption
from consumers.jobs.codec import decode
from consumers.jobs.envelope import NewJob
from consumers.jobs.lanes import Lane
from taskmanager.errors import ConflictingOptions
from taskmanager.options.arguments import EmitOptions
from taskmanager.options.request import gen_job_id_sync, new_jobs, requested
from taskmanager.options.tables import EMIT, Option, Table

TABLE = Table("brew", Option("max_retries", in_dicts=("attempts", "retry_count")), Option("strong"))


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
        ({}, {"retries": 3}, "unknown option 'retries' in brew.*; allowed: max_retries, strong"),
        ({}, {7: 3}, "unknown option 7 in brew"),
        ({}, ["max_retries"], r"the options of brew \['max_retries'\] is not allowed: give a dict"),
        (
            {},
            {"attempts": 3, "retryCount": 4},
            "'attempts' and 'retryCount' of brew cannot be combined",
        ),
        (
            {"max_retries": 3},
            {"attempts": 4},
            "the keyword 'max_retries' and options of brew cannot be combined",
        ),
        (
            {"strong": 1},
            {"strong": True},
            "the keyword 'strong' and options of brew cannot be combined",
        ),
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
    job = requested("send", {})

    assert (job.event, job.data, job.options) == ("send", b"{}", b"")
    assert job.lane == Lane("default", "workers", "default", 0)


def test_everything_given_is_in_the_job() -> None:
    job = requested(
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
    given = {
        "id": "m1",
        "priority": 3,
        "correlationId": "c1",
        "partition": "acme",
        "deduplicate": True,
    }

    assert requested("send", {"options": given}) == requested(
        "send", {"id": "m1", "priority": 3, "correlation_id": "c1", "partition": "acme"}
    )


def test_equal_jobs_have_one_id_unless_they_are_not_unique() -> None:
    assert requested("send", {"data": {"a": 1}}).id == requested("send", {"data": {"a": 1}}).id
    assert (
        requested("send", {"deduplicate": False}).id != requested("send", {"deduplicate": False}).id
    )
    assert requested("send", {"options": {"deduplicate": False}}).id != requested("send", {}).id


def test_data_of_none_stays_null() -> None:
    assert requested("send", {"data": None}).data == b"null"
    assert new_jobs([{"event": "send", "data": None}]).jobs[0].data == b"null"


def test_the_correlation_id_is_inherited_unless_given() -> None:
    inherits = requested("send", {}, inherited="parent")
    has_its_own = requested("send", {"correlation_id": "own"}, inherited="parent")

    assert decode(inherits.options) == {"correlation_id": "parent"}
    assert decode(has_its_own.options) == {"correlation_id": "own"}


NOW = datetime.now(UTC)
IN_2_YEARS = NOW + timedelta(days=730)

# What was given, what the worker is told of it, and when the job is due.
TOLD: list[tuple[dict[str, Any], dict[str, Any], str]] = [
    ({"delay": 1.5}, {}, "+1500"),
    ({"delay": timedelta(minutes=1)}, {}, "+60000"),
    ({"delay": 0.0001}, {}, "+1"),
    ({"delay": 0}, {}, ""),
    ({"delay": None, "delay_until": None}, {}, ""),
    ({"delay_until": datetime(2026, 1, 1, tzinfo=UTC)}, {}, "1767225600000"),
    (
        {"delay_until": datetime(2026, 1, 1, 2, tzinfo=timezone(timedelta(hours=2)))},
        {},
        "1767225600000",
    ),
    ({"delay_until": datetime(2026, 1, 1, microsecond=1, tzinfo=UTC)}, {}, "1767225600001"),
    ({"max_retries": 3}, {"max_retries": 3}, ""),
    ({"max_retries": 0}, {"max_retries": 0}, ""),
    ({"options": {"attempts": 3}}, {"max_retries": 3}, ""),
    ({"options": {"retry_count": 3, "attempts": None, "max_retries": 3}}, {"max_retries": 3}, ""),
    ({"max_retries": 3, "options": {"retryCount": 3}}, {"max_retries": 3}, ""),
    ({"max_retries": None, "options": {"retryCount": 3}}, {"max_retries": 3}, ""),
    ({"options": {"attempts": None, "maxRetries": 3}}, {"max_retries": 3}, ""),
    ({"retry_delay_ms": 250}, {"retry_delay_ms": 250}, ""),
    ({"timeout": timedelta(seconds=2)}, {"timeout": 2.0}, ""),
    ({"expires": 2.5}, {"expires_ms": 2500}, ""),
    ({"expires": timedelta(hours=1)}, {"expires_ms": 3_600_000}, ""),
    ({"expires": datetime(2026, 1, 1, tzinfo=UTC)}, {"expires_at": 1767225600000}, ""),
]
# Every option that dicts may spell in camelCase, with both spellings.
CAMEL: list[tuple[str, str, Any]] = [
    ("delayUntil", "delay_until", datetime(2026, 1, 1, tzinfo=UTC)),
    ("maxRetries", "max_retries", 3),
    ("retryCount", "max_retries", 3),
    ("retryDelayMs", "retry_delay_ms", 250),
    ("correlationId", "correlation_id", "c"),
    ("idempotencyKey", "idempotency_key", "order 7"),
    ("debounceMs", "debounce", 100),
    ("debounceSeconds", "debounce_seconds", 0.1),
    ("debounceKey", "debounce_key", "k"),
    ("debounceMaxWait", "debounce_max_wait", 2),
    ("debounceMode", "debounce_mode", "leading"),
    ("antiAffinity", "anti_affinity", ["w1"]),
    ("rejectUnroutable", "reject_unroutable", True),
]

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
    (
        "x",
        {"id": "7", "deduplicate": False},
        "id and deduplicate=False of emit cannot be combined",
    ),
    ("x", {"deduplicate": 0}, "deduplicate 0 is not allowed: give True or False"),
    ("x", {"correlation_id": ""}, "correlation_id '' is not allowed: give 1 to 256 characters"),
    ("x", {"correlation_id": 7}, "correlation_id 7 is not allowed"),
    ("x", {"correlation_id": "\ud800"}, "correlation_id cannot be stored as JSON"),
    ("x", {"data": b"raw"}, "the data of 'x' cannot be stored as JSON: it holds bytes"),
    ("x", {"data": float("nan")}, "the data of 'x' cannot be stored as JSON"),
    ("x", {"data": "x" * 300_000}, "the data of 'x' has 300,002 bytes, the limit is 262,144"),
    (
        "x",
        {"unique": False},
        "unknown option 'unique' in emit .use 'deduplicate'.; allowed",
    ),
    (
        "x",
        {"dealy": 3},
        "unknown option 'dealy' in emit.*; allowed: event, queue, data, options, id",
    ),
    (
        "x",
        {"options": {"dealy": 3}},
        "unknown option 'dealy' in emit.*; allowed: id, deduplicate, idem",
    ),
    (
        "x",
        {"maxRetries": 3},
        "unknown option 'maxRetries' in emit .use 'max_retries'.; all",
    ),
    (
        "x",
        {"attempts": 3},
        "unknown option 'attempts' in emit .use 'max_retries'.; allowed",
    ),
    (
        "x",
        {"retryCount": 3},
        "unknown option 'retryCount' in emit .use 'max_retries'.; all",
    ),
    ("x", {"every": 90}, "unknown option 'every' in emit .use 'repeat'.; allowed: event"),
    ("x", {"delay": -1}, "delay -1 is not allowed: give seconds or a timedelta from 0 to 1 year"),
    ("x", {"delay": timedelta(days=366)}, "delay .* is not allowed: give seconds"),
    ("x", {"delay": float("nan")}, "delay nan is not allowed"),
    ("x", {"delay": True}, "delay True is not allowed"),
    ("x", {"delay": "3"}, "delay '3' is not allowed"),
    ("x", {"delay_until": 3}, "delay_until 3 is not allowed: give a datetime; without a time zone"),
    ("x", {"delay_until": date(2026, 1, 1)}, "delay_until .* is not allowed: give a datetime"),
    ("x", {"delay_until": IN_2_YEARS}, "delay_until .* is not allowed: give a time within 1 y"),
    ("x", {"delay": 1, "delay_until": NOW}, "delay and delay_until of emit cannot be combined"),
    (
        "x",
        {"delay": 0, "options": {"delayUntil": NOW}},
        "delay and delay_until of emit cannot be combined",
    ),
    ("x", {"max_retries": -1}, "max_retries -1 is not allowed: give a whole number of at least 0"),
    ("x", {"max_retries": 1.0}, "max_retries 1.0 is not allowed"),
    ("x", {"max_retries": True}, "max_retries True is not allowed"),
    ("x", {"options": {"attempts": -1}}, "max_retries -1 is not allowed"),
    (
        "x",
        {"retry_delay_ms": 0.5},
        "retry_delay_ms 0.5 is not allowed: give a whole number of mill",
    ),
    ("x", {"retry_delay_ms": timedelta(1)}, "retry_delay_ms .* is not allowed: give a whole"),
    ("x", {"timeout": 0}, "timeout 0 is not allowed: give seconds or a timedelta above 0"),
    ("x", {"timeout": NOW}, "timeout .* is not allowed"),
    ("x", {"expires": 0}, "expires 0 is not allowed: give seconds or a timedelta above 0"),
    ("x", {"expires": "soon"}, "expires 'soon' is not allowed"),
    (
        "x",
        {"options": {"attempts": 3, "retry_count": 4}},
        "'attempts' and 'retry_count' of emit cannot be combined",
    ),
    ("x", {"max_retries": 3, "options": {"attempts": 4}}, "the keyword 'max_retries' and options"),
    ("x", {"options": {"queue": "a"}}, "unknown option 'queue' in emit"),
    ("x", {"options": 7}, "the options of emit 7 is not allowed: give a dict"),
    (
        "x",
        {"id": "7", "options": {"id": "8"}},
        "the keyword 'id' and options of emit cannot be combined",
    ),
    ("x", {"options": {"priority": 200}}, "priority 200 is not allowed"),
    ("x", {"correlationId": "c"}, "unknown option 'correlationId' in emit"),
]


@pytest.mark.parametrize(("arguments", "options", "due"), TOLD)
def test_what_emit_is_given_is_what_the_worker_is_told(
    arguments: Any, options: dict[str, Any], due: str
) -> None:
    (item,) = new_jobs([{"event": "x", **arguments}]).jobs
    job = requested("x", arguments)

    assert (decode(job.options) if job.options else {}, job.due) == (options, due)
    assert item == job


def test_a_naive_moment_is_local_time() -> None:
    naive = datetime(2026, 1, 1, 12)  # noqa: DTZ001 - that is what is tested

    assert requested("x", {"delay_until": naive}).due == str(int(naive.timestamp() * 1000))


@pytest.mark.parametrize(("camel", "name", "value"), CAMEL)
def test_options_in_camel_case_are_the_same(camel: str, name: str, value: Any) -> None:
    beside = {"debounce": 100} if name.startswith("debounce") else {}
    snake: Any = {name: value, **beside}
    (item,) = new_jobs([{"event": "x", camel: value, **beside}]).jobs

    # A debounced job has an id of its own each time.
    assert same_but_for_a_fresh_id(
        requested("x", {"options": {camel: value, **beside}}), requested("x", snake)
    )
    assert same_but_for_a_fresh_id(item, requested("x", snake))


def same_but_for_a_fresh_id(one: NewJob, other: NewJob) -> bool:
    return one._replace(id="") == other._replace(id="") and (one.id == other.id or one.guard != "")


def test_every_option_with_a_hump_is_in_the_camel_table() -> None:
    names = {option.name for option in EMIT.options if "_" in option.name}

    assert names == {name for _, name, _ in CAMEL if "_" in name}


def test_a_job_may_be_one_dict() -> None:
    data = {"to": "ada"}
    it = {"event": "send", "queue": "mail", "data": data, "options": {"retryCount": 3}, "id": None}

    assert requested(it, {}) == requested("send", {"queue": "mail", "data": data, "max_retries": 3})
    assert requested({"event": "send", "data": None}, {}).data == b"null"


WRONG_DICTS: list[tuple[dict[str, Any], Any, str]] = [
    ({"event": "x"}, {"queue": "mail"}, "a keyword beside emit's dict 'queue' is not allowed"),
    ({"evnt": "x"}, {}, "unknown option 'evnt' in emit's dict.*; allowed: event, queue, data"),
    ({"queue": "mail"}, {}, "event None is not allowed"),
    ({"event": "x", "options": {"dealy": 3}}, {}, "unknown option 'dealy' in emit.*; allowed"),
]


@pytest.mark.parametrize(("given", "beside", "message"), WRONG_DICTS)
def test_a_dict_that_is_no_job_is_refused(given: Any, beside: Any, message: str) -> None:
    with pytest.raises(InvalidInput, match=f"^{message}"):
        requested(given, beside)


def test_the_default_id_can_be_computed() -> None:
    data = {"b": [1, {"d": 2, "c": 3}], "a": "ä"}
    again = {"a": "ä", "b": [1, {"c": 3, "d": 2}]}

    assert gen_job_id_sync("send", data) == requested("send", {"data": again}).id
    assert gen_job_id_sync("send", {}) == requested("send", {}).id
    assert gen_job_id_sync("send", data, partition="a") != gen_job_id_sync("send", data)
    with pytest.raises(InvalidName):
        gen_job_id_sync("a b", data)


def test_the_type_of_the_options_dict_has_every_option() -> None:
    assert set(EmitOptions.__annotations__) == {
        spelling for it in EMIT.options for spelling in (it.name, *it.aliases, *it.in_dicts)
    }


@pytest.mark.parametrize(("event", "arguments", "message"), WRONG)
def test_what_emit_cannot_take_is_refused(event: Any, arguments: Any, message: str) -> None:
    with pytest.raises(InvalidInput, match=f"^{message}"):
        requested(event, arguments)


@pytest.mark.parametrize(
    ("event", "arguments", "message"),
    [case for case in WRONG if case[0] and "option" not in case[2] and "emit say" not in case[2]],
)
def test_emit_many_refuses_what_emit_refuses(event: Any, arguments: Any, message: str) -> None:
    with pytest.raises(InvalidInput, match=f"^{message}") as caught:
        new_jobs([{"event": "fine"}, {"event": event, **arguments}])

    assert caught.value.__notes__ == ["in item 1 of emit_many (counted from 0); nothing was sent"]


@pytest.mark.parametrize(
    ("items", "message"),
    [
        ({"event": "x"}, "the argument of emit_many .* is not allowed: give a list of dicts"),
        ("x", "give a list of dicts"),
        (7, "give a list of dicts"),
        (["x"], "item 'x' is not allowed: give a dict like"),
        ([{}], "event None is not allowed"),
        ([{"event": "x", "dealy": 3}], "unknown option 'dealy' in an item of emit_many.*; allowed"),
        ([{"event": "x", "options": {"dealy": 3}}], "unknown option 'dealy' in emit"),
    ],
)
def test_emit_many_takes_dicts(items: Any, message: str) -> None:
    with pytest.raises(InvalidInput, match=message):
        new_jobs(items)


def test_an_item_may_use_camel_case() -> None:
    (job,) = new_jobs(
        [{"event": "x", "queue": "mail", "correlationId": "c", "priority": None}]
    ).jobs

    assert decode(job.options) == {"correlation_id": "c"}
    assert job.lane == Lane("mail")


def test_the_errors_carry_what_was_given() -> None:
    with pytest.raises(UnknownOption) as unknown:
        requested("x", {"options": {"dealy": 3}})
    with pytest.raises(InvalidName) as name:
        requested("a b", {})
    with pytest.raises(ConflictingOptions):
        requested("x", {"id": "7", "deduplicate": False})

    assert unknown.value.given == "dealy"
    assert "priority" in unknown.value.allowed
    assert name.value.kind == "event"
