"""What a task manager is told, from four places. Nothing else reads it from the environment.

A setting given on the command line wins over one of the constructor, that one
over the environment's ``TASKMANAGER_<NAME>``, and that one over the default.
No duration may be longer than a year, and concurrency is 10,000 at most. The names, what they mean
and their defaults stand with Settings.

TASKMANAGER_APP is no setting: it names the task manager itself to the command line.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from consumers.errors import UnknownOption
from consumers.jobs.bounds import MOST_SLOTS, YEAR
from consumers.jobs.names import check_name
from taskmanager.errors import InvalidOption

PREFIX = "TASKMANAGER_"


@dataclass(frozen=True, slots=True)
class Settings:
    """The settings in force; durations are in seconds.

    redis_url            where Redis is: redis://, rediss://, unix:// or embedded://; no default
    namespace            what every key starts with; "tm"
    concurrency          jobs that run at a time; 1
    queues               the queues to work on, comma separated; all that have a handler
    name                 the worker's stable name; made from the host's
    lease                seconds a job stays ours without renewal; 30
    max_deliveries       times a job is handed out before it may be buried as crash_loop; 5
    result_ttl           seconds a result is kept; 300
    log_ttl              seconds a job's log and progress are kept; 86400
    emit_timeout         seconds an emit is repeated while Redis is away; 5
    connect_timeout      seconds start waits for Redis; 30
    shutdown_timeout     seconds running jobs have to finish after a stop; 25
    max_queue_depth      jobs a queue takes before QueueFull; no limit
    no_handler_deadline  seconds a job waits for a worker that knows its event; 3600
    max_loop_lag         seconds a handler may block the event loop before others get its jobs; 3600
    expose               a port that is kept for an HTTP API to come, nothing listens on it; 4000
    """

    # It may hold a password.
    redis_url: str | None = field(default=None, repr=False)
    namespace: str = "tm"
    concurrency: int = 1
    queues: tuple[str, ...] | None = None
    name: str | None = None
    lease: float = 30.0
    max_deliveries: int = 5
    result_ttl: float = 300.0
    log_ttl: float = 86400.0
    emit_timeout: float = 5.0
    connect_timeout: float = 30.0
    shutdown_timeout: float = 25.0
    max_queue_depth: int | None = None
    no_handler_deadline: float = 3600.0
    max_loop_lag: float = 3600.0
    expose: int = 4000


def resolve(
    *, command_line: Mapping[str, Any], given: Mapping[str, Any], environment: Mapping[str, str]
) -> Settings:
    """Return the settings from the three places; the first that names one wins.

    The values of command_line and given must have been through ``check``.
    Raises InvalidOption naming the variable for a bad one in the environment.
    """
    return Settings(**{**_from_environment(environment), **given, **command_line})


def from_process(command_line: Mapping[str, Any], given: Mapping[str, Any]) -> Settings:
    """Return the settings with this process' environment."""
    return resolve(command_line=command_line, given=given, environment=os.environ)


def app_of_process() -> str | None:
    """Return the MODULE:ATTR that this process' environment names as the app; None without one."""
    return os.environ.get(f"{PREFIX}APP", "").strip() or None


def environment(**values: str) -> dict[str, str]:
    """Return the environment of a process to be started: ours, with these settings in it."""
    return os.environ | {f"{PREFIX}{name.upper()}": value for name, value in values.items()}


def check(values: Mapping[str, Any], *, where: str) -> dict[str, Any]:
    """Return the given settings, checked, without those that are None.

    Raises UnknownOption or InvalidOption; where says who gave them.
    """
    checked = {}
    for name, value in values.items():
        if name not in _CHECKS:
            raise UnknownOption(name, sorted(_CHECKS), where)
        if value is not None:
            checked[name] = _CHECKS[name].check(name, value)
    return checked


def seconds(name: str, value: float | timedelta) -> float:
    """Return a duration in seconds, checked like that of a setting."""
    checked: float = _SECONDS.check(name, value)
    return checked


def _from_environment(environment: Mapping[str, str]) -> dict[str, Any]:
    found = {}
    for name, kind in _CHECKS.items():
        variable = PREFIX + name.upper()
        # An empty variable is how a compose file says "not set".
        if text := environment.get(variable, "").strip():
            found[name] = kind.check(variable, kind.parse(variable, text))
    return found


@dataclass(frozen=True, slots=True)
class _Kind:
    """How a setting is read from text, and what is allowed."""

    parse: Callable[[str, str], Any]
    check: Callable[[str, Any], Any]


def _text(_: str, text: str) -> str:
    return text


def _names(_: str, text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


def _number(name: str, text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise InvalidOption(name, text, "give a number of seconds") from None


def _integer(name: str, text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise InvalidOption(name, text, "give a whole number") from None


def _check_url(name: str, value: Any) -> str:
    if not isinstance(value, str):
        raise InvalidOption(name, value, "give a URL as text")
    return value


def _check_name(name: str, value: Any) -> str:
    return check_name(name, value)


def _check_names(name: str, value: Any) -> tuple[str, ...]:
    if isinstance(value, str):
        value = _names(name, value)
    if not value:
        raise InvalidOption(name, value, "name at least one queue, or leave it out for all")
    return tuple(dict.fromkeys(check_name("queue", queue) for queue in value))


def _check_count(name: str, value: Any) -> int:
    if type(value) is not int or value < 1:
        raise InvalidOption(name, value, "give a whole number of at least 1")
    return value


def _count(most: int) -> Callable[[str, Any], int]:
    def check_count(name: str, value: Any) -> int:
        if _check_count(name, value) > most:
            raise InvalidOption(name, value, f"give a whole number of at most {most:,}")
        return int(value)

    return check_count


def _seconds(lowest: float) -> Callable[[str, Any], float]:
    def check_seconds(name: str, value: Any) -> float:
        if isinstance(value, timedelta):
            value = value.total_seconds()
        usable = isinstance(value, int | float) and not isinstance(value, bool)
        if not usable or not lowest <= value <= YEAR:
            allowed = f"give seconds or a timedelta of at least {lowest:g} and at most a year"
            raise InvalidOption(name, value, allowed)
        return float(value)

    return check_seconds


_COUNT = _Kind(_integer, _check_count)
_SECONDS = _Kind(_number, _seconds(0))
# With less than 100 ms the renewal, a third of it, would race the scheduler.
_WORKING_SECONDS = _Kind(_number, _seconds(0.1))

_CHECKS: dict[str, _Kind] = {
    "redis_url": _Kind(_text, _check_url),
    "namespace": _Kind(_text, _check_name),
    "concurrency": _Kind(_integer, _count(MOST_SLOTS)),
    "queues": _Kind(_names, _check_names),
    "name": _Kind(_text, _check_name),
    "lease": _WORKING_SECONDS,
    "max_deliveries": _Kind(_integer, _count(1000)),
    "result_ttl": _SECONDS,
    "log_ttl": _Kind(_number, _seconds(0.001)),
    "emit_timeout": _WORKING_SECONDS,
    "connect_timeout": _SECONDS,
    "shutdown_timeout": _SECONDS,
    "max_queue_depth": _COUNT,
    "no_handler_deadline": _SECONDS,
    "max_loop_lag": _WORKING_SECONDS,
    "expose": _Kind(_integer, _count(65_535)),
}
