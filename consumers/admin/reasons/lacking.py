"""What a job requires of a worker, and why a worker may not run it, in words."""

from __future__ import annotations

from collections.abc import Sequence

from consumers.admin.reasons.words import MOST_NAMES, listed
from consumers.jobs.routes import Demand, Missing, Profile, Route, missing
from consumers.store.queue_workers import WorkerState

STOPPING = "is stopping"


def needs(route: Route) -> list[str]:
    """Return what a route requires besides type and event: needs gpu, in region eu."""
    parts = []
    if route.requires:
        parts.append(f"needs {listed(route.requires)}")
    if route.region is not None:
        parts.append(f"in region {route.region}")
    if route.only:
        parts.append(f"on {listed(route.only, 'or')} only")
    if route.anti_affinity:
        parts.append(f"not on {listed(route.anti_affinity, 'or')}")
    return parts


def asked(demand: Demand) -> str:
    """Return all that a job requires: event 'render', type 'workers', needs gpu, priority 0."""
    lane = demand.lane
    required = needs(demand.route) if demand.route else []
    first = [f"event {demand.event!r}", f"type {lane.group!r}"]
    return ", ".join([*first, *required, f"priority {lane.priority}"])


def why_not(demand: Demand, worker: WorkerState) -> str:
    """Return all reasons why a worker may not run a job: "lacks gpu and av1"; empty if it may."""
    if worker.stopping:
        return STOPPING
    profile = worker.profile
    parts = [] if profile.type == demand.lane.group else [f"is of type {profile.type!r}"]
    if demand.version > worker.envelope or demand.event not in (None, *worker.events):
        parts.append(f"does not handle {demand.event!r}")
    parts += _lacking(missing(demand.route, profile) if demand.route else [], profile.region)
    if not profile.takes(demand.lane.priority):
        parts.append(takes(profile))
    return listed(parts) if parts else ""


def each(whys: Sequence[tuple[str, str]]) -> str:
    """Return why workers may not, by name: "a lacks gpu; b is stopping"; of many the first five."""
    some = [f"{name} {why}" for name, why in whys[:MOST_NAMES]]
    rest = len(whys) - len(some)
    return "; ".join([*some, f"{rest:,} more"] if rest else some)


def takes(worker: Profile) -> str:
    """Return which priorities a worker takes that does not take all."""
    levels = sorted(worker.levels or (), reverse=True)
    word = "priority" if len(levels) == 1 else "priorities"
    return f"takes {word} {listed([str(it) for it in levels])} only"


def _lacking(lacks: list[Missing], region: str | None) -> list[str]:
    """Return what a worker in a region lacks besides its type."""
    able = [it.value for it in lacks if it.lack == "capability"]
    parts = [f"lacks {listed(able)}"] if able else []
    words = {
        "region": f"is in region {region}" if region else "has no region",
        "excluded": "is excluded",
        "not_named": "is not named",
    }
    return [*parts, *(words[it.lack] for it in lacks if it.lack in words)]
