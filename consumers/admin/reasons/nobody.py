"""Why no worker may take a job: a pause, or what the live workers are and can do."""

from __future__ import annotations

from collections.abc import Sequence

from consumers.admin.reasons.case import Case
from consumers.admin.reasons.lacking import STOPPING, each, needs, takes, why_not
from consumers.admin.reasons.row import Row
from consumers.admin.reasons.words import for_how_long, listed
from consumers.store.queue_workers import SeenWorker


def names_of(workers: Sequence[SeenWorker]) -> str:
    """Return the names of workers as in a sentence."""
    return listed(_names(workers))


def job_of(case: Case) -> str:
    """Return what is required: "route encoder+3fa9 (transcode, needs gpu)", or a lane."""
    route = case.it.route
    if route is not None:
        required = ", ".join([route.event, *needs(route)])
        return f"route {route.name} ({required})"
    event = f" ({case.event})" if case.event else ""
    return f"lane {case.lane.name}{event}"


def _names(workers: Sequence[SeenWorker]) -> list[str]:
    return sorted({it.state.profile.name for it in workers})


def _workers(case: Case) -> str:
    return f"live worker of type {case.lane.group!r}"


def _absent(case: Case) -> str:
    """Return what is known of workers that would take it, but stop or are silent."""
    if not case.absent:
        return ""
    some = [f"{it.state.profile.name}, which {_state(case, it)}" for it in case.absent]
    return f"; it could run on {listed(some, 'or')}"


def _state(case: Case, worker: SeenWorker) -> str:
    if case.is_silent(worker):
        return f"was last heard of {for_how_long(case.silence_ms(worker))} ago"
    return STOPPING if worker.state.stopping else "is live"


def _no_worker(case: Case) -> str:
    others = sorted({it.state.profile.type for it in case.live})
    word = "type" if len(others) == 1 else "types"
    there = f"; its live workers are of {word} {listed(others)}" if others else ""
    return f"no {_workers(case)} reads queue {case.it.queue!r}{there}{_absent(case)}"


def _is_too_new(case: Case) -> bool:
    newest = max((it.state.envelope for it in case.of_type), default=case.version)
    return case.version > newest


def _too_new(case: Case) -> str:
    newest = max(it.state.envelope for it in case.of_type)
    return (
        f"no {_workers(case)} is new enough: it needs version {case.version} of the entries, and "
        f"they read up to version {newest} ({names_of(case.of_type)}){_absent(case)}"
    )


def _no_handler(case: Case) -> str:
    return (
        f"no {_workers(case)} handles event {case.event!r} in queue {case.it.queue!r} (live: "
        f"{names_of(case.of_type)}){_absent(case)}"
    )


def _live_of(case: Case, names: Sequence[str]) -> list[SeenWorker]:
    return [it for it in case.live if it.state.profile.name in names]


def _is_pinned(case: Case) -> bool:
    route = case.it.route
    return route is not None and bool(route.only) and not _live_of(case, route.only)


def _pinned(case: Case) -> str:
    assert case.it.route is not None, "it has a route"
    return "; ".join(
        [
            f"may run on {listed(case.it.route.only, 'or')} only",
            *(f"{name} {_last_seen(case, name)}" for name in case.it.route.only),
        ]
    )


def _last_seen(case: Case, name: str) -> str:
    seen = [it for it in case.workers if it.state.profile.name == name]
    newest = max(seen, key=lambda it: it.seen_ms, default=None)
    return "is not live" if newest is None else _state(case, newest)


def _no_match(case: Case) -> str:
    return f"no worker may run {job_of(case)}: {each(_whys(case))}{_absent(case)}"


def _whys(case: Case) -> list[tuple[str, str]]:
    """Return why workers may not run it: those that it names, or else all of its type."""
    only = case.it.route.only if case.it.route else ()
    workers = _live_of(case, only) if only else case.of_type
    found = [(it.state.profile.name, why_not(case.demand, it.state)) for it in workers]
    names = {name for name, _ in found}
    return [*found, *((it, _last_seen(case, it)) for it in only if it not in names)]


def _no_level(case: Case) -> str:
    whys = [f"{it.state.profile.name} {takes(it.state.profile)}" for it in case.matching]
    return f"no worker takes priority {case.lane.priority} of {job_of(case)}: {listed(whys)}" + (
        _absent(case)
    )


def _is_paused(case: Case) -> bool:
    return case.needs_a_worker and case.it.paused.whole


def _is_event_paused(case: Case) -> bool:
    return case.needs_a_worker and case.event in case.it.paused.events


ROWS = (
    Row("paused", _is_paused, lambda case: f"queue {case.it.queue!r} is paused"),
    Row(
        "event_paused",
        _is_event_paused,
        lambda case: f"event {case.event!r} of queue {case.it.queue!r} is paused",
    ),
    Row("no_worker", lambda case: case.needs_a_worker and not case.of_type, _no_worker),
    Row("newer_version", lambda case: case.needs_a_worker and _is_too_new(case), _too_new),
    Row(
        "no_handler",
        lambda case: case.needs_a_worker and not _is_too_new(case)
        and bool(case.of_type) and not case.handling and case.it.route is None,
        _no_handler,
    ),
    Row(
        "no_definition",
        lambda case: case.needs_a_worker and bool(case.lane.route) and case.it.route is None,
        lambda case: f"nobody knows what route {case.lane.route} requires: neither queue "
        f"{case.it.queue!r} nor the job has it",
    ),
    Row("pinned", lambda case: case.needs_a_worker and _is_pinned(case), _pinned),
    Row(
        "no_match",
        # A worker leaves a handler out if it lacks what that requires: the lack is the reason.
        lambda case: case.needs_a_worker and not _is_pinned(case) and not _is_too_new(case)
        and bool(case.of_type if case.it.route else case.handling) and not case.matching,
        _no_match,
    ),
    Row(
        "no_level",
        lambda case: case.needs_a_worker and bool(case.matching) and not case.able,
        _no_level,
    ),
)  # fmt: skip
