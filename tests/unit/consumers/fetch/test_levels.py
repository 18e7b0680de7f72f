"""In which order the lanes of a priority are asked."""

from __future__ import annotations

from collections import Counter

from consumers.fetch.levels import Level
from consumers.jobs.lanes import Lane
from consumers.store.delivery import Stream
from consumers.store.keys import Keys


def level(lanes: int) -> Level:
    queues = [Keys(f"q{number}") for number in range(lanes)]
    return Level(0, [(keys, Lane(keys.queue)) for keys in queues], "workers", set())


def mark(stream: Stream, *, gave: bool, looked: float) -> None:
    stream.gave, stream.looked = gave, looked


def first_of(one: Level, now: float) -> str:
    return one.in_turn(now)[0][0].lane.queue


def test_lanes_with_a_backlog_take_turns_wherever_they_stand() -> None:
    one = level(32)
    for at, lane in enumerate(one.lanes):
        mark(lane[1], gave=at in (3, 4, 20), looked=10.0)

    first = Counter[str]()
    for _ in range(30):
        one.turn()
        first[first_of(one, 10.0)] += 1

    assert first == {"q3": 10, "q4": 10, "q20": 10}


def test_an_empty_lane_is_asked_first_once_it_was_not_asked_for_a_while() -> None:
    one = level(3)
    for at, lane in enumerate(one.lanes):
        mark(lane[1], gave=at == 0, looked=10.0 if at < 2 else 9.0)

    queues = [lane[0].lane.queue for lane in one.in_turn(10.0)]

    assert queues == ["q2", "q0", "q1"]


def test_each_lane_is_asked_once_and_new_ones_take_turns_as_well() -> None:
    one = level(5)
    first = set()
    for _ in range(5):
        one.turn()
        assert len({lane[0].key for lane in one.in_turn(0.0)}) == 5
        first.add(first_of(one, 0.0))

    assert len(first) == 5


def split(*lanes: tuple[str, str]) -> Level:
    """Return a level with these lanes, by partition and route, each with a backlog."""
    keys = Keys("q")
    one = Level(
        0, [(keys, Lane("q", f"workers+{it}", part)) for part, it in lanes], "workers", set()
    )
    for lane in one.lanes:
        mark(lane[1], gave=True, looked=10.0)
    return one


def names(one: Level) -> list[str]:
    return [lane[1].lane.route.partition("+")[2] for lane in one.in_turn(10.0)]


def test_of_the_routes_of_a_partition_the_one_with_the_oldest_job_comes_first() -> None:
    one = split(("p", "a"), ("p", "b"), ("p", "c"))
    for lane, last_ms in zip(one.lanes, (30, 10, 20), strict=True):
        lane[1].last_ms = last_ms

    for _ in range(3):
        one.turn()
        assert names(one) == ["b", "c", "a"]


def test_partitions_take_turns_however_many_routes_they_have() -> None:
    one = split(("p", "a"), ("p", "b"), ("p", "c"), ("other", "d"))
    one.lanes[3][1].last_ms = 40

    orders = []
    for _ in range(2):
        one.turn()
        orders.append(names(one))

    assert sorted(orders) == [["a", "d", "b", "c"], ["d", "a", "b", "c"]]


def test_redis_is_asked_for_the_order_only_where_it_matters() -> None:
    assert level(5).unordered(1) == []
    routes = split(*(("p", f"r{it}") for it in range(80)))

    assert routes.unordered(80) == []
    assert routes.unordered(0) == []
    asked = {stream.lane.route for _ in range(2) for stream in routes.unordered(1)}
    assert len(asked) == 64
    for _ in range(80):
        routes.turn()
        asked |= {stream.lane.route for stream in routes.unordered(1)}
    assert len(asked) == 80
