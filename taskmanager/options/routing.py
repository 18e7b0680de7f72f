"""Read which workers may run a job: `type=`, `requires=`, `only=`, `anti_affinity=`, `region=`.

And whether one that no live worker may run is refused: `reject_unroutable=`.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from functools import lru_cache
from typing import Any

from consumers.errors import InvalidName
from consumers.jobs.envelope import NewJob
from consumers.jobs.lanes import DEFAULT_TYPE
from consumers.jobs.names import check_name
from consumers.jobs.routes import MOST_CAPABILITIES, MOST_WORKERS, Demand, Route
from taskmanager.errors import InvalidOption
from taskmanager.options.checks import flag

# What takes a list, with what it names and how many.
_LISTS = {
    "requires": ("capability", MOST_CAPABILITIES),
    "only": ("worker", MOST_WORKERS),
    "anti_affinity": ("worker", MOST_WORKERS),
}
# A job with none of them goes to any worker of its type.
_OPTIONS = frozenset({*_LISTS, "region"})

# Why schedules and jobs of on_success cannot be refused.
SENT_LATER = "the job is sent later, when other workers may be live"


class RoutableJob(NewJob):
    """A job that is sent only if a live worker may run it. `demand` is what it requires of one.

    It is a separate type so that other jobs pay nothing for it.
    """

    demand: Demand


def rejects_unroutable(given: Mapping[str, Any]) -> bool:
    """Return whether options say that jobs are refused which no live worker may run."""
    return flag("reject_unroutable", given.get("reject_unroutable", False))


def route_of(event: str, given: Mapping[str, Any], requires: Collection[str] = ()) -> Route | None:
    """Return what an event's jobs with these options require besides a type; None for nothing.

    `requires` are the capabilities that they require if the options have no `requires`. Raises a
    kind of InvalidInput.
    """
    if not requires and _OPTIONS.isdisjoint(given):
        return None
    wanted: dict[str, Any] = {name: names_of(name, given.get(name)) for name in _LISTS}
    if given.get("requires") is None:
        wanted["requires"] = tuple(requires)
    type_ = given.get("type")
    wanted |= {"type": DEFAULT_TYPE if type_ is None else type_, "region": given.get("region")}
    try:
        route = _route(event=event, **wanted)
    except TypeError:
        # Not hashable, so the cache cannot hold it; the checks of a route explain what is wrong.
        route = Route(event=event, **wanted)
    return route if route.is_needed else None


def names_of(option: str, given: object) -> tuple[str, ...]:
    """Return the names in an option, sorted; none for None. Raises InvalidOption."""
    if given is None:
        return ()
    kind, most = _LISTS[option]
    if not isinstance(given, list | tuple | set | frozenset):
        raise InvalidOption(option, given, "give a list of names")
    try:
        names = {check_name(kind, name) for name in given}
    except InvalidName as error:
        raise InvalidOption(option, given, str(error)) from None
    if len(names) > most:
        raise InvalidOption(option, given, f"it has {len(names)} names, and the limit is {most}")
    return tuple(sorted(names))


# Jobs with a key of their own, for one, share no form. Typed, as the type becomes part of a name.
_route = lru_cache(maxsize=1024, typed=True)(Route)
