"""repeat= of an emit and of a handler: which schedule it makes."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from pydantic import BaseModel

from consumers.errors import InvalidInput
from consumers.jobs.codec import decode
from consumers.jobs.envelope import NewJob
from consumers.jobs.ids import default_id
from consumers.jobs.lanes import Lane
from processors.schedules.cron import CronSpec
from processors.schedules.schedule import Schedule
from processors.schedules.spec import IntervalSpec
from taskmanager import HandlerRepeat, InvalidPayload, Repeat, TaskManager
from taskmanager.emit.emitter import Emitter
from taskmanager.handlers.registry import Registry
from taskmanager.options.request import Way, new_jobs, requested
from taskmanager.options.tables import HANDLER_REPEAT, REPEAT

DAILY = {"pattern": "0 3 * * *"}
UTC_DAILY = CronSpec("0 3 * * *")


class Report(BaseModel):
    month: int


def of_emit(arguments: Any, event: str = "report") -> Schedule:
    schedule = requested(event, arguments, way=Way(Registry()))
    assert isinstance(schedule, Schedule)
    return schedule


def of_handler(**given: Any) -> Schedule:
    registry = Registry()
    registry.register((lambda job: None,), {"event": "report", **given})
    (schedule,) = registry.schedules(given.get("queue", "default"))
    return schedule


def test_a_repeat_with_a_pattern_only_has_the_defaults() -> None:
    wanted = Schedule("report", UTC_DAILY, "report", Lane("default"))

    assert of_emit({"repeat": DAILY}) == wanted
    assert of_emit({"options": {"repeat": DAILY}}) == wanted
    assert of_handler(repeat=DAILY) == wanted
    assert of_handler(options={"repeat": DAILY}) == wanted


@pytest.mark.parametrize("pattern", ["0 3 * * *", "@daily", "@hourly", "@midnight", "@annually"])
def test_text_alone_is_the_pattern(pattern: str) -> None:
    wanted = Schedule("report", CronSpec(pattern), "report", Lane("default"))

    assert of_emit({"repeat": pattern}) == of_handler(repeat=pattern) == wanted
    assert of_emit({"options": {"repeat": pattern}}) == wanted


@pytest.mark.parametrize("every", [90, 90.0, timedelta(minutes=1, seconds=30)])
def test_every_is_a_length_in_place_of_a_pattern(every: Any) -> None:
    wanted = Schedule("tick", IntervalSpec(90_000), "report", Lane("default"), missed="skip")
    given = {"every": every, "name": "tick", "missed": "skip"}

    assert of_emit({"repeat": given}) == of_handler(repeat=given) == wanted
    # As it is shown.
    assert of_emit({"repeat": {**given, "every": None, "pattern": wanted.spec.pattern}}) == wanted


def test_the_types_of_repeat_have_the_keys_that_are_read() -> None:
    assert list(Repeat.__annotations__) == REPEAT.allowed
    assert list(HandlerRepeat.__annotations__) == HANDLER_REPEAT.allowed


def test_all_that_a_schedule_has_may_be_said() -> None:
    said = {
        "pattern": "0 3 * * *",
        "tz": "Europe/Berlin",
        "name": "nightly",
        "missed": "all",
        "overlap": "skip",
        "version": 7,
    }
    wanted = Schedule(
        name="nightly",
        spec=CronSpec("0 3 * * *", "Europe/Berlin"),
        event="report",
        lane=Lane("mail", "workers", "acme", 5),
        data=b'{"n":1}',
        missed="all",
        overlap="skip",
        version=7,
    )
    place = {"data": {"n": 1}, "priority": 5, "partition": "acme"}

    assert of_emit({"queue": "mail", "repeat": said, **place}) == wanted
    assert of_handler(queue="mail", repeat={**said, **place}) == wanted
    assert of_handler(
        queue="mail", repeat={k.capitalize(): v for k, v in {**said, **place}.items()}
    )


def test_other_options_of_the_emit_go_into_its_jobs() -> None:
    given = {"maxRetries": 3, "timeout": 5, "correlation_id": "c", "retry_delay_ms": 10}

    schedule = of_emit({"repeat": DAILY, "options": given})

    assert decode(schedule.options) == {
        "max_retries": 3,
        "timeout": 5.0,
        "correlation_id": "c",
        "retry_delay_ms": 10,
    }
    assert schedule.job(0).options == schedule.options


def test_schedules_of_one_event_with_other_data_have_other_names() -> None:
    names = [
        of_emit({"repeat": DAILY, **given}).name
        for given in (
            {},
            {"data": {}},
            {"data": {"a": 1, "b": 2}},
            {"data": {"b": 2, "a": 1}},
            {"partition": "acme"},
            {"data": None},
        )
    ]

    assert names[:2] == ["report", "report"]
    digest = default_id("report", "default", b'{"a":1,"b":2}')
    assert names[2] == names[3] == f"report-{digest[:8]}"
    assert len(set(names)) == 4


def test_a_repeat_is_found_wherever_it_is_said() -> None:
    said: list[Any] = [{"repeat": DAILY}, {"options": {"repeat": DAILY}}]
    not_said: list[Any] = [{}, {"repeat": None}, {"options": {"repeat": None}}]

    assert [type(requested("report", it)) for it in said] == [Schedule] * 2
    assert [type(requested("report", it)) for it in not_said] == [NewJob] * 3


EMITS: list[tuple[dict[str, Any], str]] = [
    ({"repeat": {}}, r"emit's repeat {} is not allowed: give repeat={\"pattern\": "),
    ({"repeat": {"pattern": None}}, "emit's repeat .* is not allowed: give repeat="),
    ({"repeat": "0 3 * *"}, r"schedule '0 3 \* \*' is not allowed: it has 4 fields"),
    ({"repeat": 90}, 'repeat 90 is not allowed: give a pattern such as "0 3 .*, or a dict such as'),
    (
        {"repeat": {"every": 0.9}},
        "every 0.9 is not allowed: give seconds or a timedelta from 1 second",
    ),
    ({"repeat": {"every": True}}, "every True is not allowed"),
    ({"repeat": {"every": "90"}}, "every '90' is not allowed: give seconds or a timedelta"),
    ({"repeat": {"every": timedelta(days=366)}}, "every .* is not allowed: .* 1 second to 1 year"),
    ({"repeat": {**DAILY, "every": 90}}, "every and pattern of emit's repeat cannot be combined"),
    ({"repeat": {"every": 90, "tz": "UTC"}}, "tz 'UTC' is not allowed: every counts from 1970"),
    ({"repeat": {**DAILY, "zone": "UTC"}}, "unknown option 'zone' in emit's repeat; allowed: patt"),
    ({"repeat": {**DAILY, "data": {}}}, "unknown option 'data' in emit's repeat"),
    ({"repeat": {"pattern": "* * *"}}, r"schedule '\* \* \*' is not allowed"),
    ({"repeat": {"pattern": 7}}, "schedule 7 is not allowed"),
    ({"repeat": {**DAILY, "tz": "Mars/Base"}}, "tz 'Mars/Base' is not allowed"),
    ({"repeat": {**DAILY, "missed": "some"}}, "missed 'some' is not allowed: give one of skip, "),
    ({"repeat": {**DAILY, "overlap": "no"}}, "overlap 'no' is not allowed: give one of allow, s"),
    ({"repeat": {**DAILY, "version": -1}}, "version -1 is not allowed: give a whole number"),
    ({"repeat": {**DAILY, "version": "2"}}, "version '2' is not allowed"),
    ({"repeat": {**DAILY, "name": "a b"}}, "schedule 'a b' is not allowed: use 1 to 128"),
    ({"repeat": DAILY, "id": "7"}, "id and repeat of emit cannot be combined"),
    (
        {"repeat": DAILY, "deduplicate": False},
        "deduplicate=False and repeat of emit cannot be combined",
    ),
    ({"repeat": DAILY, "delay": 0}, "delay and repeat of emit cannot be combined"),
    ({"repeat": DAILY, "debounce": 1}, "debounce and repeat of emit cannot be combined"),
    ({"repeat": DAILY, "debounce_ms": 1}, "debounce and repeat of emit cannot be combined"),
    ({"repeat": DAILY, "debounce_key": "k"}, "debounce_key and repeat of emit cannot be combined"),
    (
        {"repeat": DAILY, "idempotency_key": "k"},
        "idempotency_key and repeat of emit cannot be combined",
    ),
    (
        {"repeat": DAILY, "delay_until": datetime(2026, 1, 1, tzinfo=UTC)},
        "delay_until .* is not allowed: a schedule starts at once in this version",
    ),
    ({"repeat": DAILY, "options": {"repeat": {"pattern": "@daily"}}}, "the keyword 'repeat' and"),
    ({"repeat": DAILY, "dealy": 3}, "unknown option 'dealy' in emit"),
    ({"repeat": DAILY, "queue": "a b"}, "queue 'a b' is not allowed"),
    ({"repeat": DAILY, "priority": 101}, "priority 101 is not allowed"),
    ({"repeat": DAILY, "max_retries": -1}, "max_retries -1 is not allowed"),
    ({"repeat": DAILY, "data": b"raw"}, "the data of 'report' cannot be stored as JSON"),
]


@pytest.mark.parametrize(("arguments", "message"), EMITS)
def test_a_schedule_that_cannot_be_is_refused(arguments: Any, message: str) -> None:
    with pytest.raises(InvalidInput, match=f"^{message}"):
        of_emit(arguments)


def test_the_default_name_of_a_long_event_is_refused_with_the_rule() -> None:
    with pytest.raises(InvalidInput, match=r"^schedule 'e+-.*' is not allowed: use 1 to 128"):
        of_emit({"repeat": DAILY, "data": {"n": 1}}, event="e" * 128)


def test_emit_many_takes_no_schedules() -> None:
    for item in ({"repeat": DAILY}, {"options": {"repeat": DAILY}}):
        with pytest.raises(InvalidInput, match=r"^repeat .* call emit\(\.\.\., repeat=\.\.\.\) fo"):
            new_jobs([{"event": "report", **item}])


async def test_on_success_takes_no_schedule() -> None:
    tm = TaskManager("redis://nowhere:1/0")
    emitter: Emitter = tm._emitter

    with pytest.raises(
        InvalidInput, match=r"^on_success=True and repeat of emit cannot be combined"
    ):
        emitter.emit("report", {"repeat": DAILY}, on_success=True)


HANDLERS: list[tuple[Any, str]] = [
    ({}, "registerHandler's repeat {} is not allowed: give repeat="),
    (90, "repeat 90 is not allowed: give a pattern"),
    (
        {**DAILY, "each": 3},
        "unknown option 'each' in registerHandler's repeat; allowed: pattern, ev",
    ),
    ({"every": 0}, "every 0 is not allowed: give seconds or a timedelta from 1 second to 1 year"),
    ({**DAILY, "priority": "high"}, "priority 'high' is not allowed"),
    ({**DAILY, "data": b"raw"}, "the data of 'report' cannot be stored as JSON"),
    ({"pattern": "61 * * * *"}, "minute '61' of schedule '61 .*' is not allowed"),
]


@pytest.mark.parametrize(("repeat", "message"), HANDLERS)
def test_a_handlers_schedule_is_checked_when_it_is_registered(repeat: Any, message: str) -> None:
    with pytest.raises(InvalidInput, match=f"^{message}"):
        of_handler(repeat=repeat)


def test_the_data_of_a_schedule_must_be_what_the_handler_takes() -> None:
    tm = TaskManager()
    register: Callable[..., Any] = tm.registerHandler

    with pytest.raises(InvalidPayload, match="month: Field required"):
        register(lambda job: None, event="report", payload=Report, repeat=DAILY)
    register(
        lambda job: None, event="report", payload=Report, repeat={**DAILY, "data": {"month": 1}}
    )
    with pytest.raises(InvalidPayload, match="month: Field required"):
        requested("report", {"repeat": DAILY}, way=Way(tm._registry))


def test_two_handlers_of_a_queue_cannot_share_the_name_of_a_schedule() -> None:
    registry = Registry()
    registry.register((print,), {"event": "a", "repeat": {**DAILY, "name": "nightly"}})
    registry.register(
        (print,), {"event": "a", "queue": "q", "repeat": {**DAILY, "name": "nightly"}}
    )

    with pytest.raises(
        InvalidInput, match=r"^the name of repeat 'nightly' is not allowed: the sch"
    ):
        registry.register((print,), {"event": "b", "repeat": {**DAILY, "name": "nightly"}})


def test_replacing_a_handler_replaces_its_schedule(caplog: pytest.LogCaptureFixture) -> None:
    registry = Registry()
    for given in ({"repeat": DAILY}, {"repeat": {**DAILY, "version": 1}}):
        registry.register((lambda job: None,), {"event": "report", **given})
    (schedule,) = registry.schedules("default")

    registry.register((lambda job: None,), {"event": "report"})

    assert schedule.version == 1
    assert registry.schedules("default") == []
