"""Which lanes a worker looks at in a round, of more than it looks at in each."""

from __future__ import annotations

from consumers.jobs.lanes import MAX_EVENT_LANES, MAX_LANES, Lane
from consumers.upkeep.tour import LEAST, Tour, portion

MOST = MAX_LANES + MAX_EVENT_LANES


def lanes(number: int) -> list[Lane]:
    return [Lane("q", f"event.e{n}") for n in range(number)]


def test_every_lane_has_its_turn_before_any_has_its_second() -> None:
    tour, there = Tour(), lanes(100)

    seen = [lane for _ in range(10) for lane in tour.next(there, 10)]

    assert len(set(seen)) == len(seen) == 100


def test_few_lanes_are_all_looked_at_in_each_round() -> None:
    tour, there = Tour(), lanes(LEAST)

    assert [tour.next(there, LEAST) for _ in range(3)] == [there] * 3


def test_lanes_that_come_and_go_keep_no_other_from_its_turn() -> None:
    tour, there, seen = Tour(), lanes(100), set()
    come_and_go = [Lane("q", f"event.{n}-new") for n in range(50)]

    for at in range(0, 50, 5):
        seen |= set(tour.next(there + come_and_go[at : at + 5], 11))

    assert set(there) <= seen


def test_workers_that_start_together_begin_at_different_lanes() -> None:
    there = lanes(1000)

    assert len({Tour().next(there, 10)[0] for _ in range(20)}) > 1


def test_a_fleet_looks_at_each_lane_twice_a_round_whatever_its_size() -> None:
    for workers in (1, 2, 3, 10, 50):
        assert workers * portion(MOST, workers) >= 2 * MOST
    assert 200 * portion(MOST, 200) == 200 * LEAST


def test_no_tour_is_longer_than_33_rounds() -> None:
    tour, there = Tour(), lanes(MOST)

    rounds = [tour.next(there, portion(MOST, 10**6)) for _ in range(33)]

    assert {lane for lanes_ in rounds for lane in lanes_} == set(there)
