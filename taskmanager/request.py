"""Check what emit was given and make the job to send. It does no I/O."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any, TypedDict

from consumers.codec import PAYLOAD_LIMIT, default_id, encode, fresh_id
from consumers.errors import InvalidInput, UnknownOption
from consumers.job import NewJob
from consumers.lanes import DEFAULT_PARTITION, DEFAULT_TYPE, Lane, check_priority
from consumers.names import check_job_id, check_name
from taskmanager.errors import ConflictingOptions, InvalidOption
from taskmanager.options import EMIT, EMIT_ITEM

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
    correlation_id   text of your own that the job's children inherit; the parent's
    partition        a named share of the queue; "default"
    """

    queue: str
    data: object
    options: Mapping[str, Any] | None
    id: str | None
    unique: bool
    priority: int | None
    correlation_id: str | None
    partition: str


_KEYWORDS = EmitArguments.__annotations__.keys()


def new_job(event: str, arguments: EmitArguments, *, inherited: str | None = None) -> NewJob:
    """Return the job, checked and encoded, or raise InvalidInput of the kind that fits.

    inherited is the correlation id of the job that emits this one.
    """
    for name in arguments:
        if name not in _KEYWORDS:
            raise UnknownOption(name, ["event", *_KEYWORDS], EMIT.where)
    return _new_job(event, inherited=inherited, **arguments)


def new_jobs(items: object, *, inherited: str | None = None) -> list[NewJob]:
    """Return the jobs of emit_many's dicts, or raise for the first that is not allowed.

    The error's note says which item it was.
    """
    if isinstance(items, Mapping | str | bytes) or not isinstance(items, Iterable):
        raise InvalidOption("the argument of emit_many", items, "give a list of dicts")
    jobs = []
    for position, item in enumerate(items):
        try:
            jobs.append(_from_item(item, inherited))
        except InvalidInput as error:
            error.add_note(f"in item {position} of emit_many, counted from 0; nothing was sent")
            raise
    return jobs


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
    if options is not None:
        given = EMIT.merge(given, options)
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
        _envelope_options(given.get("correlation_id"), inherited),
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


def _envelope_options(given: object, inherited: str | None) -> bytes:
    correlation_id = inherited if given is None else _correlation_id(given)
    if correlation_id is None:
        return b""
    return encode({"correlation_id": correlation_id}, what="correlation_id", limit=PAYLOAD_LIMIT)


def _correlation_id(given: object) -> str:
    if not isinstance(given, str) or not 1 <= len(given) <= _MAX_CORRELATION_ID:
        allowed = f"give 1 to {_MAX_CORRELATION_ID} characters"
        raise InvalidOption("correlation_id", given, allowed)
    return given
