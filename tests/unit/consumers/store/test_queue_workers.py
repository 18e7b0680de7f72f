"""What a worker tells of itself in a queue: written and read, also by other versions."""

from __future__ import annotations

import json
from typing import Any

import pytest

from consumers.jobs.routes import Profile, Route
from consumers.store.queue_workers import WorkerState

PROFILE = Profile("enc-1", "encoder", frozenset({"gpu", "av1"}), frozenset({5, -1}), "eu")
STATE = WorkerState(PROFILE, 4, 2, frozenset({"transcode"}), 1)
ROUTE = Route("encoder", "transcode", requires=("gpu",))


def told(**changes: Any) -> bytes:
    """Return what the worker tells, with some of it changed."""
    return json.dumps({**json.loads(STATE.written()), **changes}).encode()


@pytest.mark.parametrize(
    "state",
    [
        STATE,
        WorkerState(Profile("w"), 1, 0, frozenset(), 1),
        WorkerState(PROFILE, 4, 0, frozenset({"a", "b"}), 2, stopping=True),
    ],
)
def test_what_is_written_is_read(state: WorkerState) -> None:
    assert WorkerState.read(state.written()) == state


def test_it_is_written_as_json_for_people() -> None:
    assert json.loads(STATE.written()) == {
        "name": "enc-1", "type": "encoder", "capabilities": ["av1", "gpu"], "levels": [-1, 5],
        "region": "eu", "slots": 4, "running": 2, "events": ["transcode"], "envelope": 1,
        "stopping": False,
    }  # fmt: skip


def test_what_a_newer_version_tells_besides_is_passed_over() -> None:
    assert WorkerState.read(told(mood="good")) == STATE


@pytest.mark.parametrize(
    "text",
    [
        b"", b"x", b"[]", b"1", b"{}", b"\xff", told(name="a b"), told(type=None),
        told(capabilities="gpu"), told(capabilities=[1]), told(capabilities={"gpu": 1}),
        told(levels=[]), told(levels=["high"]),
        told(region=7), told(slots="4"), told(running=None), told(events=3), told(envelope=True),
        told(slots=-5), told(running=-1), told(slots=10**30), told(events="abc"),
        told(events=["a", 3]), told(events=["\x1b[31mred"]), told(events=["\ud800"]),
    ],
)  # fmt: skip
def test_what_somebody_else_wrote_is_not_read(text: bytes) -> None:
    assert WorkerState.read(text) is None


def test_a_worker_may_run_a_route_that_it_matches_and_whose_event_it_handles() -> None:
    assert STATE.may_run(ROUTE)
    assert not STATE.may_run(Route("encoder", "transcode", requires=("hdr",)))
    assert not STATE.may_run(Route("encoder", "resize", requires=("gpu",)))


def test_a_worker_that_stops_may_run_nothing() -> None:
    assert not WorkerState(PROFILE, 4, 2, STATE.events, 1, stopping=True).may_run(ROUTE)


def test_a_worker_handles_the_entries_of_its_version_and_of_older_ones() -> None:
    state = WorkerState(PROFILE, 4, 2, frozenset({"e"}), 2)

    assert [state.handles("e", version) for version in (1, 2, 3)] == [True, True, False]
