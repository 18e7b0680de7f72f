"""The settings of a task manager, from four places. Nothing else reads them from the environment.

A setting on the command line overrides the constructor, which overrides the environment variable
`TASKMANAGER_<NAME>`, which overrides the default. No duration may exceed a year, and concurrency is
at most 10,000. The class Settings explains each setting and its default.

TASKMANAGER_APP is not a setting: it names the task manager for the command line.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from math import inf
from typing import Any

from consumers.errors import UnknownOption
from consumers.jobs.bounds import MOST_SLOTS, YEAR
from consumers.jobs.lanes import DEFAULT_TYPE, HIGHEST_PRIORITY, LOWEST_PRIORITY
from consumers.jobs.names import check_name
from consumers.jobs.routes import MOST_OF_A_WORKER
from taskmanager.errors import InvalidOption

PREFIX = "TASKMANAGER_"


@dataclass(frozen=True, slots=True)
class Settings:
    """The settings in force. All durations are in seconds.

    Set them as arguments of TaskManager, as options of the command line, or in environment
    variables: `TASKMANAGER_` plus the name in capitals, such as `TASKMANAGER_REDIS_URL`.

    - `redis_url`: where Redis is: `redis://`, `rediss://`, `unix://` or `embedded://`. No default.
    - `namespace`: the prefix of every key in Redis. Default: "tm".
    - `concurrency`: how many jobs a worker process runs at a time. Default: 1.
    - `type`: the type of the worker. It takes jobs of this type only. Default: "workers".
    - `capabilities`: what the worker can do, as names, comma separated in text. It takes only jobs
      that require nothing else. Default: none.
    - `levels`: the priorities that the worker takes, comma separated in text. Default: all.
    - `region`: where the worker is. It takes jobs for this region, and jobs that name none.
      Default: none.
    - `prefetch`: how many jobs the worker may hold beside those that run; 0 for none. Default: it
      chooses by how long jobs run.
    - `queues`: the queues that a worker reads, comma separated in text. Default: all that have a
      handler.
    - `name`: the name of the worker in logs and lists, the same after a restart. Default: the host
      name and "-0".
    - `lease`: for how long a job belongs to its worker unless the worker renews the lease, which it
      does while it lives. After a crash, another worker takes over the job once the lease has
      ended. The first worker of a queue sets it for all. Default: 30.
    - `max_deliveries`: how many times a worker may die while it runs a job before the job becomes a
      dead letter with the reason "crash_loop". Default: 5.
    - `result_ttl`: for how long the outcome and result of a finished job are kept; 0 keeps none.
      Default: 300.
    - `log_ttl`: for how long the log and progress of a job are kept. Default: 86400, a day.
    - `emit_timeout`: for how long an emit is repeated while Redis is away, before it raises
      RedisUnavailable. Default: 5.
    - `connect_timeout`: for how long the start of a worker waits for Redis. Default: 30.
    - `shutdown_timeout`: how long running jobs have to finish when a worker stops. Default: 25.
    - `max_queue_depth`: how many jobs may wait or run in a queue before emits raise QueueFull.
      Default: no limit.
    - `no_handler_deadline`: for how long a job waits for a worker that handles its event, before it
      becomes a dead letter with the reason "no_handler". Default: 3600.
    - `max_loop_lag`: for how long a handler may block the event loop before other workers take over
      its jobs, and a process that runs only the worker ends. Default: 3600.
    - `expose`: a port reserved for a future HTTP API; nothing listens on it yet. Default: 4000.
    """

    # The URL may contain a password.
    redis_url: str | None = field(default=None, repr=False)
    namespace: str = "tm"
    concurrency: int = 1
    type: str = DEFAULT_TYPE
    capabilities: tuple[str, ...] = ()
    levels: tuple[int, ...] | None = None
    region: str | None = None
    prefetch: int | None = None
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
    """Return the settings from three places; the first that sets a value wins.

    The values of `command_line` and `given` must have passed `check`. Raises InvalidOption, naming
    the variable, for a bad value in the environment.
    """
    return Settings(**{**_from_environment(environment), **given, **command_line})


def from_process(command_line: Mapping[str, Any], given: Mapping[str, Any]) -> Settings:
    """Return the settings, with the environment of this process."""
    return resolve(command_line=command_line, given=given, environment=os.environ)


def app_of_process() -> str | None:
    """Return the MODULE:ATTR in this process' TASKMANAGER_APP, or None."""
    return os.environ.get(f"{PREFIX}APP", "").strip() or None


def environment(**values: str) -> dict[str, str]:
    """Return the environment for a child process: ours, with these settings added."""
    return os.environ | {f"{PREFIX}{name.upper()}": value for name, value in values.items()}


def check(values: Mapping[str, Any], *, where: str) -> dict[str, Any]:
    """Return the settings that were given, checked, without those that are None.

    Raises UnknownOption or InvalidOption; `where` names the place in the error.
    """
    checked = {}
    for name, value in values.items():
        if name not in _CHECKS:
            raise UnknownOption(name, sorted(_CHECKS), where)
        if value is not None:
            checked[name] = _CHECKS[name].check(name, value)
    return checked


def seconds(name: str, value: float | timedelta) -> float:
    """Return a duration in seconds, checked like a setting."""
    checked: float = _SECONDS.check(name, value)
    return checked


def _from_environment(environment: Mapping[str, str]) -> dict[str, Any]:
    found = {}
    for name, kind in _CHECKS.items():
        variable = PREFIX + name.upper()
        # A compose file sets a variable to empty to leave it unset.
        if text := environment.get(variable, "").strip():
            found[name] = kind.check(variable, kind.parse(variable, text))
    return found


@dataclass(frozen=True, slots=True)
class _Kind:
    """How a setting is read from text, and which values are allowed."""

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


def _integers(name: str, text: str) -> list[int]:
    return [_integer(name, part) for part in _names(name, text)]


def _check_url(name: str, value: Any) -> str:
    if not isinstance(value, str):
        raise InvalidOption(name, value, "give a URL as a string")
    return value


def _check_name(name: str, value: Any) -> str:
    return check_name(name, value)


def _check_type(_: str, value: Any) -> str:
    return check_name("type", value)


def _check_queues(name: str, value: Any) -> tuple[str, ...]:
    queues = _several(name, value)
    if not queues:
        raise InvalidOption(name, value, "name at least one queue, or leave it out to read all")
    return tuple(dict.fromkeys(check_name("queue", queue) for queue in queues))


def _check_capabilities(name: str, value: Any) -> tuple[str, ...]:
    names = sorted({check_name("capability", it) for it in _several(name, value)})
    if len(names) > MOST_OF_A_WORKER:
        allowed = f"it has {len(names)} names, and the limit is {MOST_OF_A_WORKER}"
        raise InvalidOption(name, value, allowed)
    return tuple(names)


def _check_levels(name: str, value: Any) -> tuple[int, ...]:
    levels = _integers(name, value) if isinstance(value, str) else _several(name, value)
    for it in levels:
        if type(it) is not int or not LOWEST_PRIORITY <= it <= HIGHEST_PRIORITY:
            allowed = f"give priorities from {LOWEST_PRIORITY} to {HIGHEST_PRIORITY}"
            raise InvalidOption(name, value, allowed)
    if not levels:
        raise InvalidOption(name, value, "name at least one priority, or leave it out for all")
    return tuple(sorted(set(levels), reverse=True))


def _several(name: str, value: Any) -> list[Any]:
    """Return the values of a list, or of text with commas between them."""
    if isinstance(value, str):
        return _names(name, value)
    if isinstance(value, bytes | Mapping) or not isinstance(value, Iterable):
        raise InvalidOption(name, value, "give a list, or text with commas")
    return list(value)


def _count(most: float = inf, *, least: int = 1) -> Callable[[str, Any], int]:
    def check_count(name: str, value: Any) -> int:
        if type(value) is not int or value < least:
            raise InvalidOption(name, value, f"give a whole number of at least {least}")
        if value > most:
            raise InvalidOption(name, value, f"give a whole number of at most {most:,}")
        return value

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


_COUNT = _Kind(_integer, _count())
_SECONDS = _Kind(_number, _seconds(0))
# Below 100 ms, the renewal at a third of it would race the operating system's scheduler.
_WORKING_SECONDS = _Kind(_number, _seconds(0.1))

_CHECKS: dict[str, _Kind] = {
    "redis_url": _Kind(_text, _check_url),
    "namespace": _Kind(_text, _check_name),
    "concurrency": _Kind(_integer, _count(MOST_SLOTS)),
    "type": _Kind(_text, _check_type),
    "capabilities": _Kind(_names, _check_capabilities),
    "levels": _Kind(_integers, _check_levels),
    "region": _Kind(_text, _check_name),
    "prefetch": _Kind(_integer, _count(MOST_SLOTS, least=0)),
    "queues": _Kind(_names, _check_queues),
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
