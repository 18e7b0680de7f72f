"""Routes: equal requirements have one name, and who may run the jobs of one."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic_core import to_json

from consumers.errors import InvalidInput, InvalidName, TooManyLanes, TooManyRoutes
from consumers.jobs.lanes import Lane, listed_lanes
from consumers.jobs.routes import (
    MAX_ROUTES,
    MOST_CAPABILITIES,
    MOST_WORKERS,
    Missing,
    Profile,
    Route,
    matches,
    missing,
    no_room_for,
    without_route,
)

# Few names, so that what is required and what there is meet often.
CAPABILITIES, WORKERS = ("cpu", "gpu", "ssd"), ("w1", "w2", "w3")
REGIONS, TYPES = ("eu", "us"), ("encoder", "workers")

some_capabilities = st.lists(st.sampled_from(CAPABILITIES), max_size=5)
some_workers = st.lists(st.sampled_from(WORKERS), max_size=4)
maybe_a_region = st.none() | st.sampled_from(REGIONS)
names = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,20}", fullmatch=True)


@st.composite
def requirements(draw: st.DrawFn) -> dict[str, Any]:
    """Return what may be required together."""
    only, anti_affinity = draw(some_workers), draw(some_workers)
    if only and not set(only) - set(anti_affinity):
        anti_affinity = []
    return {
        "type": draw(st.sampled_from(TYPES)),
        "event": draw(names),
        "requires": draw(some_capabilities),
        "only": only,
        "anti_affinity": anti_affinity,
        "region": draw(maybe_a_region),
    }


routes = requirements().map(lambda required: Route(**required))
profiles = st.builds(
    Profile,
    name=st.sampled_from(WORKERS),
    type=st.sampled_from(TYPES),
    capabilities=some_capabilities.map(frozenset),
    region=maybe_a_region,
)


# Names and definitions


@given(requirements(), st.randoms())
def test_equal_requirements_in_any_order_have_one_name(required: dict[str, Any], dice: Any) -> None:
    other = dict(required)
    for option in ("requires", "only", "anti_affinity"):
        again = [*required[option], *required[option]]
        dice.shuffle(again)
        other[option] = again

    one, same = Route(**required), Route(**other)

    assert one == same
    assert (one.name, one.json) == (same.name, same.json)


@given(routes, routes)
def test_other_requirements_have_another_name(one: Route, other: Route) -> None:
    assert (one == other) == (one.name == other.name)


@given(requirements())
def test_who_is_named_twice_is_as_excluded_as_who_is_not_named(required: dict[str, Any]) -> None:
    route = Route(**required)
    if route.only:
        left = [it for it in required["only"] if it not in required["anti_affinity"]]
        assert route == Route(**{**required, "only": left, "anti_affinity": []})


@given(routes)
def test_a_definition_parses_back(route: Route) -> None:
    for stored in (route.definition, route.json):
        assert Route.parse(route.name, stored) == route


@given(routes, routes)
def test_a_definition_belongs_to_its_name_alone(route: Route, other: Route) -> None:
    assert (Route.parse(route.name, other.json) == route) == (route.json == other.json)


@given(routes)
def test_a_definition_is_cut_out_of_options_up_to_the_first_brace(route: Route) -> None:
    options = to_json({"route": route.definition, "retries": {"most": 3}})

    inside = options.removeprefix(b'{"route":').partition(b"}")[0] + b"}"

    assert inside == route.json
    assert b"{" not in route.json[1:]


@given(routes)
def test_a_route_is_in_the_name_of_its_lanes_and_of_those_of_its_event(route: Route) -> None:
    lane = Lane("q", route.name, "tenant", -7)
    for it in (lane, lane.for_event(route.event), lane.for_event(route.event, 3)):
        assert (it.route, it.group) == (route.name, route.type)
        assert listed_lanes("q", [it.name.encode()]) == [it]
    assert lane.for_event(route.event).event == route.event
    assert lane.for_event(route.event, 3).version == 3


@pytest.mark.parametrize(
    "definition",
    [
        None, 7, b"", b"no json", b"[]", b'"event"', {}, {"event": 7}, {"event": "no name"},
        {"event": "e", "more": 1}, {"event": "e", "requires": "gpu"}, {"event": "e", "only": 7},
        {"event": "e", "requires": [7]}, {"event": "e", "region": ["eu"]}, {"requires": ["gpu"]},
    ],
)  # fmt: skip
def test_what_is_no_definition_is_none(definition: object) -> None:
    assert Route.parse("workers+0123456789ab", definition) is None


@pytest.mark.parametrize(
    ("required", "is_needed"),
    [
        ({}, False),
        ({"requires": ("gpu",)}, True),
        ({"only": ("w1",)}, True),
        ({"anti_affinity": ("w1",)}, True),
        ({"region": "eu"}, True),
    ],
)
def test_a_type_alone_needs_no_route(required: dict[str, Any], is_needed: bool) -> None:
    assert Route("encoder", "e", **required).is_needed == is_needed


# Who may run them


@given(routes, profiles)
def test_nothing_is_missing_exactly_where_a_worker_matches(route: Route, worker: Profile) -> None:
    assert matches(route, worker) == (missing(route, worker) == [])


@given(routes, profiles)
def test_a_worker_matches_by_what_it_is_and_can_do(route: Route, worker: Profile) -> None:
    assert matches(route, worker) == (
        worker.type == route.type
        and set(route.requires) <= worker.capabilities
        and route.region in (None, worker.region)
        and worker.name not in route.anti_affinity
        and (not route.only or worker.name in route.only)
    )


@given(routes, profiles, some_capabilities)
def test_who_can_do_more_may_run_no_less(route: Route, worker: Profile, more: list[str]) -> None:
    abler = replace(worker, capabilities=worker.capabilities | set(more))

    assert matches(route, abler) >= matches(route, worker)
    assert set(missing(route, abler)) <= set(missing(route, worker))


@given(routes, profiles, some_capabilities)
def test_a_route_that_requires_more_is_matched_by_no_more(
    route: Route, worker: Profile, more: list[str]
) -> None:
    assert matches(replace(route, requires=(*route.requires, *more)), worker) <= matches(
        route, worker
    )


@given(routes, profiles)
def test_each_reason_is_gone_where_its_lack_is(route: Route, worker: Profile) -> None:
    mended = worker
    for lack, value in missing(route, worker):
        if lack == "capability":
            mended = replace(mended, capabilities=mended.capabilities | {value})
        elif lack in ("type", "region"):
            mended = replace(mended, **{lack: value})
        else:
            allowed = route.only or [f"not-{name}" for name in route.anti_affinity]
            mended = replace(mended, name=allowed[0])
    assert matches(route, mended)


def test_every_reason_is_said_with_what_it_is_about() -> None:
    worker = Profile("w1", "workers", frozenset({"cpu"}), region="us")
    required = {"requires": ["ssd", "gpu", "cpu"], "region": "eu"}

    assert missing(Route("encoder", "e", anti_affinity=("w1",), **required), worker) == [  # type: ignore[arg-type]
        Missing("type", "encoder"),
        Missing("capability", "gpu"),
        Missing("capability", "ssd"),
        Missing("region", "eu"),
        Missing("excluded", "w1"),
    ]
    assert missing(Route("workers", "e", only=("w3", "w2")), worker) == [
        Missing("not_named", "w2, w3")
    ]


def test_a_worker_without_a_region_is_in_none() -> None:
    assert not matches(Route("workers", "e", region="eu"), Profile("w1"))
    assert matches(Route("workers", "e"), Profile("w1", region="eu"))


# What cannot be required


@pytest.mark.parametrize("option", ["requires", "only", "anti_affinity"])
def test_a_text_is_no_list_of_names(option: str) -> None:
    with pytest.raises(InvalidName, match=f"give {option} as a list of names"):
        Route("workers", "e", **{option: "gpu"})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "required",
    [
        {"type": "no type"}, {"type": "event.x"}, {"type": "any"}, {"event": ""},
        {"event": "a+b"}, {"requires": ["a:b"]}, {"requires": [None]}, {"only": ["a{b"]},
        {"anti_affinity": ["~"]}, {"region": "e u"}, {"region": ""},
    ],
)  # fmt: skip
def test_what_is_no_name_is_refused(required: dict[str, Any]) -> None:
    with pytest.raises(InvalidName):
        Route(**{"type": "workers", "event": "e", **required})


@pytest.mark.parametrize(
    ("option", "most"),
    [("requires", MOST_CAPABILITIES), ("only", MOST_WORKERS), ("anti_affinity", MOST_WORKERS)],
)
def test_too_much_is_refused_and_the_most_is_not(option: str, most: int) -> None:
    named = [f"n{n}" for n in range(most + 1)]
    # Once more is no more.
    Route("workers", "e", **{option: [*named[1:], *named[1:]]})  # type: ignore[arg-type]

    with pytest.raises(InvalidInput, match=f"{option} names {most + 1} values, the limit is"):
        Route("workers", "e", **{option: named})  # type: ignore[arg-type]


def test_requirements_that_leave_no_worker_are_refused() -> None:
    with pytest.raises(InvalidInput, match="no worker is left"):
        Route("workers", "e", only=("w1", "w2"), anti_affinity=("w2", "w1", "w3"))


def test_the_error_for_a_lane_too_many_says_of_which_sort() -> None:
    routed = no_room_for(Lane("q", Route("workers", "e", region="eu").name))

    assert isinstance(routed, TooManyRoutes)
    assert routed.limit == MAX_ROUTES
    assert "512 routes, or 1,024 lanes of routes" in str(routed)
    assert type(no_room_for(Lane("q", "encoder"))) is TooManyLanes


def test_a_job_is_given_its_options_without_its_route() -> None:
    route = to_json(Route("workers", "work", requires=("gpu",)).definition)

    assert without_route(b'{"route":' + route + b"}") == b""
    assert without_route(b'{"route":' + route + b',"timeout":5.0}') == b'{"timeout":5.0}'
    for unreadable in (b'{"route":', b'{"route":NaN}', b"[]"):
        assert without_route(unreadable) == unreadable
