"""The parts of the routing benchmark that measure nothing: fleet, lines of runs, goals."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.failures import Failed
from benchmarks.goals import Goal
from benchmarks.routing.fleet import (
    CAPABILITIES,
    DISCIPLINES,
    ROUTED,
    SHORTEST,
    UNROUTED,
    WORKERS,
    capabilities_of,
    routes_of,
)
from benchmarks.routing.runs import Emit, NewRuns, Run, measured, read_emits, write_emits
from benchmarks.routing.simulation import Arrival
from benchmarks.spread import Spread
from consumers.jobs.routes import Profile, matches

# The fleet


def test_the_ideal_knows_the_workers_that_match() -> None:
    workers = [
        Profile.checked(f"w-{it}", "workers", capabilities=capabilities_of(it), levels=None,
                        region=None)
        for it in range(WORKERS)
    ]  # fmt: skip

    for route, may_run in zip(routes_of("serve"), ROUTED.fleet.may_run, strict=True):
        assert [n for n, it in enumerate(workers) if matches(route, it)] == may_run
        assert len(may_run) == 12


def test_each_discipline_has_its_places() -> None:
    routed = [place.lane.type for place in ROUTED.places("serve")]

    assert routed == [it.name for it in routes_of("serve")]
    assert {place.lane.type for place in UNROUTED.places("serve")} == {"workers"}
    own = [place.lane.type for place in SHORTEST.places("serve")]
    assert own == [SHORTEST.type_of(it) for it in range(WORKERS)]
    for it in DISCIPLINES.values():
        assert len(it.fleet.may_run) == len(CAPABILITIES)


def test_a_routed_job_carries_its_requirements() -> None:
    first = ROUTED.places("serve")[0]

    assert first.options == b'{"route":{"event":"serve","requires":["code"]}}'


# Lines of runs


def test_a_run_is_read_from_its_line() -> None:
    run = Run(7, 3, 1.5, 2.25)

    assert Run.read(run.line) == run


def test_only_new_and_whole_lines_are_read(tmp_path: Path) -> None:
    file = tmp_path / "marks"
    new = NewRuns(file)
    first, second = Run(1, 0, 1.0, 2.0), Run(2, 5, 1.5, 2.5)
    with file.open("ab") as marks:
        marks.write(first.line + second.line[:4])
        marks.flush()
        assert list(new) == [first]
        marks.write(second.line[4:])
    assert list(new) == [second]
    assert list(new) == []


def test_what_was_emitted_is_read_again(tmp_path: Path) -> None:
    emits = [Emit(1.0, 1.125, 0), Emit(2.0, 2.0, 3)]
    write_emits(tmp_path / "emits", emits)

    assert read_emits(tmp_path / "emits") == emits


def test_a_job_has_waited_from_its_emit_to_its_first_run() -> None:
    runs = [Run(-1, 0, 0.0, 0.1), Run(1, 2, 3.0, 5.0), Run(0, 1, 1.25, 1.5), Run(1, 4, 9.0, 9.5)]

    arrivals, waits = measured([Emit(1.0, 1.0, 0), Emit(2.0, 2.5, 1)], runs)

    assert arrivals == [Arrival(1.0, 0.25, 0), Arrival(2.5, 2.0, 1)]
    assert waits == [0.25, 0.5]


def test_a_job_that_left_no_line_is_a_failure() -> None:
    with pytest.raises(Failed, match="1 of 1 jobs have left no line"):
        measured([Emit(1.0, 1.0, 0)], [])


# Goals


def spreads(**medians: float) -> dict[str, Spread]:
    return {name: Spread.of([value]) for name, value in medians.items()}


@pytest.mark.parametrize(
    ("ideal", "unrouted", "judged"),
    [(1.3, 2.0, "met"), (1.31, 1.05, "met"), (1.31, 1.06, "NOT MET")],
)
def test_a_goal_is_met_by_its_bound_or_the_one_instead(
    ideal: float, unrouted: float, judged: str
) -> None:
    goal = Goal("p99_to_ideal", at_most=1.3, unless=Goal("p99_to_unrouted", at_most=1.05))

    assert goal.judge(spreads(p99_to_ideal=ideal, p99_to_unrouted=unrouted)) == judged
    assert goal.about == "p99 to ideal at most 1.3, or p99 to unrouted at most 1.05"


def test_a_goal_may_be_a_least_value_and_needs_its_figure() -> None:
    goal = Goal("rate", at_least=2)

    assert goal.judge(spreads(rate=2.0)) == "met"
    assert goal.judge(spreads(rate=1.9)) == "NOT MET"
    assert goal.judge(spreads(other=2.0)) == "not measured"
