"""Check what emit was given and make the job to send. It does no I/O."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime, timedelta
from functools import lru_cache
from math import ceil
from typing import Any, TypedDict

from consumers.codec import PAYLOAD_LIMIT, default_id, encode, fresh_id
from consumers.errors import InvalidInput, NotSerializable, UnknownOption
from consumers.job import NewJob
from consumers.lanes import DEFAULT_PARTITION, DEFAULT_TYPE, Lane, check_priority
from consumers.names import check_job_id, check_name
from taskmanager.errors import ConflictingOptions, InvalidOption
from taskmanager.options import EMIT, EMIT_ITEM
from taskmanager.values import YEAR_S, delay_ms, moment_ms, positive_s, whole_ms, whole_number

DEFAULT_QUEUE = "default"
# Data that was left out, as opposed to None, which is stored as null.
_NO_DATA: Any = object()
_EMPTY = b"{}"
_MAX_CORRELATION_ID = 256


class EmitArguments(TypedDict, total=False):
    """What emit takes beside the event; all of it may be left out.

    queue            where the job waits; "default"
    data             the payload: JSON values, a model, a dataclass; {}; None is stored as null
    options          the following ones as a dict, in camelCase if you like
    id               the job's id; made from event, partition and data. While a job of this
                     id lives, another emit of it adds nothing
    unique           False: a random id, so that equal jobs are separate jobs; True
    priority         -100 to 100, higher runs first; 0
    delay            seconds or a timedelta from now, at most a year, before it may start; none
    delay_until      a datetime before which it does not start, in place of delay; one without
                     a time zone is local time
    max_retries      runs after a first one that failed; what the handler, then processor= says.
                     attempts and retry_count are other names for it
    retry_delay_ms   whole milliseconds before the first retry; the handler's, processor's, 1000
    timeout          seconds or a timedelta that a run may take; the handler's, else no limit
    expires          seconds or a timedelta from now, or a datetime: a job that has not started
                     by then ends as cancelled; never
    correlation_id   text of your own that the job's children inherit; the parent's
    partition        a named share of the queue; "default"
    """

    queue: str
    data: object
    options: Mapping[str, Any] | None
    id: str | None
    unique: bool
    priority: int | None
    delay: float | timedelta | None
    delay_until: datetime | None
    max_retries: int | None
    attempts: int | None
    retry_count: int | None
    retry_delay_ms: int | None
    timeout: float | timedelta | None
    expires: float | timedelta | datetime | None
    correlation_id: str | None
    partition: str


# Raises InvalidPayload when the payload (JSON) is not what the handler of
# (queue, event) takes, as far as that is known here.
PayloadCheck = Callable[[str, str, bytes], None]

_KEYWORDS = EmitArguments.__annotations__.keys()
_OTHER_NAMES = frozenset({"attempts", "retry_count"})


def new_job(
    event: str,
    arguments: EmitArguments,
    *,
    inherited: str | None = None,
    check: PayloadCheck | None = None,
) -> NewJob:
    """Return the job, checked and encoded, or raise InvalidInput of the kind that fits.

    inherited is the correlation id of the job that emits this one.
    """
    for name in arguments:
        if name not in _KEYWORDS:
            allowed = [name for name in _KEYWORDS if name not in _OTHER_NAMES]
            raise UnknownOption(name, ["event", *allowed], EMIT.where)
    return _checked(_new_job(event, inherited=inherited, **arguments), check)


def new_jobs(
    items: object, *, inherited: str | None = None, check: PayloadCheck | None = None
) -> list[NewJob]:
    """Return the jobs of emit_many's dicts, or raise for the first that is not allowed.

    The error's note says which item it was.
    """
    if isinstance(items, Mapping | str | bytes) or not isinstance(items, Iterable):
        raise InvalidOption("the argument of emit_many", items, "give a list of dicts")
    jobs = []
    for position, item in enumerate(items):
        try:
            jobs.append(_checked(_from_item(item, inherited), check))
        except InvalidInput as error:
            error.add_note(f"in item {position} of emit_many, counted from 0; nothing was sent")
            raise
    return jobs


def _checked(job: NewJob, check: PayloadCheck | None) -> NewJob:
    if check is not None:
        check(job.lane.queue, job.event, job.data)
    return job


def _from_item(item: object, inherited: str | None) -> NewJob:
    if not isinstance(item, Mapping):
        raise InvalidOption("item", item, 'give a dict like {"event": "send-email", "data": {}}')
    given = EMIT_ITEM.read(item)
    arguments = {
        name: value for name, value in given.items() if value is not None or name == "data"
    }
    return _new_job(arguments.pop("event", None), inherited=inherited, **arguments)


def _new_job(
    event: str,
    *,
    inherited: str | None,
    queue: str = DEFAULT_QUEUE,
    data: object = _NO_DATA,
    options: Mapping[str, Any] | None = None,
    **given: Any,
) -> NewJob:
    if options is not None or not _OTHER_NAMES.isdisjoint(given):
        given = EMIT.merge(given, {} if options is None else options)
    check_name("event", event)
    body = _EMPTY if data is _NO_DATA else _encoded(event, data)
    priority = given.get("priority")
    lane = _lane_of(
        queue, given.get("partition", DEFAULT_PARTITION), 0 if priority is None else priority
    )
    job_id = _job_id(given.get("id"), given.get("unique", True))
    return NewJob(
        job_id or default_id(event, lane.partition, body),
        event,
        body,
        lane,
        _envelope_options(given, inherited),
        _due(given.get("delay"), given.get("delay_until")),
    )


def _lane_of(queue: str, partition: str, priority: int) -> Lane:
    try:
        return _lane(queue, partition, priority)
    except TypeError:
        # Not hashable, so the cache could not be asked; the checks say it better.
        return _lane.__wrapped__(queue, partition, priority)


# Typed, because True == 1 and only one of them is a priority.
@lru_cache(maxsize=4096, typed=True)
def _lane(queue: str, partition: str, priority: int) -> Lane:
    return Lane(
        check_name("queue", queue),
        DEFAULT_TYPE,
        check_name("partition", partition),
        check_priority(priority),
    )


def _encoded(event: str, data: object) -> bytes:
    return encode(data, what=f"the data of {event!r}", limit=PAYLOAD_LIMIT)


def _job_id(job_id: object, unique: object) -> str | None:
    if type(unique) is not bool:
        raise InvalidOption("unique", unique, "give True or False")
    if job_id is None:
        return None if unique else fresh_id()
    if not unique:
        raise ConflictingOptions("id", "unique=False", EMIT.where)
    return check_job_id(job_id)


def _due(delay: object, until: object) -> str:
    """Return when a job may start, as NewJob.due; empty for at once."""
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
        raise InvalidOption("delay_until", until, "give a moment within 1 year")
    return str(max(0, due_ms))


def _envelope_options(given: Mapping[str, Any], inherited: str | None) -> bytes:
    """Return the JSON of what the worker has to know; empty when all is left to it."""
    if inherited is None and _TOLD.isdisjoint(given):
        return b""
    kept: dict[str, Any] = {
        name: check(name, value)
        for name, check in _KEPT.items()
        if (value := given.get(name)) is not None
    }
    if (expires := given.get("expires")) is not None:
        kept |= _expiry(expires)
    correlation_id = kept.get("correlation_id", inherited)
    if correlation_id is not None:
        kept["correlation_id"] = correlation_id
    return encode(kept, what="the options", limit=PAYLOAD_LIMIT) if kept else b""


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


_KEPT: Mapping[str, Callable[[str, object], Any]] = {
    "max_retries": whole_number,
    "retry_delay_ms": whole_ms,
    "timeout": positive_s,
    "correlation_id": _correlation_id,
}
# The options that the worker is told of.
_TOLD = frozenset({*_KEPT, "expires"})
