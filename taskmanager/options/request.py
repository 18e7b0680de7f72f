"""Turn the arguments of emit and emit_many into jobs to send, or a schedule. No I/O."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple, TypeAlias

from consumers.errors import InvalidInput
from consumers.jobs.envelope import NewJob
from consumers.jobs.ids import default_id
from consumers.jobs.lanes import DEFAULT_PARTITION
from consumers.jobs.names import check_name
from processors.schedules.schedule import Schedule
from taskmanager.errors import InvalidOption
from taskmanager.options.arguments import (
    DEFAULT_QUEUE,
    OTHER_NAMES,
    refuse_unknown,
)
from taskmanager.options.envelope import NO_DATA, body_of
from taskmanager.options.forms import Forms, Known
from taskmanager.options.repeat import emit_schedule
from taskmanager.options.tables import EMIT, EMIT_ITEM, EMIT_OBJECT, Table

_NO_SCHEDULE = "emit_many takes jobs only: call emit(..., repeat=...) for a schedule"

# Event, queue, data and all other arguments of an emit.
Parts: TypeAlias = tuple[str, str, object, dict[str, Any]]


class EmitsItself:
    """The base of tasks: they know their event, and are not handlers of (job, ctx)."""

    event: str
    queue: str
    __name__: str


class Way:
    """How a job is checked before it is sent, and how its result is read (see JobHandle.read)."""

    __slots__ = ("_forms", "_inheriting", "known", "read")

    def __init__(
        self, known: Known | None, read: Callable[[bytes, str], Any] | None = None
    ) -> None:
        self.known = known
        self.read = read
        self._forms = self._inheriting = Forms(known)

    def forms(self, inherited: str | None) -> Forms:
        """Return the forms of its jobs; `inherited` is the correlation id that they inherit."""
        if inherited is None:
            return self._forms.up_to_date()
        forms = self._inheriting
        if forms.inherited != inherited:
            forms = self._inheriting = Forms(self.known, inherited)
        return forms.up_to_date()


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
    way: Way | None = None,
) -> NewJob | Schedule:
    """Return the job, or the schedule with `repeat=`; raise a kind of InvalidInput.

    `event` is a name, or one dict of everything. `inherited` is the correlation id of the job that
    emits this one.
    """
    forms = Forms(None, inherited) if way is None else way.forms(inherited)
    if isinstance(event, str) or not isinstance(event, Mapping):
        return _made({"event": event, **arguments}, _of_keywords, forms)
    for name in arguments:
        raise InvalidOption("a keyword beside emit's dict", name, "put it into the dict")
    return _made(event, _of_object, forms)


def new_jobs(
    items: object,
    *,
    inherited: str | None = None,
    way: Way | None = None,
    owner: object = None,
) -> Checked:
    """Return the jobs for the items of emit_many; raise for the first that is not allowed.

    The note of the error names the item. `owner` is the emitter that was called; bound calls must
    belong to it.
    """
    if isinstance(items, Mapping | str | bytes) or not isinstance(items, Iterable):
        raise InvalidOption("the argument of emit_many", items, "give a list of dicts")
    forms = Forms(None, inherited) if way is None else way.forms(inherited)
    jobs: list[NewJob] = []
    reads = {}
    for position, item in enumerate(items):
        try:
            form, data, job_id = forms.like(item)
            if form is not None:
                jobs.append(form.job(data, job_id))
            elif isinstance(item, Prepared):
                jobs.append(_of_prepared(item, inherited, owner))
                if item.way.read is not None:
                    reads[position] = item.way.read
            else:
                made = _made(item, _of_item, forms)
                # An item with a repeat is refused.
                assert isinstance(made, NewJob)
                jobs.append(made)
        except InvalidInput as error:
            error.add_note(f"in item {position} of emit_many (counted from 0); nothing was sent")
            raise
    return Checked(jobs, reads)


def _of_prepared(call: Prepared, inherited: str | None, owner: object) -> NewJob:
    if call.owner() is not owner:
        raise InvalidOption("call", call, "its task belongs to another TaskManager")
    if call.on_success:
        raise InvalidOption("on_success", True, "emit_many cannot add jobs on success: use emit")
    job = requested(call.event, call.arguments, inherited=inherited, way=call.way)
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


def _made(item: Any, read: Callable[[Any], Parts], forms: Forms) -> NewJob | Schedule:
    """Return the job of an item, which has all arguments of an emit, or its schedule."""
    form, data, job_id = forms.like(item)
    if form is None:
        event, queue, data, given = read(item)
        if given.get("repeat") is not None:
            # It inherits no correlation id: the schedule outlives the job that registers it.
            requires = forms.required(queue, event)
            return forms.checked(emit_schedule(event, queue, data, given, requires))
        job_id = given.pop("id", None)
        form = forms.add(item, event, queue, given)
    return form.job(data, job_id)


def _of_keywords(item: dict[str, Any]) -> Parts:
    arguments = item.copy()
    event = arguments.pop("event")
    refuse_unknown(arguments)
    return event, *_merged(arguments)


def _of_object(item: Mapping[str, Any]) -> Parts:
    return _read_object(item, EMIT_OBJECT)


def _of_item(item: object) -> Parts:
    if type(item) is not dict and not isinstance(item, Mapping):
        raise InvalidOption("item", item, 'give a dict like {"event": "send-email", "data": {}}')
    parts = _read_object(item, EMIT_ITEM)
    if (repeat := parts[3].get("repeat")) is not None:
        raise InvalidOption("repeat", repeat, _NO_SCHEDULE)
    return parts


def _read_object(values: Mapping[str, Any], table: Table) -> Parts:
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
