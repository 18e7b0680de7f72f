"""Settings: where they come from, which place wins, what is refused."""

from __future__ import annotations

import inspect
from datetime import timedelta
from typing import Any

import pytest

from consumers.errors import InvalidInput, TaskManagerError
from taskmanager import NotConfigured, TaskManager, TaskManagerOptions
from taskmanager.configuration import Configuration
from taskmanager.settings import Settings, check, resolve

DEFAULTS = Settings()


@pytest.mark.parametrize(
    ("url", "where"),
    [
        ("redis://ann:secret@example:7000/1", "redis://ann:***@example:7000/1"),
        ("embedded://", "embedded://"),
        (None, "no Redis"),
    ],
)
def test_a_task_manager_shows_where_it_is_for_and_no_password(url: str | None, where: str) -> None:
    tm = TaskManager(url, namespace="shop")
    for queue in ("mail", "images", "mail"):
        tm.registerHandler(lambda job: None, {"event": f"{queue}-sent", "queue": queue})

    assert repr(tm) == (
        f"<TaskManager of {where}, namespace 'shop', queues with handlers: mail, images>"
    )


def test_a_task_manager_can_be_shown_whatever_the_environment_says(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("TASKMANAGER_LEASE", "long")

    assert "TASKMANAGER_LEASE 'long' is not allowed" in repr(TaskManager())


def test_the_command_line_wins_over_the_constructor_over_the_environment() -> None:
    settings = resolve(
        command_line={"concurrency": 1},
        given={"concurrency": 2, "lease": 20.0},
        environment={
            "TASKMANAGER_CONCURRENCY": "3",
            "TASKMANAGER_LEASE": "30",
            "TASKMANAGER_NAMESPACE": "shop",
        },
    )

    assert (settings.concurrency, settings.lease, settings.namespace) == (1, 20.0, "shop")
    assert settings.max_deliveries == DEFAULTS.max_deliveries


@pytest.mark.parametrize(
    ("variable", "text", "name", "value"),
    [
        ("REDIS_URL", "redis://example/0", "redis_url", "redis://example/0"),
        ("NAMESPACE", "shop", "namespace", "shop"),
        ("CONCURRENCY", " 8 ", "concurrency", 8),
        ("TYPE", "encoder", "type", "encoder"),
        ("CAPABILITIES", "gpu, av1,,gpu", "capabilities", ("av1", "gpu")),
        ("LEVELS", "0, -5, 10,0", "levels", (10, 0, -5)),
        ("REGION", "eu", "region", "eu"),
        ("PREFETCH", "0", "prefetch", 0),
        ("QUEUES", "mail, images,,mail", "queues", ("mail", "images")),
        ("NAME", "worker-1", "name", "worker-1"),
        ("LEASE", "2.5", "lease", 2.5),
        ("MAX_DELIVERIES", "3", "max_deliveries", 3),
        ("RESULT_TTL", "0", "result_ttl", 0.0),
        ("LOG_TTL", "60", "log_ttl", 60.0),
        ("EMIT_TIMEOUT", "1", "emit_timeout", 1.0),
        ("CONNECT_TIMEOUT", "1", "connect_timeout", 1.0),
        ("SHUTDOWN_TIMEOUT", "1", "shutdown_timeout", 1.0),
        ("MAX_QUEUE_DEPTH", "1000", "max_queue_depth", 1000),
        ("NO_HANDLER_DEADLINE", "1", "no_handler_deadline", 1.0),
        ("MAX_LOOP_LAG", "60", "max_loop_lag", 60.0),
        ("EXPOSE", "8080", "expose", 8080),
    ],
)
def test_every_setting_has_a_variable(variable: str, text: str, name: str, value: object) -> None:
    settings = resolve(command_line={}, given={}, environment={f"TASKMANAGER_{variable}": text})

    assert getattr(settings, name) == value


def test_an_empty_variable_is_not_set() -> None:
    assert (
        resolve(command_line={}, given={}, environment={"TASKMANAGER_CONCURRENCY": ""}) == DEFAULTS
    )


@pytest.mark.parametrize(
    ("variable", "text", "message"),
    [
        ("CONCURRENCY", "many", "TASKMANAGER_CONCURRENCY 'many' is not allowed: give a whole"),
        ("CONCURRENCY", "0", "TASKMANAGER_CONCURRENCY 0 is not allowed: .* at least 1"),
        ("CONCURRENCY", "1.5", "TASKMANAGER_CONCURRENCY '1.5' .* whole number"),
        ("LEASE", "soon", "TASKMANAGER_LEASE 'soon' is not allowed: give a number of seconds"),
        ("LEASE", "0", "TASKMANAGER_LEASE 0.0 .* of at least 0.1"),
        ("LEASE", "nan", "TASKMANAGER_LEASE nan .* seconds or a timedelta"),
        ("RESULT_TTL", "-1", "TASKMANAGER_RESULT_TTL -1.0 .* at least 0"),
        ("RESULT_TTL", "inf", "TASKMANAGER_RESULT_TTL inf"),
        ("CONCURRENCY", "10001", "TASKMANAGER_CONCURRENCY 10001 .* at most 10,000"),
        ("NAMESPACE", "a b", "TASKMANAGER_NAMESPACE 'a b' is not allowed: use 1 to 128"),
        ("QUEUES", "mail,a b", "queue 'a b' is not allowed"),
        ("QUEUES", " , ", "TASKMANAGER_QUEUES .* name at least one queue"),
        ("TYPE", "any", "type 'any' is not allowed: the type \"any\" is reserved"),
        ("CAPABILITIES", "gpu,a b", "capability 'a b' is not allowed: use 1 to 128"),
        ("LEVELS", "high", "TASKMANAGER_LEVELS 'high' is not allowed: give a whole number"),
        ("LEVELS", "0,101", r"TASKMANAGER_LEVELS \[0, 101\] .* give priorities from -100 to 100"),
        ("LEVELS", ",", "TASKMANAGER_LEVELS .* name at least one priority"),
        ("REGION", "a b", "TASKMANAGER_REGION 'a b' is not allowed: use 1 to 128"),
        ("PREFETCH", "-1", "TASKMANAGER_PREFETCH -1 is not allowed: .* at least 0"),
    ],
)
def test_a_bad_variable_is_named(variable: str, text: str, message: str) -> None:
    with pytest.raises(InvalidInput, match=message):
        resolve(command_line={}, given={}, environment={f"TASKMANAGER_{variable}": text})


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"concurrency": True}, "concurrency True is not allowed: give a whole number"),
        ({"concurrency": "4"}, "concurrency '4' is not allowed"),
        ({"lease": True}, "lease True is not allowed: give seconds or a timedelta"),
        ({"lease": timedelta(milliseconds=1)}, "lease 0.001 .* at least 0.1"),
        ({"lease": timedelta(days=366)}, "lease 31622400.0 .* at least 0.1 and at most a year"),
        ({"result_ttl": 1e12}, "result_ttl .* at most a year"),
        ({"log_ttl": 0}, "log_ttl 0 .* at least 0.001"),
        ({"max_deliveries": 1001}, "max_deliveries 1001 .* at most 1,000"),
        ({"max_queue_depth": 0}, "max_queue_depth 0 is not allowed"),
        ({"redis_url": 7}, "redis_url 7 is not allowed: give a URL as a string"),
        ({"queues": []}, "name at least one queue"),
        ({"lese": 7}, "unknown option 'lese' in here.*; allowed: capabilities, concurrency"),
        ({"type": "event.a"}, "type 'event.a' is not allowed: a type must not start with"),
        ({"capabilities": 7}, "capabilities 7 is not allowed: give a list, or text with commas"),
        ({"capabilities": {"gpu": 1}}, "capabilities .* is not allowed: give a list, or text"),
        ({"capabilities": [7]}, "capability 7 is not allowed: use 1 to 128"),
        ({"capabilities": [f"c{n}" for n in range(257)]}, "it has 257 names, and the limit is 256"),
        ({"levels": 5}, "levels 5 is not allowed: give a list, or text with commas"),
        ({"levels": []}, "levels .* is not allowed: name at least one priority"),
        ({"levels": [True]}, r"levels \[True\] is not allowed: give priorities from -100 to 100"),
        ({"prefetch": 10_001}, "prefetch 10001 is not allowed: .* at most 10,000"),
        ({"prefetch": True}, "prefetch True is not allowed: give a whole number of at least 0"),
    ],
)
def test_a_bad_value_is_refused_where_it_is_given(values: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidInput, match=message):
        check(values, where="here")


def test_a_timedelta_is_seconds_and_none_is_not_given() -> None:
    checked = check({"lease": timedelta(minutes=1), "result_ttl": None}, where="here")

    assert checked == {"lease": 60.0}


def test_lists_may_be_text_and_are_kept_in_order_and_once() -> None:
    given = {"capabilities": "gpu, av1,gpu", "levels": "0,5", "prefetch": 0}

    checked = check(given, where="here")

    assert checked == {"capabilities": ("av1", "gpu"), "levels": (5, 0), "prefetch": 0}
    assert check({"capabilities": {"b", "a"}, "levels": {-1, 1}}, where="here") == {
        "capabilities": ("a", "b"), "levels": (1, -1),
    }  # fmt: skip
    assert check({"capabilities": []}, where="here") == {"capabilities": ()}


def test_capabilities_that_were_set_win_over_the_constructor_and_keep_the_rest() -> None:
    tm = TaskManager("redis://constructor/0", capabilities=["av1"], type="encoder")
    connector = tm.connector

    tm.set_capabilities(["gpu"])

    assert (tm.settings.capabilities, tm.settings.type) == (("gpu",), "encoder")
    assert tm.connector is connector


def test_the_url_is_not_shown() -> None:
    assert "secret" not in repr(Settings(redis_url="redis://:secret@example/0"))


def test_the_environment_is_read_at_the_first_use(monkeypatch: pytest.MonkeyPatch) -> None:
    tm = TaskManager()
    monkeypatch.setenv("TASKMANAGER_CONCURRENCY", "7")
    monkeypatch.setenv("TASKMANAGER_REDIS_URL", "redis://example:7000/3")

    assert tm.settings.concurrency == 7
    assert tm.connector.where == "redis://example:7000/3"


def test_configure_wins_over_the_constructor(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TASKMANAGER_REDIS_URL", "redis://environment/0")
    tm = TaskManager("redis://constructor/0", concurrency=2, lease=20)
    assert tm.connector.where == "redis://constructor:6379/0"

    tm.configure(redis_url="redis://command-line/0", concurrency=3, lease=None)

    assert tm.connector.where == "redis://command-line:6379/0"
    assert (tm.settings.concurrency, tm.settings.lease) == (3, 20.0)


async def test_a_missing_url_is_an_error_at_the_first_use(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TASKMANAGER_REDIS_URL", raising=False)
    tm = TaskManager()

    with pytest.raises(NotConfigured, match=r"set TASKMANAGER_REDIS_URL") as caught:
        tm.emit("x")

    assert isinstance(caught.value, TaskManagerError)
    with pytest.raises(NotConfigured):
        await tm.start()


def test_streamdb_comes_before_db() -> None:
    tm = TaskManager(db="redis://db/0", streamdb="redis://streams/0")

    assert tm.connector.where == "redis://streams:6379/0"


def test_a_redis_that_the_command_line_names_is_for_results_too() -> None:
    found = Configuration(None, db="redis://db/0", streamdb="redis://streams/0", given={})
    assert found.archive is not None
    assert found.archive.where == "redis://db:6379/0"

    found.override({"redis_url": "redis://command-line/0"})

    assert (found.connector.where, found.archive) == ("redis://command-line:6379/0", None)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"redis": "redis://a/0", "db": "redis://b/0"},
            "redis and db of TaskManager cannot be combined",
        ),
        ({"redis": "http://a"}, "it must start with redis://, rediss://, unix:// or embedded://"),
        ({"redis": "localhost:6379"}, r"'localhost:6379' is not allowed: it must .* embedded://"),
        ({"db": object()}, "object is not a Redis address"),
        ({"concurrency": 0}, "concurrency 0 is not allowed"),
        ({"namespace": "{a}"}, "namespace '{a}' is not allowed"),
        ({"ctx": {"emit": 1}}, "ctx with its own 'emit' is not allowed"),
        (
            {"ctx": {}, "lifespan": lambda: None},
            "ctx and lifespan of TaskManager cannot be combined",
        ),
        (
            {"processor": {"retyr": {}}},
            "unknown option 'retyr' in processor.*; allowed: retry, dlq",
        ),
        ({"concurency": 2}, "unknown option 'concurency' in TaskManager.*; allowed: redis, db, st"),
        ({"processor": 7}, "processor 7 is not allowed: give a dict"),
        ({"processor": {"ignoreConfigErrors": 1}}, "ignore_config_errors 1 .* True or False"),
    ],
)
def test_a_bad_argument_is_refused_by_the_constructor(
    options: dict[str, Any], message: str
) -> None:
    with pytest.raises(InvalidInput, match=message):
        TaskManager(**options)


@pytest.mark.parametrize("processor", [None, {}, {"ignore_config_errors": False}])
def test_a_processor_without_options_is_accepted(processor: dict[str, Any] | None) -> None:
    TaskManager(processor=processor)


def test_unknown_processor_options_may_be_warnings(caplog: pytest.LogCaptureFixture) -> None:
    TaskManager(processor={"retyr": {}, "ignoreConfigErrors": True})

    assert "unknown option 'retyr' in processor" in caplog.text


def test_the_type_of_the_constructors_dict_has_every_argument() -> None:
    arguments = list(inspect.signature(TaskManager).parameters)

    assert arguments == ["redis", *TaskManagerOptions.__annotations__]
