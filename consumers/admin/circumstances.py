"""What is known of where a job is and what is before it, as a value."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from consumers.admin.facts import Facts, facts_of
from consumers.jobs.envelope import Envelope
from consumers.jobs.lanes import Lane, listed_lanes
from consumers.jobs.routes import Route, definition_in
from consumers.store.pause_state import PauseState


class Higher(NamedTuple):
    """A lane of higher priority: how many jobs wait there, and its route if it has one."""

    lane: Lane
    waiting: int
    route: Route | None


class Coming(NamedTuple):
    """The schedule that will emit a job, and when (ms)."""

    schedule: str
    fires_ms: int


class Start(NamedTuple):
    """What its worker reports of a job's start.

    at_ms is when it began, 0 if that was not reported; names_all whether the report names every
    job that its worker runs.
    """

    at_ms: int = 0
    names_all: bool = False


UNREPORTED = Start()


@dataclass(frozen=True, slots=True)
class Circumstances:
    """All that explains where a job is, but for the workers. Times are in ms by Redis' clock.

    has_entry is whether anything is at its place. lane is the one it is in or comes to, route what
    it requires there: None without one, or if that is not kept. kind, has_group and is_passed say
    how its stream is, before and higher what comes before it, as far as that was counted.
    """

    queue: str
    now_ms: int
    job: Facts
    has_entry: bool
    solo_runs: int
    lane: Lane | None
    route: Route | None
    paused: PauseState
    lease_ms: int
    is_cancelled: bool
    is_listed: bool
    kind: str
    has_group: bool
    is_passed: bool
    before: int
    is_more_before: bool
    higher: Sequence[Higher]
    is_more_higher: bool
    start: Start = UNREPORTED
    coming: Coming | None = None


def circumstances_of(queue: str, job_id: str, answer: Sequence[Any]) -> Circumstances:
    """Return the circumstances in an answer of explain.lua."""
    told = dict(zip((name.decode() for name in answer[::2]), answer[1::2], strict=True))
    # In the order of an answer of inspect.lua.
    as_inspected = (
        "pointer", "fields", "consumer", "delivered", "since", "result", "letter", "letter_entry",
        "lane",
    )  # fmt: skip
    job = facts_of(queue, job_id, [told[name] for name in as_inspected])
    lane = _lane(queue, told["lane"])
    return Circumstances(
        queue=queue,
        now_ms=told["now"],
        job=job,
        has_entry=bool(told["fields"]),
        solo_runs=int(told["pointer"].split(b" ")[1]) if told["pointer"] else 0,
        lane=lane,
        route=_route(lane, told.get("definition", b""), job.envelope),
        paused=PauseState.read(told["paused"]),
        lease_ms=int(told["lease"] or 0),
        is_cancelled=told.get("cancelled") == 1,
        is_listed=told.get("listed") == 1,
        kind=told.get("kind", b"stream").decode(),
        has_group=told.get("group", 1) == 1,
        is_passed=told.get("passed") == 1,
        before=told.get("before", 0),
        is_more_before=told.get("more") == 1,
        higher=_higher(queue, told.get("higher", ())),
        is_more_higher=told.get("more_higher") == 1,
    )


def _lane(queue: str, name: bytes) -> Lane | None:
    found = listed_lanes(queue, [name])
    return found[0] if found else None


def _route(lane: Lane | None, definition: bytes, envelope: Envelope | None) -> Route | None:
    """Return the route of a lane, by the definition that is kept or by its job's own."""
    if lane is None or not lane.route:
        return None
    found = Route.parse(lane.route, definition)
    if found is not None or envelope is None:
        return found
    return Route.parse(lane.route, definition_in(envelope.options))


def _higher(queue: str, rows: Sequence[Any]) -> list[Higher]:
    found = ((_lane(queue, name), waiting, definition) for name, waiting, definition in rows)
    return [
        Higher(lane, waiting, _route(lane, definition, None))
        for lane, waiting, definition in found
        if lane is not None
    ]
