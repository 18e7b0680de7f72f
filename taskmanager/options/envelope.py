"""What a job is made of, and every job of a schedule: payload, lane, options, when it may start."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from datetime import datetime
from functools import lru_cache
from math import ceil
from typing import Any

from consumers.errors import NotSerializable
from consumers.jobs.codec import PAYLOAD_LIMIT, encode, encode_and_read
from consumers.jobs.lanes import DEFAULT_PARTITION, DEFAULT_TYPE, Lane, check_priority
from consumers.jobs.names import check_name
from consumers.jobs.routes import Route
from taskmanager.errors import ConflictingOptions, InvalidOption
from taskmanager.options.checks import (
    YEAR_S,
    delay_ms,
    moment_ms,
    positive_s,
    whole_ms,
    whole_number,
)
from taskmanager.options.losses import loss_in
from taskmanager.options.tables import EMIT

# The data of a job that is given none. None is data, and stored as null.
NO_DATA: Any = {}
_MAX_CORRELATION_ID = 256


def body_of(event: str, data: object) -> bytes:
    """Return the payload as JSON."""
    return body_and_read(data, data_of(event))[0]


def body_and_read(data: object, what: str) -> tuple[bytes, Any]:
    """Return the payload as JSON, and what that is read as; `what` names it in errors."""
    return encode_and_read(data, what, PAYLOAD_LIMIT, loss_in)


def data_of(event: str) -> str:
    """Return how errors name the data of an event's job."""
    return f"the data of {event!r}"


def lane_of(queue: str, given: Mapping[str, Any], route: Route | None = None) -> Lane:
    """Return the lane that `type=`, `partition=` and `priority=` name in a queue.

    Jobs of a route, which has a type as well, have lanes of their own.
    """
    type_, priority, partition = given.get("type"), given.get("priority"), given.get("partition")
    if type_ is None:
        type_ = DEFAULT_TYPE
    if priority is None:
        priority = 0
    if partition is None:
        partition = DEFAULT_PARTITION
    try:
        return _lane(queue, type_, route, partition, priority)
    except TypeError:
        # Not hashable, so the cache cannot hold it; the checks below explain what is wrong.
        return _lane.__wrapped__(queue, type_, route, partition, priority)


# Typed, because True == 1 and only one of them is a priority.
@lru_cache(maxsize=4096, typed=True)
def _lane(queue: str, type_: str, route: Route | None, partition: str, priority: int) -> Lane:
    return Lane(
        check_name("queue", queue),
        check_name("type", type_) if route is None else route.name,
        check_name("partition", partition),
        check_priority(priority),
    )


def due_of(delay: object, until: object) -> str:
    """Return when a job may start, in the form of NewJob.due; empty for at once."""
    if delay is not None and until is not None:
        raise ConflictingOptions("delay", "delay_until", EMIT.where)
    if delay is not None:
        ms = delay_ms("delay", delay)
        return f"+{ms}" if ms else ""
    if until is None:
        return ""
    due_ms = moment_ms("delay_until", until)
    now_ms = time.time() * 1000
    if due_ms > now_ms + YEAR_S * 1000:
        raise InvalidOption("delay_until", until, "give a time within 1 year")
    return str(max(0, due_ms))


def envelope_options(
    given: Mapping[str, Any], route: Route | None = None, inherited: str | None = None
) -> bytes:
    """Return the options that the worker needs, as JSON; empty if all are left to it."""
    if inherited is None and route is None and _TOLD.isdisjoint(given):
        return b""
    # First, because scripts cut it out of the text.
    told: dict[str, Any] = {} if route is None else {"route": route.definition}
    told |= {
        name: check(name, value)
        for name, check in _CHECKS.items()
        if (value := given.get(name)) is not None
    }
    if (expires := given.get("expires")) is not None:
        told |= _expiry(expires)
    correlation_id = told.get("correlation_id", inherited)
    if correlation_id is not None:
        told["correlation_id"] = correlation_id
    return encode(told, what="the options", limit=PAYLOAD_LIMIT) if told else b""


def _expiry(given: object) -> dict[str, int]:
    if isinstance(given, datetime):
        return {"expires_at": moment_ms("expires", given)}
    return {"expires_ms": ceil(positive_s("expires", given) * 1000)}


def _correlation_id(name: str, given: object) -> str:
    if not isinstance(given, str) or not 1 <= len(given) <= _MAX_CORRELATION_ID:
        raise InvalidOption(name, given, f"give 1 to {_MAX_CORRELATION_ID} characters")
    try:
        given.encode()
    except UnicodeEncodeError:
        raise NotSerializable(name, "it holds half of a surrogate pair") from None
    return given


_CHECKS: Mapping[str, Callable[[str, object], Any]] = {
    "max_retries": whole_number,
    "retry_delay_ms": whole_ms,
    "timeout": positive_s,
    "correlation_id": _correlation_id,
}
# The options that are stored with the job for its worker.
_TOLD = frozenset({*_CHECKS, "expires"})
