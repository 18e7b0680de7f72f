"""Check what emit was given and make the job to send. It does no I/O."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime, timedelta
from functools import lru_cache
from math import ceil
from typing import Any, Literal, Protocol, TypedDict

from consumers.errors import InvalidInput, NotSerializable, UnknownOption
from consumers.jobs.codec import PAYLOAD_LIMIT, encode
from consumers.jobs.envelope import NewJob
from consumers.jobs.guards import digest_of, idempotent
from consumers.jobs.ids import default_id, fresh_id
from consumers.jobs.lanes import DEFAULT_PARTITION, DEFAULT_TYPE, Lane, check_priority
from consumers.jobs.names import check_job_id, check_name
from processors.debounce import DebounceManager
from taskmanager.errors import ConflictingOptions, InvalidOption
from taskmanager.options.checks import (
    YEAR_S,
    delay_ms,
    moment_ms,
    positive_s,
    text,
    whole_ms,
    whole_number,
)
from taskmanager.options.debounce import emit_storm, group_of
from taskmanager.options.losses import loss_in
from taskmanager.options.tables import EMIT, EMIT_ITEM

DEFAULT_QUEUE = "default"
# Data that was left out, as opposed to None, which is stored as null.
NO_DATA: Any = object()
_EMPTY = b"{}"
_MAX_CORRELATION_ID = 256
_NO_SCHEDULE = "emit_many takes jobs only: call emit(..., repeat=...) for a schedule"


class EmitArguments(TypedDict, total=False):
    """What emit takes beside the event; all of it may be left out.

    queue            where the job waits; "default"
    data             the payload: JSON values, a model, a dataclass; {}; None is stored as null
    options          the following ones as a dict, in camelCase if you like
    id               the job's id; made from event, partition and data. While a job of this
                     id lives, another emit of it adds nothing
    unique           False: a random id, so that equal jobs are separate jobs; True
    idempotency_key  any text: while a job of this event, partition and key lives, and for 24
                     hours after its end, another emit with it adds nothing and returns that one
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
    debounce         a window, in whole milliseconds or a timedelta: many emits become one run,
                     of the last one, a window after it. What emits are together is said by
                     debounce_key, else id, else event, partition and data; the job's own id
                     is a new one. An emit while it runs leads to a second run. 0 switches off
                     the debounce of the event's handler, which counts only for emits from
                     processes in which that handler is registered: say it here in others.
                     debounce_ms is another name for it, and debounce_seconds for seconds
    debounce_key     any text, what is debounced together
    debounce_max_wait  seconds or a timedelta that a storm without an end waits; 10 windows
    debounce_mode    "trailing", or "leading": the first runs at once, and others are dropped
                     until none came for a window, at most for debounce_max_wait
    repeat           a dict, of which pattern (cron) is needed: a schedule that emits the job
                     at each fire time, in place of a job now. tz ("UTC"), name (the event),
                     missed ("one", "skip", "all"), overlap ("allow", "skip", "queue"), version
                     (0: of two definitions of a name that of the higher one counts, then the
                     later one). The handle is that of the next fire's job
    correlation_id   text of your own that the job's children inherit; the parent's
    partition        a named share of the queue; "default"
    """

    queue: str
    data: object
    options: Mapping[str, Any] | None
    id: str | None
    unique: bool
    idempotency_key: str | None
    priority: int | None
    delay: float | timedelta | None
    delay_until: datetime | None
    max_retries: int | None
    attempts: int | None
    retry_count: int | None
    retry_delay_ms: int | None
    timeout: float | timedelta | None
    expires: float | timedelta | datetime | None
    debounce: int | timedelta | None
    debounce_ms: int | timedelta | None
    debounce_seconds: float | timedelta | None
    debounce_key: str | None
    debounce_max_wait: float | timedelta | None
    debounce_mode: Literal["trailing", "leading"] | None
    repeat: Mapping[str, Any] | None
    correlation_id: str | None
    partition: str


class Known(Protocol):
    """What is known here of the handlers that jobs are for."""

    def check_payload(self, queue: str, event: str, data: bytes) -> None:
        """Raise InvalidPayload when the payload (JSON) is not what the event's handler takes."""

    def debounce_of(self, queue: str, event: str) -> DebounceManager | None:
        """Return how the emits of a handler are debounced; None when they are not."""


_KEYWORDS = EmitArguments.__annotations__.keys()
_OTHER_NAMES = frozenset({"attempts", "retry_count", "debounce_ms"})


def new_job(
    event: str,
    arguments: EmitArguments,
    *,
    inherited: str | None = None,
    known: Known | None = None,
) -> NewJob:
    """Return the job, checked and encoded, or raise InvalidInput of the kind that fits.

    inherited is the correlation id of the job that emits this one.
    """
    refuse_unknown(arguments)
    return _checked(_new_job(event, dict(arguments), inherited, known), known)


def refuse_unknown(arguments: EmitArguments) -> None:
    """Raise UnknownOption for an argument that emit does not take."""
    for name in arguments:
        if name not in _KEYWORDS:
            allowed = [name for name in _KEYWORDS if name not in _OTHER_NAMES]
            raise UnknownOption(name, ["event", *allowed], EMIT.where)


def new_jobs(
    items: object, *, inherited: str | None = None, known: Known | None = None
) -> list[NewJob]:
    """Return the jobs of emit_many's dicts, or raise for the first that is not allowed.

    The error's note says which item it was.
    """
    if isinstance(items, Mapping | str | bytes) or not isinstance(items, Iterable):
        raise InvalidOption("the argument of emit_many", items, "give a list of dicts")
    jobs = []
    for position, item in enumerate(items):
        try:
            jobs.append(_checked(_from_item(item, inherited, known), known))
        except InvalidInput as error:
            error.add_note(f"in item {position} of emit_many, counted from 0; nothing was sent")
            raise
    return jobs


def _checked(job: NewJob, known: Known | None) -> NewJob:
    if known is not None:
        known.check_payload(job.lane.queue, job.event, job.data)
    return job


def _from_item(item: object, inherited: str | None, known: Known | None) -> NewJob:
    if type(item) is not dict and not isinstance(item, Mapping):
        raise InvalidOption("item", item, 'give a dict like {"event": "send-email", "data": {}}')
    given = EMIT_ITEM.read(item)
    for name in [name for name, value in given.items() if value is None and name != "data"]:
        # As if it was not given; but data may be null.
        del given[name]
    return _new_job(given.pop("event", None), given, inherited, known)


def _new_job(
    event: Any, given: dict[str, Any], inherited: str | None, known: Known | None
) -> NewJob:
    """Return the job of known arguments, of which given is used up."""
    queue, data = given.pop("queue", DEFAULT_QUEUE), given.pop("data", NO_DATA)
    given = merged(given.pop("options", None), given)
    if given.get("repeat") is not None:
        raise InvalidOption("repeat", given["repeat"], _NO_SCHEDULE)
    check_name("event", event)
    body = body_of(event, data)
    lane = lane_of(queue, given)
    storm = emit_storm(given, None if known is None else known.debounce_of(queue, event))
    job_id, guard = _identity(event, lane.partition, body, given, storm)
    due = _due(given.get("delay"), given.get("delay_until"))
    return NewJob(job_id, event, body, lane, envelope_options(given, inherited), due, guard)


def merged(options: Mapping[str, Any] | None, given: dict[str, Any]) -> dict[str, Any]:
    """Return emit's keywords and its options= under their one names."""
    if options is None and _OTHER_NAMES.isdisjoint(given):
        return given
    return EMIT.merge(given, {} if options is None else options)


def body_of(event: str, data: object) -> bytes:
    """Return the payload as JSON; NO_DATA stands for {}."""
    if data is NO_DATA:
        return _EMPTY
    return encode(data, what=_data_of(event), limit=PAYLOAD_LIMIT, loss=loss_in)


# Named for errors only: kept, so that jobs without one do not pay for it.
@lru_cache(maxsize=1024)
def _data_of(event: str) -> str:
    return f"the data of {event!r}"


def lane_of(queue: str, given: Mapping[str, Any]) -> Lane:
    """Return the lane of a queue that partition= and priority= name."""
    priority, partition = given.get("priority"), given.get("partition")
    if priority is None:
        priority = 0
    if partition is None:
        partition = DEFAULT_PARTITION
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


def _identity(
    event: str,
    partition: str,
    body: bytes,
    given: Mapping[str, Any],
    storm: DebounceManager | None,
) -> tuple[str, str]:
    """Return the id of a job and the guard that is asked before it is added."""
    job_id = _job_id(given.get("id"), given.get("unique", True))
    if storm is not None:
        group = group_of(given) or job_id or default_id(event, partition, body)
        return fresh_id(), storm.guard(event, partition, group)
    key = given.get("idempotency_key")
    if key is None:
        return job_id or default_id(event, partition, body), ""
    if given.get("unique") is False:
        raise ConflictingOptions("idempotency_key", "unique=False", EMIT.where)
    digest = digest_of(event, partition, text("idempotency_key", key))
    # An id that starts with a hyphen would be taken for an option on a command line.
    return job_id or digest.replace("-", "."), idempotent(digest)


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


def envelope_options(given: Mapping[str, Any], inherited: str | None = None) -> bytes:
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
