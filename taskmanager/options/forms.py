"""Make jobs of a form: everything about a job but its data and id, checked and encoded once.

Programs emit many jobs that differ in nothing else. The first of them makes the form, and the
others are found to be like it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from datetime import timedelta
from typing import Any, Protocol, TypeAlias

from consumers.jobs.envelope import NewJob
from consumers.jobs.guards import digest_of, idempotent
from consumers.jobs.ids import DefaultIds, fresh_id
from consumers.jobs.names import check_job_id, check_name
from consumers.jobs.routes import Demand
from processors.debounce import DebounceManager
from processors.schedules.schedule import Schedule
from taskmanager.errors import ConflictingOptions
from taskmanager.options.checks import flag, text
from taskmanager.options.debounce import emit_debounce, group_of
from taskmanager.options.envelope import (
    NO_DATA,
    body_and_read,
    data_of,
    due_of,
    envelope_options,
    lane_of,
)
from taskmanager.options.routing import RoutableJob, rejects_unroutable, route_of
from taskmanager.options.tables import EMIT, EMIT_ITEM

# Forms are compared by options of these types. Two equal datetimes may mean two times, in the hour
# that clocks show twice. None in an item means that the option is left out, but some keywords
# refuse it.
_COMPARED = frozenset({str, int, float, bool, timedelta})
_TEXT = frozenset({str})
# Options of these types may hold texts, and nothing else.
_LISTS = frozenset({list, tuple, set, frozenset})
# Options that hardly two jobs have in common.
_OF_ONE_JOB = frozenset({"idempotency_key", "debounce_key", "correlation_id"})
_MOST_FORMS = 256
# The constructor of a NamedTuple is a Python function, which takes twice as long.
_new = tuple.__new__
_UNLIKE = (None, None, None)
# Options with the form that they made.
_Latest: TypeAlias = "tuple[dict[str, Any], Form | None]"
# No job is like it, as each has an event.
_NONE: _Latest = ({}, None)


class Rules(Protocol):
    """What the jobs of an event must keep to, as far as their handler is known here."""

    @property
    def debounce(self) -> DebounceManager | None:
        """How emits are debounced, or None."""

    @property
    def requires(self) -> Collection[str]:
        """The capabilities that a worker needs for them, if their emit names none."""

    def check(self, queue: str, event: str, data: bytes) -> None:
        """Raise InvalidPayload if the payload (JSON) does not fit."""


class Known(Protocol):
    """What is known here about the handlers that jobs are for."""

    changes: int
    """How often that has changed: what was found out before is out of date."""

    def names_of(self, handler: Callable[..., Any]) -> list[tuple[str, str]]:
        """Return (queue, event) for each place where a function is registered."""

    def rules_of(self, queue: str, event: str) -> Rules:
        """Return what the jobs of an event must keep to."""


class Form:
    """What jobs have in common that differ only in their data and ids: all else is checked once.

    `given` are the options besides queue, data and id. `inherited` is the correlation id of the job
    that emits them.
    """

    __slots__ = (
        "_check", "_debounce", "_due", "_event", "_given", "_ids", "_lane", "_named", "_options",
        "_route", "_what",
    )  # fmt: skip

    def __init__(
        self,
        event: str,
        queue: str,
        given: Mapping[str, Any],
        inherited: str | None,
        known: Known | None,
    ) -> None:
        self._event = check_name("event", event)
        rules = None if known is None else known.rules_of(queue, event)
        self._route = route = route_of(event, given, () if rules is None else rules.requires)
        self._lane = lane_of(queue, given, route)
        self._check = None if rules is None else rules.check
        self._debounce = emit_debounce(given, None if rules is None else rules.debounce)
        self._due = due_of(given.get("delay"), given.get("delay_until"))
        self._options = envelope_options(given, route, inherited)
        self._given = given
        self._what = data_of(event)
        self._ids = DefaultIds(event, self._lane.partition)
        is_one = flag("deduplicate", given.get("deduplicate", True))
        # How a job without an id gets one; None if that takes more than its data.
        self._named: Callable[[bytes, Any], str] | None = None
        if self._debounce is None and given.get("idempotency_key") is None:
            self._named = self._ids.id if is_one else _fresh_id

    def job(self, data: object, job_id: object) -> NewJob:
        """Return the job with this data, and with this id unless it is None."""
        body, read = body_and_read(data, self._what)
        guard = ""
        if job_id is None and self._named is not None:
            checked_id = self._named(body, read)
        else:
            checked_id, guard = self._identity(body, read, job_id)
        event, lane = self._event, self._lane
        if self._check is not None:
            self._check(lane.queue, event, body)
        return _new(NewJob, (checked_id, event, body, lane, self._options, self._due, guard))

    def _identity(self, body: bytes, read: Any, given_id: object) -> tuple[str, str]:
        """Return the id of a job, and the guard that is checked before it is added."""
        event, partition, given = self._event, self._lane.partition, self._given
        job_id = _job_id(given_id, given.get("deduplicate", True))
        if self._debounce is not None:
            group = group_of(given) or job_id or self._ids.id(body, read)
            return fresh_id(), self._debounce.guard(event, partition, group)
        key = given.get("idempotency_key")
        if key is None:
            return job_id or self._ids.id(body, read), ""
        if given.get("deduplicate") is False:
            raise ConflictingOptions("idempotency_key", "deduplicate=False", EMIT.where)
        digest = digest_of(event, partition, text("idempotency_key", key))
        # A command line would read an id that starts with a hyphen as an option.
        return job_id or digest.replace("-", "."), idempotent(digest)


class RoutableForm(Form):
    """What jobs have in common that are sent only if a live worker may run them."""

    __slots__ = ()

    def job(self, data: object, job_id: object) -> RoutableJob:
        """Return the job with what it requires of a worker; see Form."""
        made = _new(RoutableJob, super().job(data, job_id))
        made.demand = Demand(made.event, made.lane, self._route)
        return made


class Forms:
    """The forms of jobs that were emitted, each kept for those that are like it.

    `inherited` is the correlation id that all of them inherit.
    """

    __slots__ = (
        "_changes", "_kept", "_known", "_latest", "_latest_lists", "_lists", "inherited"
    )  # fmt: skip

    def __init__(self, known: Known | None, inherited: str | None = None) -> None:
        self.inherited = inherited
        self._known = known
        self._changes = 0
        self._kept: dict[tuple[object, ...], Form] = {}
        # The last one that was made, with its options if all of them are texts.
        self._latest = _NONE
        # Those with lists, which cannot be hashed; and the last of them that was found.
        self._lists: dict[tuple[object, ...], _Latest] = {}
        self._latest_lists = _NONE

    def up_to_date(self) -> Forms:
        """Return these forms, without those from before a handler was registered."""
        if self._changes != (changes := self._known_changes()):
            self._forget()
            self._changes = changes
        return self

    def _known_changes(self) -> int:
        return 0 if self._known is None else self._known.changes

    def like(self, item: Any) -> tuple[Form | None, object, object]:
        """Return the form that is kept for an item, or None, with the item's data and id.

        An item has all arguments of an emit.
        """
        if type(item) is not dict:
            return _UNLIKE
        rest = item.copy()
        data, job_id = rest.pop("data", NO_DATA), rest.pop("id", None)
        options, form = self._latest
        try:
            # What equals a text may be of another type, an Enum's for example.
            if rest == options and _TEXT.issuperset(map(type, rest.values())):
                return form, data, job_id
            options, form = self._latest_lists
            if rest == options and _are_alike(rest, options):
                return form, data, job_id
            return self._kept.get(_key(rest)), data, job_id
        except Exception:
            # A value that cannot be hashed or compared, such as a list, options={}, or an array.
            return self._like_lists(rest), data, job_id

    def _like_lists(self, rest: dict[str, Any]) -> Form | None:
        key = _key_of_lists(rest)
        found = None if key is None else self._lists.get(key)
        if found is None:
            return None
        self._latest_lists = found
        return found[1]

    def add(self, item: Any, event: str, queue: str, given: Mapping[str, Any]) -> Form:
        """Make a form, and keep it if others can be found to be like its item."""
        changes = self._known_changes()
        kind = RoutableForm if rejects_unroutable(given) else Form
        form = kind(event, queue, given, self.inherited, self._known)
        # Another thread may register a handler meanwhile.
        if type(item) is dict and changes == self._changes == self._known_changes():
            self._keep({name: it for name, it in item.items() if name not in ("data", "id")}, form)
        return form

    def _keep(self, rest: dict[str, Any], form: Form) -> None:
        types = set(map(type, rest.values()))
        # Under another name there may be data, or a second value of an option.
        if not (EMIT_ITEM.has_names(rest) and _OF_ONE_JOB.isdisjoint(rest)):
            return
        if len(self._kept) + len(self._lists) >= _MOST_FORMS:
            self._forget()
        if not _COMPARED.issuperset(types):
            self._keep_lists(rest, form)
            return
        self._kept[_key(rest)] = form
        if types == _TEXT:
            self._latest = rest, form

    def _keep_lists(self, rest: dict[str, Any], form: Form) -> None:
        if (key := _key_of_lists(rest)) is not None:
            # Copied, because the caller may change its lists.
            own = {name: type(it)(it) if type(it) in _LISTS else it for name, it in rest.items()}
            self._lists[key] = self._latest_lists = own, form

    def _forget(self) -> None:
        self._kept.clear()
        self._lists.clear()
        self._latest = self._latest_lists = _NONE

    def required(self, queue: str, event: str) -> Collection[str]:
        """Return the capabilities that jobs of an event require if their emit names none."""
        return () if self._known is None else self._known.rules_of(queue, event).requires

    def checked(self, schedule: Schedule) -> Schedule:
        """Return a schedule whose data keeps to the rules of its event."""
        if self._known is not None:
            queue, event = schedule.lane.queue, schedule.event
            self._known.rules_of(queue, event).check(queue, event, schedule.data)
        return schedule


def _key(rest: dict[str, Any]) -> tuple[object, ...]:
    """Return the options of an item with their types, as True equals 1."""
    values = rest.values()
    return (*rest, *values, *map(type, values))


def _are_alike(rest: dict[str, Any], others: dict[str, Any]) -> bool:
    """Return whether options that equal those in a form have the same types, even in lists."""
    for name, value in rest.items():
        kind = type(value)
        if kind is not type(others[name]):
            return False
        if kind in _LISTS and not _TEXT.issuperset(map(type, value)):
            return False
    return True


def _key_of_lists(rest: dict[str, Any]) -> tuple[object, ...] | None:
    """Return a key for options of which some are lists of texts; None for other options."""
    key: list[object] = [*rest]
    for value in rest.values():
        kind = type(value)
        if kind in _LISTS:
            if not _TEXT.issuperset(map(type, value)):
                return None
            value = frozenset(value)
        elif kind not in _COMPARED:
            return None
        key.append(value)
        key.append(kind)
    return tuple(key)


def _fresh_id(data: bytes, read: Any) -> str:
    return fresh_id()


def _job_id(job_id: object, deduplicate: object) -> str | None:
    is_one = flag("deduplicate", deduplicate)
    if job_id is None:
        return None if is_one else fresh_id()
    if not is_one:
        raise ConflictingOptions("id", "deduplicate=False", EMIT.where)
    return check_job_id(job_id)
