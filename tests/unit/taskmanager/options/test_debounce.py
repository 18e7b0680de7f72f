"""Debounce and idempotency keys as options: of an emit, a handler, the processor."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from consumers.errors import InvalidInput
from consumers.jobs.guards import Mode, debounced, digest_of, idempotent
from consumers.jobs.ids import default_id
from consumers.jobs.names import check_job_id
from processors.debounce import DebounceManager
from taskmanager import TaskManager
from taskmanager.handlers.registry import Registry
from taskmanager.options.debounce import emit_debounce, handler_debounce
from taskmanager.options.processor import read_processor
from taskmanager.options.request import Way, new_jobs, requested

DEFAULT_ID = default_id("x", "default", b"{}")


def guard(
    group: str, window_ms: int, longest_ms: int, mode: Mode = "trailing", partition: str = "default"
) -> str:
    digest = digest_of("x", partition, group)
    return debounced(digest, window_ms=window_ms, longest_ms=longest_ms, mode=mode)


STORMS: list[tuple[dict[str, Any], str]] = [
    ({"debounce": 300}, guard(DEFAULT_ID, 300, 3000)),
    ({"debounce": 1}, guard(DEFAULT_ID, 1, 10)),
    ({"debounce": timedelta(seconds=2)}, guard(DEFAULT_ID, 2000, 20_000)),
    ({"debounce_ms": 300}, guard(DEFAULT_ID, 300, 3000)),
    ({"debounce_seconds": 0.3}, guard(DEFAULT_ID, 300, 3000)),
    ({"debounce_seconds": timedelta(seconds=3)}, guard(DEFAULT_ID, 3000, 30_000)),
    ({"debounce": 300, "debounce_ms": 300}, guard(DEFAULT_ID, 300, 3000)),
    ({"debounce": 300, "debounce_seconds": 0.3}, guard(DEFAULT_ID, 300, 3000)),
    ({"debounce": 300, "debounce_key": "a b"}, guard("a b", 300, 3000)),
    ({"debounce": 300, "id": "7"}, guard("7", 300, 3000)),
    ({"debounce": 300, "id": "7", "debounce_key": "k"}, guard("k", 300, 3000)),
    ({"debounce": 300, "deduplicate": False, "debounce_key": "k"}, guard("k", 300, 3000)),
    ({"debounce": 300, "debounce_max_wait": 1}, guard(DEFAULT_ID, 300, 1000)),
    ({"debounce": 300, "debounce_max_wait": timedelta(minutes=1)}, guard(DEFAULT_ID, 300, 60_000)),
    ({"debounce": 300, "debounce_mode": "leading"}, guard(DEFAULT_ID, 300, 3000, "leading")),
    (
        {"debounce": 300, "partition": "acme", "debounce_key": "k"},
        guard("k", 300, 3000, partition="acme"),
    ),
    ({"debounce": 0}, ""),
    ({"debounce": None, "debounce_key": None}, ""),
]


@pytest.mark.parametrize(("arguments", "wanted"), STORMS)
def test_a_debounced_emit_asks_its_group(arguments: Any, wanted: str) -> None:
    job = requested("x", arguments)
    (item,) = new_jobs([{"event": "x", **arguments}]).jobs
    in_options = requested("x", {"options": arguments})

    assert job.guard == item.guard == in_options.guard == wanted


def test_each_debounced_emit_has_an_id_of_its_own() -> None:
    ids = {requested("x", {"debounce": 300, "id": "7"}).id for _ in range(3)}

    assert len(ids) == 3
    assert ids.isdisjoint({"7", DEFAULT_ID})


def test_the_same_key_of_another_event_or_partition_is_another_one() -> None:
    here = {"debounce": 300, "debounce_key": "k"}
    others: list[tuple[str, Any]] = [("x", here), ("y", here), ("x", {**here, "partition": "p"})]

    assert len({requested(event, given).guard for event, given in others}) == 3


def test_an_idempotency_key_is_the_guard_and_the_id() -> None:
    keyed = requested("x", {"idempotency_key": "order 7", "data": {"n": 1}})
    again = requested("x", {"idempotency_key": "order 7", "data": {"n": 2}})
    named = requested("x", {"idempotency_key": "order 7", "id": "mine"})
    other = requested("x", {"idempotency_key": "order 7", "partition": "acme"})

    assert keyed.guard == idempotent(digest_of("x", "default", "order 7"))
    assert (again.id, again.guard) == (keyed.id, keyed.guard)
    assert (named.id, named.guard) == ("mine", keyed.guard)
    assert other.guard != keyed.guard


def test_an_id_made_of_a_key_is_no_option_on_a_command_line() -> None:
    ids = [requested("x", {"idempotency_key": str(n)}).id for n in range(500)]

    assert len(set(ids)) == 500
    assert all(check_job_id(it)[0] != "-" for it in ids)


@pytest.mark.parametrize("key", ["x", "a b\n", "ключ", "\ud800", "k" * 1024])
def test_any_text_is_a_key(key: str) -> None:
    assert requested("x", {"idempotency_key": key}).guard.startswith("i ")
    assert requested("x", {"debounce": 1, "debounce_key": key}).guard.startswith("t ")


HOW = "it has no effect without debounce=, here or at a handler"
WRONG: list[tuple[dict[str, Any], str]] = [
    (
        {"debounce": 0.5},
        "debounce 0.5 is not allowed: it is in milliseconds: give a whole number or a "
        "timedelta, or use debounce_seconds",
    ),
    ({"debounce_ms": 300.0}, "debounce 300.0 is not allowed: it is in milliseconds"),
    (
        {"debounce": -1},
        "debounce -1 is not allowed: give a whole number of milliseconds, from 0 to 1",
    ),
    ({"debounce": True}, "debounce True is not allowed: give a whole number of milliseconds"),
    ({"debounce": "1s"}, "debounce '1s' is not allowed: give a whole number of milliseconds"),
    ({"debounce": timedelta(days=366)}, "debounce .* is not allowed: give seconds or a timedelta"),
    ({"debounce_seconds": -1}, "debounce_seconds -1 is not allowed: give seconds or a timedelta"),
    (
        {"debounce": 300, "debounce_ms": 301},
        "'debounce' and 'debounce_ms' of emit cannot be combined",
    ),
    (
        {"debounce": 3, "debounce_seconds": 3},
        "debounce and debounce_seconds of emit cannot be combined",
    ),
    (
        {"debounce": 300, "options": {"debounceMs": 301}},
        "the keyword 'debounce' and options of emit cannot be combined",
    ),
    (
        {"debounce": 300, "debounce_key": ""},
        "debounce_key '' is not allowed: give a string of 1 to",
    ),
    (
        {"debounce": 300, "debounce_key": 7},
        "debounce_key 7 is not allowed: give a string of 1 to 1",
    ),
    (
        {"debounce": 300, "debounce_key": "k" * 1025},
        "debounce_key .* is not allowed: give a string",
    ),
    ({"debounce_key": "k"}, f"debounce_key 'k' is not allowed: {HOW}"),
    ({"debounce_max_wait": 1}, f"debounce_max_wait 1 is not allowed: {HOW}"),
    ({"debounce_mode": "leading"}, f"debounce_mode 'leading' is not allowed: {HOW}"),
    ({"debounce": 0, "debounce_key": "k"}, f"debounce_key 'k' is not allowed: {HOW}"),
    (
        {"debounce": 3000, "debounce_max_wait": 2.5},
        "debounce_max_wait 2.5 is not allowed: give at least the window, 3,000 ms",
    ),
    ({"debounce": 300, "debounce_max_wait": 0}, "debounce_max_wait 0 is not allowed: give secon"),
    (
        {"debounce": 300, "debounce_mode": "last"},
        "debounce_mode 'last' is not allowed: give trailing or leading",
    ),
    ({"debounce": 300, "delay": 1}, "delay and debounce of emit cannot be combined: give one"),
    (
        {"debounce": 300, "delay_until": datetime(2026, 1, 1, tzinfo=UTC)},
        "delay_until and debounce of emit cannot be combined",
    ),
    (
        {"debounce": 300, "idempotency_key": "k"},
        "idempotency_key and debounce of emit cannot be combined",
    ),
    (
        {"debounce": 300, "deduplicate": False},
        "deduplicate=False and debounce of emit cannot be combined",
    ),
    (
        {"idempotency_key": ""},
        "idempotency_key '' is not allowed: give a string of 1 to 1,024 char",
    ),
    (
        {"idempotency_key": "k" * 1025},
        "idempotency_key .* is not allowed: give a string of 1 to 1,",
    ),
    ({"idempotency_key": 7}, "idempotency_key 7 is not allowed: give a string"),
    (
        {"idempotency_key": "k", "deduplicate": False},
        "idempotency_key and deduplicate=False of emit cannot be combined",
    ),
]


@pytest.mark.parametrize(("arguments", "message"), WRONG)
def test_what_cannot_be_debounced_or_keyed_is_refused(arguments: Any, message: str) -> None:
    with pytest.raises(InvalidInput, match=f"^{message}"):
        requested("x", arguments)
    if "options" not in arguments:
        with pytest.raises(InvalidInput):
            new_jobs([{"event": "x", **arguments}])


# Of a handler


def registry(**options: Any) -> Registry:
    registered = Registry()
    registered.register((lambda job: None,), {"event": "x", **options})
    return registered


HANDLERS: list[tuple[dict[str, Any], DebounceManager | None]] = [
    ({}, None),
    ({"debounce": 300}, DebounceManager(300)),
    ({"debounce_ms": 300}, DebounceManager(300)),
    ({"debounce_seconds": 0.3}, DebounceManager(300)),
    ({"options": {"debounceMs": 300}}, DebounceManager(300)),
    ({"options": {"debounceSeconds": 0.3}}, DebounceManager(300)),
    (
        {"options": {"debounce": 300, "debounceMaxWait": 1, "debounceMode": "leading"}},
        DebounceManager(300, 1000, "leading"),
    ),
]


@pytest.mark.parametrize(("given", "manager"), HANDLERS)
def test_a_handler_may_say_how_its_emits_are_debounced(given: Any, manager: Any) -> None:
    assert registry(**given).rules_of("default", "x").debounce == manager


HERE = registry(debounce=300, debounce_max_wait=1, debounce_mode="leading")
OF_THE_HANDLER: list[tuple[dict[str, Any], str]] = [
    ({}, guard(DEFAULT_ID, 300, 1000, "leading")),
    ({"debounce_key": "k"}, guard("k", 300, 1000, "leading")),
    ({"debounce_mode": "trailing"}, guard(DEFAULT_ID, 300, 1000)),
    ({"debounce_max_wait": 2}, guard(DEFAULT_ID, 300, 2000, "leading")),
    # What an emit says itself stands alone.
    ({"debounce": 50}, guard(DEFAULT_ID, 50, 500)),
    ({"debounce": 0}, ""),
    ({"debounce_seconds": 0}, ""),
    ({"debounce": 0, "delay": 1}, ""),
]


@pytest.mark.parametrize(("arguments", "wanted"), OF_THE_HANDLER)
def test_a_handlers_debounce_counts_for_emits_without_their_own(
    arguments: Any, wanted: str
) -> None:
    assert requested("x", arguments, way=Way(HERE)).guard == wanted
    assert new_jobs([{"event": "x", **arguments}], way=Way(HERE)).jobs[0].guard == wanted


def test_a_handlers_debounce_is_that_of_its_queue_and_event() -> None:
    assert requested("x", {"queue": "other"}, way=Way(HERE)).guard == ""
    assert requested("y", {}, way=Way(HERE)).guard == ""
    assert requested("x", {}).guard == ""


@pytest.mark.parametrize(
    "arguments",
    [
        {"delay": 1},
        {"delay_until": datetime(2026, 1, 1, tzinfo=UTC)},
        {"idempotency_key": "k"},
        {"deduplicate": False},
    ],
)
def test_what_a_handlers_debounce_cannot_have_is_refused_with_the_way_out(arguments: Any) -> None:
    message = r"and the handler's debounce \(debounce=0 turns it off\) of emit cannot be combined"
    with pytest.raises(InvalidInput, match=message):
        requested("x", arguments, way=Way(HERE))

    assert requested("x", {**arguments, "debounce": 0}, way=Way(HERE))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"debounce": 0}, "debounce 0 is not allowed: give at least 1 millisecond, or leave it"),
        ({"debounce": 0.3}, "debounce 0.3 is not allowed: it is in milliseconds"),
        ({"debounce_key": "k"}, "unknown option 'debounce_key' in registerHandler"),
        (
            {"debounce_mode": "leading"},
            "debounce_mode 'leading' .* it has no effect without debounce=",
        ),
        ({"debounce": 3, "debounce_mode": "x"}, "debounce_mode 'x' is not allowed: give trailing"),
        ({"debounce": 3, "debounce_seconds": 3}, "debounce and debounce_seconds of registerHandl"),
    ],
)
def test_a_handlers_debounce_is_checked_when_it_is_registered(given: Any, message: str) -> None:
    register: Callable[..., Any] = TaskManager().registerHandler

    with pytest.raises(InvalidInput, match=f"^{message}"):
        register(event="x", **given)


def test_a_replaced_handler_takes_its_debounce_along(caplog: pytest.LogCaptureFixture) -> None:
    registered = registry(debounce=300)
    registered.register((lambda job: None,), {"event": "x"})

    assert registered.rules_of("default", "x").debounce is None


def test_the_readers_of_both_agree_on_the_defaults() -> None:
    assert handler_debounce({"debounce": 300}) == emit_debounce({"debounce": 300}, None)


# Of the processor: here debounce is in seconds


@pytest.mark.parametrize(
    ("given", "ms"),
    [
        ({}, None),
        ({"debounce": 300}, 300_000),
        ({"debounce": 0.25}, 250),
        ({"debounce": timedelta(minutes=5)}, 300_000),
        ({"debounce_seconds": 300}, 300_000),
        ({"debounceSeconds": 300}, 300_000),
        ({"debounce_ms": 250}, 250),
        ({"debounceMs": 250}, 250),
        ({"debounce": 300, "debounce_seconds": 300}, 300_000),
        ({"debounce": 300, "debounce_ms": 300_000}, 300_000),
        ({"debounce": None}, None),
    ],
)
def test_the_processors_debounce_is_in_seconds(given: Any, ms: int | None) -> None:
    assert read_processor(given).debounce_ms == ms


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"debounce": 0}, "debounce 0 is not allowed: give seconds or a timedelta above 0"),
        ({"debounce": "5m"}, "debounce '5m' is not allowed: give seconds or a timedelta above 0"),
        ({"debounce_ms": 0}, "debounce_ms 0 is not allowed: give at least 1 millisecond"),
        ({"debounce_ms": 0.5}, "debounce_ms 0.5 is not allowed: give a whole number of millisec"),
        (
            {"debounce": 300, "debounce_ms": 300},
            "debounce and debounce_ms of processor cannot be combined",
        ),
        ({"debounce": 3, "debounceSeconds": 4}, "'debounce' and 'debounceSeconds' of processor"),
    ],
)
def test_a_debounce_that_the_processor_cannot_have_is_refused(given: Any, message: str) -> None:
    with pytest.raises(InvalidInput, match=f"^{message}"):
        read_processor(given)
