"""Read `processor=`: how jobs are retried, which dead letters are kept, what is skipped."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from math import ceil
from typing import Any, get_args

from consumers.errors import UnknownOption
from consumers.jobs.bounds import DeadLetterBounds
from consumers.jobs.names import check_name
from processors.retries.backoff import Kind
from processors.retries.retry import RetryPolicy
from taskmanager.errors import ConflictingOptions, InvalidOption
from taskmanager.options.checks import delay_ms, positive_s, truth, whole_ms, whole_number
from taskmanager.options.tables import DLQ, PROCESSOR, RETRY, Table

logger = logging.getLogger("taskmanager.handlers")


@dataclass(frozen=True, slots=True)
class ProcessorSettings:
    """What applies to all handlers of a task manager. None: nothing is retried or skipped."""

    retry: RetryPolicy | None = None
    bounds: DeadLetterBounds = field(default_factory=DeadLetterBounds)
    # For how long a job is skipped after its id has completed a run.
    debounce_ms: int | None = None


def read_processor(given: object) -> ProcessorSettings:
    """Return the settings in `processor=`; raise UnknownOption or InvalidOption.

    With `ignore_config_errors=True`, unknown options are warnings.
    """
    if given is None:
        return ProcessorSettings()
    if not isinstance(given, Mapping):
        raise InvalidOption("processor", given, "give a dict, or leave it out")
    lenient = _is_lenient(given)
    values = _read(PROCESSOR, given, lenient)
    retry, dlq = values.get("retry"), values.get("dlq")
    return ProcessorSettings(
        None if retry is None else _retry(_section(RETRY, "retry", retry, lenient)),
        _bounds(_dlq(dlq, lenient)),
        _debounce_ms(values),
    )


def check_retry(given: object) -> Any:
    """Return the `retry=` of a handler: a RetryPolicy, or a function of (job, error)."""
    plain = callable(given) and not isinstance(given, type)
    if isinstance(given, RetryPolicy) or (plain and not inspect.iscoroutinefunction(given)):
        return given
    raise InvalidOption(
        "retry", given, "give RetryPolicy(...), or a plain function (job, error) -> Retry or bool"
    )


def _is_lenient(given: Mapping[Any, Any]) -> bool:
    named = {PROCESSOR.name_of(name): value for name, value in given.items()}
    lenient = named.get("ignore_config_errors")
    return False if lenient is None else truth("ignore_config_errors", lenient)


def _section(
    table: Table,
    name: str,
    given: object,
    lenient: bool,
    allowed: str = "give a dict; {} means the defaults",
) -> dict[str, Any]:
    if not isinstance(given, Mapping):
        raise InvalidOption(name, given, allowed)
    return _read(table, given, lenient)


def _dlq(given: object, lenient: bool) -> dict[str, Any]:
    if given is None or isinstance(given, str):
        return {} if given is None else {"stream": given}
    return _section(DLQ, "dlq", given, lenient, "give a stream name, or a dict of options")


def _read(table: Table, given: Mapping[Any, Any], lenient: bool) -> dict[str, Any]:
    """Return the options that a dict sets, without unknown ones."""
    known = {}
    for name, value in given.items():
        if table.name_of(name) is not None:
            known[name] = value
        elif not lenient:
            raise UnknownOption(name, table.allowed, table.where)
        else:
            logger.warning("ignoring %s", UnknownOption(name, table.allowed, table.where))
    return {name: value for name, value in table.read(known).items() if value is not None}


def _retry(values: Mapping[str, Any]) -> RetryPolicy:
    return RetryPolicy(**{name: _RETRY_CHECKS[name](name, it) for name, it in values.items()})


def _bounds(values: Mapping[str, Any]) -> DeadLetterBounds:
    checked = {name: _DLQ_CHECKS[name](name, value) for name, value in values.items()}
    bounds = DeadLetterBounds()
    bounds = replace(
        bounds,
        most=checked.get("max_len", bounds.most),
        most_bytes=checked.get("max_bytes", bounds.most_bytes),
        max_age_ms=checked.get("max_age", bounds.max_age_ms),
        stream=checked.get("stream"),
    )
    return bounds if checked.get("enabled", True) else replace(bounds, most=0)


def _debounce_ms(values: Mapping[str, Any]) -> int | None:
    """Return the window in ms. Here `debounce` is in seconds, unlike in an emit."""
    seconds, ms = values.get("debounce"), values.get("debounce_ms")
    by_seconds = None if seconds is None else ceil(positive_s("debounce", seconds) * 1000)
    by_ms = None if ms is None else whole_ms("debounce_ms", ms)
    if by_ms == 0:
        raise InvalidOption("debounce_ms", ms, "give at least 1 millisecond, or leave it out")
    if by_seconds is not None and by_ms is not None and by_seconds != by_ms:
        raise ConflictingOptions("debounce", "debounce_ms", PROCESSOR.where)
    return by_seconds if by_ms is None else by_ms


def _factor(name: str, value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 1 <= value <= 1000:
        raise InvalidOption(name, value, "give a number from 1 to 1000")
    return float(value)


def _kind(name: str, value: object) -> Any:
    if value not in get_args(Kind):
        raise InvalidOption(name, value, f"give one of {', '.join(get_args(Kind))}")
    return value


_at_least_1 = partial(whole_number, lowest=1)

_RETRY_CHECKS: dict[str, Callable[[str, object], Any]] = {
    "max_retries": whole_number,
    "retry_delay_ms": whole_ms,
    "max_delay_ms": whole_ms,
    "multiplier": _factor,
    "jitter": truth,
    "backoff": _kind,
}
_DLQ_CHECKS: dict[str, Callable[[str, object], Any]] = {
    "stream": lambda _, given: check_name("dead-letter stream", given),
    "enabled": truth,
    "max_len": _at_least_1,
    "max_age": delay_ms,
    "max_bytes": _at_least_1,
}
