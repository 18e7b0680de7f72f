"""Names of lanes: what they say of type, event and version, and what is no name."""

from __future__ import annotations

import pytest

from consumers.jobs.lanes import Lane, listed_lanes

OWN_LANES = [
    (Lane("q"), 1, "event.send:default:0", "workers"),
    (Lane("q"), 2, "event.send@2:default:0", "workers"),
    (Lane("q", "gpu"), 1, "event.send@1~gpu:default:0", "gpu"),
    (Lane("q", "gpu", "tenant", -7), 3, "event.send@3~gpu:tenant:-7", "gpu"),
]


@pytest.mark.parametrize(("met_in", "version", "name", "group"), OWN_LANES)
def test_an_events_own_lane_is_that_of_one_type_and_version(
    met_in: Lane, version: int, name: str, group: str
) -> None:
    own = met_in.for_event("send", version)

    assert own.name == name
    assert (own.event, own.version, own.group) == ("send", version, group)
    assert listed_lanes("q", [name.encode()]) == [own]


@pytest.mark.parametrize(("met_in", "version", "name", "group"), OWN_LANES)
def test_a_job_that_a_worker_meets_in_its_events_lane_stays_in_it(
    met_in: Lane, version: int, name: str, group: str
) -> None:
    own = met_in.for_event("send", version)

    assert own.for_event("send", version) == own


def test_the_lane_of_a_type_is_of_no_event() -> None:
    lane = Lane("q", "gpu")

    assert (lane.event, lane.version, lane.group) == (None, 1, "gpu")


@pytest.mark.parametrize(
    "name",
    ["", "gpu", "a:b", "a:b:c", "event.x~gpu:a:0", "event.x@1~:a:0", "a:b:0:front"],
)
def test_what_is_no_name_of_a_lane_is_passed_over(name: str) -> None:
    assert listed_lanes("q", [name.encode(), b"gpu:a:0"]) == [Lane("q", "gpu", "a", 0)]
