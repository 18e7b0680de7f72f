"""Read `repeat=` of emits and handlers: schedules instead of jobs."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from consumers.jobs.ids import default_id
from consumers.jobs.lanes import DEFAULT_PARTITION, Lane
from consumers.jobs.names import check_name
from processors.schedules.schedule import Schedule
from processors.schedules.spec import IntervalSpec, Spec, spec_of
from taskmanager.errors import ConflictingOptions, InvalidOption
from taskmanager.options.checks import interval_ms
from taskmanager.options.debounce import DEBOUNCE_OPTIONS
from taskmanager.options.envelope import NO_DATA, body_of, envelope_options, lane_of
from taskmanager.options.routing import SENT_LATER, rejects_unroutable, route_of
from taskmanager.options.tables import EMIT, HANDLER_REPEAT, REPEAT, Table

# A schedule decides the ids of its jobs and when they are emitted.
_NOT_WITH_REPEAT = ("id", "idempotency_key", "delay", *sorted(DEBOUNCE_OPTIONS))
_FORMS = 'give a pattern such as "0 3 * * *", or a dict such as {"every": 90}'
_NEEDS_PATTERN = 'give repeat={"pattern": "0 3 * * *"} or repeat={"every": 90}'
_NO_ZONE = "every counts from 1970 in UTC and has no time zone: remove tz, or give a pattern"
# The length of a digest; enough to distinguish the schedules of one event.
_NAME_DIGITS = 8


def emit_schedule(
    event: str,
    queue: str,
    data: object,
    given: Mapping[str, Any],
    requires: Collection[str] = (),
) -> Schedule:
    """Return the schedule that an emit asks for; raise a kind of InvalidInput.

    Everything the emit was given besides `repeat=` goes into its jobs. `requires` is what its
    handler requires.
    """
    _refuse_conflicts(given)
    check_name("event", event)
    body = body_of(event, data)
    route = route_of(event, given, requires)
    lane = lane_of(queue, given, route)
    values = _read(REPEAT, given["repeat"])
    name = _default_name(event, lane, body)
    return _schedule(REPEAT, values, event, name, lane, body, envelope_options(given, route))


def handler_schedule(
    queue: str, event: str, given: object, requires: Collection[str] = ()
) -> Schedule:
    """Return the schedule that a handler's `repeat=` asks for; raises InvalidInput.

    `requires` is what the handler requires.
    """
    values = _read(HANDLER_REPEAT, given)
    body = body_of(event, values.pop("data", NO_DATA))
    route = route_of(event, values, requires)
    lane = lane_of(queue, values, route)
    return _schedule(HANDLER_REPEAT, values, event, event, lane, body, envelope_options({}, route))


def _read(table: Table, given: object) -> dict[str, Any]:
    """Return the options in `repeat=`; text alone is its pattern."""
    if isinstance(given, str):
        return {"pattern": given}
    if not isinstance(given, Mapping):
        raise InvalidOption("repeat", given, _FORMS)
    return table.read(given)


def _schedule(
    table: Table,
    values: Mapping[str, Any],
    event: str,
    name: str,
    lane: Lane,
    body: bytes,
    options: bytes,
) -> Schedule:
    given = {name: value for name, value in values.items() if value is not None}
    return Schedule(
        name=given.get("name", name),
        spec=_spec(table, given),
        event=event,
        lane=lane,
        data=body,
        options=options,
        missed=given.get("missed", "one"),
        overlap=given.get("overlap", "allow"),
        version=given.get("version", 0),
    )


def _spec(table: Table, given: Mapping[str, Any]) -> Spec:
    if "every" not in given:
        if "pattern" not in given:
            raise InvalidOption(table.where, dict(given), _NEEDS_PATTERN)
        return spec_of(given["pattern"], given.get("tz", "UTC"))
    if "pattern" in given:
        raise ConflictingOptions("every", "pattern", table.where)
    if "tz" in given:
        raise InvalidOption("tz", given["tz"], _NO_ZONE)
    return IntervalSpec(interval_ms("every", given["every"]))


def _default_name(event: str, lane: Lane, body: bytes) -> str:
    if body == b"{}" and lane.partition == DEFAULT_PARTITION:
        return event
    return f"{event}-{default_id(event, lane.partition, body)[:_NAME_DIGITS]}"


def _refuse_conflicts(given: Mapping[str, Any]) -> None:
    for name in _NOT_WITH_REPEAT:
        if given.get(name) is not None:
            raise ConflictingOptions(name, "repeat", EMIT.where)
    if given.get("deduplicate", True) is not True:
        raise ConflictingOptions(f"deduplicate={given['deduplicate']!r}", "repeat", EMIT.where)
    if rejects_unroutable(given):
        raise ConflictingOptions("reject_unroutable=True", "repeat", EMIT.where, SENT_LATER)
    if (until := given.get("delay_until")) is not None:
        raise InvalidOption(
            "delay_until",
            until,
            "a schedule starts at once in this version: emit it when it should start, "
            "or pause it and resume it then",
        )
