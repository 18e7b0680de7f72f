"""Turn the arguments of emit and emit_many into jobs to send, or a schedule. No I/O."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple, Protocol, TypeVar

from consumers.errors import InvalidInput
from consumers.jobs.envelope import NewJob
from consumers.jobs.guards import digest_of, idempotent
from consumers.jobs.ids import default_id, fresh_id
from consumers.jobs.lanes import DEFAULT_PARTITION
from consumers.jobs.names import check_job_id, check_name
from processors.debounce import DebounceManager
from processors.schedules.schedule import Schedule
from taskmanager.errors import ConflictingOptions, InvalidOption
from taskmanager.options.arguments import (
    DEFAULT_QUEUE,
    OTHER_NAMES,
    refuse_unknown,
)
from taskmanager.options.checks import YEAR_S, delay_ms, flag, moment_ms, text
from taskmanager.options.debounce import emit_debounce, group_of
from taskmanager.options.envelope import NO_DATA, body_of, envelope_options, lane_of
from taskmanager.options.repeat import emit_schedule
from taskmanager.options.tables import EMIT, EMIT_ITEM, EMIT_OBJECT, Table

_NO_SCHEDULE = "emit_many takes jobs only: call emit(..., repeat=...) for a schedule"

M = TypeVar("M", NewJob, Schedule)


class EmitsItself:
    """The base of tasks: they know their event, and are not handlers of (job, ctx)."""

    event: str
    queue: str
    __name__: str


class Known(Protocol):
    """What is known here about the handlers that jobs are for."""

    def names_of(self, handler: Callable[..., Any]) -> list[tuple[str, str]]:
        """Return (queue, event) for each place where a function is registered."""

    def check_payload(self, queue: str, event: str, data: bytes) -> None:
        """Raise InvalidPayload if the payload (JSON) does not fit the event's handler."""

    def debounce_of(self, queue: str, event: str) -> DebounceManager | None:
        """Return how emits for a handler are debounced, or None."""


class Way(NamedTuple):
    """How a job is checked before it is sent, and how its result is read (see JobHandle.read)."""

    known: Known
    read: Callable[[bytes, str], Any] | None = None


class Prepared:
    """A job that is not emitted yet; what a task's bind returns.

    `event` and `arguments` are what emit would take, and `way` is how they are checked.
    `on_success` is True for a job that is added when the job that emits it completes. `owner`
    returns the emitter that it is for.
    """

    __slots__ = ("arguments", "event", "on_success", "owner", "way")

    def __init__(
        self,
        event: str,
        arguments: Mapping[str, Any],
        way: Way,
        *,
        owner: Callable[[], object],
        on_success: bool = False,
    ) -> None:
        self.event = event
        self.arguments = arguments
        self.way = way
        self.on_success = on_success
        self.owner = owner

    def __repr__(self) -> str:
        return f"<call of {self.event!r}, not emitted>"


# One item of emit_many.
Item = Mapping[str, Any] | Prepared


class Checked(NamedTuple):
    """The jobs of an emit_many. `reads` has, by position, how some of their results are read."""

    jobs: list[NewJob]
    reads: dict[int, Callable[[bytes, str], Any]]


def named_by(handler: object, names: list[tuple[str, str]], queue: object) -> tuple[str, str]:
    """Return queue and event of the handler that an emit means, among those it is registered as.

    `queue` is the emit's, or None. Raises InvalidOption unless exactly one is left.
    """
    fitting = [name for name in names if queue is None or name[0] == queue]
    if len(fitting) == 1:
        return fitting[0]
    if isinstance(handler, EmitsItself):
        name, event = handler.__name__, handler.event
        allowed = f"it is a task: call await {name}.emit(...), or give its event {event!r}"
    elif names:
        places = ", ".join(f"{event!r} in queue {its!r}" for its, event in names)
        number = "several" if fitting else "none"
        where = "" if queue is None else f", {number} of them in queue {queue!r}"
        allowed = f"it handles {places}{where}: give the event's name"
    else:
        allowed = "it is not registered as a handler here: register it, or give the event's name"
    raise InvalidOption("event", handler, allowed)


def requested(
    event: str | Mapping[str, Any],
    arguments: Mapping[str, Any],
    *,
    inherited: str | None = None,
    known: Known | None = None,
) -> NewJob | Schedule:
    """Return the job, or the schedule with `repeat=`; raise a kind of InvalidInput.

    `event` is a name, or one dict of everything. `inherited` is the correlation id of the job that
    emits this one.
    """
    name, queue, data, given = _parts(event, arguments)
    if given.get("repeat") is not None:
        # It inherits no correlation id: the schedule outlives the job that registers it.
        return _checked(emit_schedule(name, queue, data, given), known)
    return _checked(_new_job(name, queue, data, given, inherited, known), known)


def new_jobs(
    items: object,
    *,
    inherited: str | None = None,
    known: Known | None = None,
    owner: object = None,
) -> Checked:
    """Return the jobs for the items of emit_many; raise for the first that is not allowed.

    The note of the error names the item. `owner` is the emitter that was called; bound calls must
    belong to it.
    """
    if isinstance(items, Mapping | str | bytes) or not isinstance(items, Iterable):
        raise InvalidOption("the argument of emit_many", items, "give a list of dicts")
    jobs: list[NewJob] = []
    reads = {}
    for position, item in enumerate(items):
        try:
            if isinstance(item, Prepared):
                jobs.append(_of_prepared(item, inherited, owner))
                if item.way.read is not None:
                    reads[position] = item.way.read
            else:
                jobs.append(_checked(_from_item(item, inherited, known), known))
        except InvalidInput as error:
            error.add_note(f"in item {position} of emit_many (counted from 0); nothing was sent")
            raise
    return Checked(jobs, reads)


def _of_prepared(call: Prepared, inherited: str | None, owner: object) -> NewJob:
    if call.owner() is not owner:
        raise InvalidOption("call", call, "its task belongs to another TaskManager")
    if call.on_success:
        raise InvalidOption("on_success", True, "emit_many cannot add jobs on success: use emit")
    job = requested(call.event, call.arguments, inherited=inherited, known=call.way.known)
    if isinstance(job, Schedule):
        raise InvalidOption("repeat", call.arguments["repeat"], _NO_SCHEDULE)
    return job


def gen_job_id_sync(event: str, data: object, *, partition: str = DEFAULT_PARTITION) -> str:
    """Return the id that emit gives to a job with this event and data, unless you give another.

    Equal data gives equal ids, whatever the order of keys. `partition` is part of the id. Raises a
    kind of InvalidInput for arguments that emit would refuse.
    """
    check_name("event", event)
    return default_id(event, check_name("partition", partition), body_of(event, data))


def _checked(made: M, known: Known | None) -> M:
    if known is not None:
        known.check_payload(made.lane.queue, made.event, made.data)
    return made


def _from_item(item: object, inherited: str | None, known: Known | None) -> NewJob:
    if type(item) is not dict and not isinstance(item, Mapping):
        raise InvalidOption("item", item, 'give a dict like {"event": "send-email", "data": {}}')
    event, queue, data, given = _read_object(item, EMIT_ITEM)
    if given.get("repeat") is not None:
        raise InvalidOption("repeat", given["repeat"], _NO_SCHEDULE)
    return _new_job(event, queue, data, given, inherited, known)


def _parts(
    event: str | Mapping[str, Any], arguments: Mapping[str, Any]
) -> tuple[str, str, object, dict[str, Any]]:
    """Return event, queue, data and all other arguments of an emit."""
    if isinstance(event, str) or not isinstance(event, Mapping):
        refuse_unknown(arguments)
        return event, *_merged(dict(arguments))
    for name in arguments:
        raise InvalidOption("a keyword beside emit's dict", name, "put it into the dict")
    return _read_object(event, EMIT_OBJECT)


def _read_object(
    values: Mapping[str, Any], table: Table
) -> tuple[str, str, object, dict[str, Any]]:
    """Return event, queue, data and all other arguments of a job that is one dict."""
    read = table.read(values)
    for name in [name for name, value in read.items() if value is None and name != "data"]:
        # None counts as not given, except for data, which may be null.
        del read[name]
    event = read.pop("event", None)
    if event is None:
        raise InvalidOption("event", None, 'give one, for example {"event": "send-email"}')
    if callable(event):
        raise InvalidOption("event", event, "pass a function directly: emit(function, data=...)")
    return event, *_merged(read)


def _merged(arguments: dict[str, Any]) -> tuple[str, object, dict[str, Any]]:
    """Return queue, data, and the rest under their main names; `arguments` is used up."""
    queue, data = arguments.pop("queue", DEFAULT_QUEUE), arguments.pop("data", NO_DATA)
    options = arguments.pop("options", None)
    if options is None and OTHER_NAMES.isdisjoint(arguments):
        return queue, data, arguments
    return queue, data, EMIT.merge(arguments, {} if options is None else options)


def _new_job(
    event: str,
    queue: str,
    data: object,
    given: Mapping[str, Any],
    inherited: str | None,
    known: Known | None,
) -> NewJob:
    check_name("event", event)
    body = body_of(event, data)
    lane = lane_of(queue, given)
    debounce = emit_debounce(given, None if known is None else known.debounce_of(queue, event))
    job_id, guard = _identity(event, lane.partition, body, given, debounce)
    due = _due(given.get("delay"), given.get("delay_until"))
    return NewJob(job_id, event, body, lane, envelope_options(given, inherited), due, guard)


def _identity(
    event: str,
    partition: str,
    body: bytes,
    given: Mapping[str, Any],
    debounce: DebounceManager | None,
) -> tuple[str, str]:
    """Return the id of a job, and the guard that is checked before it is added."""
    job_id = _job_id(given.get("id"), given.get("deduplicate", True))
    if debounce is not None:
        group = group_of(given) or job_id or default_id(event, partition, body)
        return fresh_id(), debounce.guard(event, partition, group)
    key = given.get("idempotency_key")
    if key is None:
        return job_id or default_id(event, partition, body), ""
    if given.get("deduplicate") is False:
        raise ConflictingOptions("idempotency_key", "deduplicate=False", EMIT.where)
    digest = digest_of(event, partition, text("idempotency_key", key))
    # A command line would read an id that starts with a hyphen as an option.
    return job_id or digest.replace("-", "."), idempotent(digest)


def _job_id(job_id: object, deduplicate: object) -> str | None:
    is_one = flag("deduplicate", deduplicate)
    if job_id is None:
        return None if is_one else fresh_id()
    if not is_one:
        raise ConflictingOptions("id", "deduplicate=False", EMIT.where)
    return check_job_id(job_id)


def _due(delay: object, until: object) -> str:
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
