"""What many lanes give together is what was wanted, found in few reads, highest first."""

from __future__ import annotations

from collections import Counter

import pytest

from consumers.fetch.sharing import LaneStreams, Sharing, streams_of
from consumers.jobs.lanes import Lane
from consumers.store.delivery import Stream
from consumers.store.keys import Keys

Backlog = dict[Stream, int]


def level(lanes: int, priority: int = 0) -> list[LaneStreams]:
    """Return the lanes of a level, each with its front."""
    queues = [Keys(f"q{number}") for number in range(lanes)]
    return [
        tuple(
            Stream(keys, Lane(keys.queue, priority=priority), "workers", front=front)
            for front in (True, False)
        )
        for keys in queues
    ]


def read(
    levels: list[list[LaneStreams]], wanted: int, backlog: Backlog, now: float = 0.0
) -> tuple[Counter[Stream], int, Sharing]:
    """Read as Redis answers; return what came of each stream, and in how many reads."""
    sharing, taken, reads = Sharing(levels, wanted, now=now), Counter[Stream](), 0
    for share in sharing:
        given = {it: min(share.most, backlog.get(it, 0)) for it in share.streams}
        given = {it: number for it, number in given.items() if number}
        for it, number in given.items():
            backlog[it] -= number
        sharing.brought(share, given)
        taken.update(given)
        reads += 1
    return taken, reads, sharing


def own(lanes: list[LaneStreams]) -> list[Stream]:
    """Return the streams that are no fronts."""
    return [lane[1] for lane in lanes]


@pytest.mark.parametrize("wanted", [1, 2, 3, 7, 10, 25, 100])
@pytest.mark.parametrize("lanes", [1, 2, 3, 10, 32, 320])
def test_lanes_that_are_all_full_give_no_more_than_is_wanted(lanes: int, wanted: int) -> None:
    named = level(lanes)

    taken, _, sharing = read([named], wanted, dict.fromkeys(own(named), 1000))

    assert 7 / 8 * wanted <= taken.total() <= wanted
    assert sharing.more_in == 0


@pytest.mark.parametrize("wanted", [1, 2, 100])
def test_one_lane_gives_all_in_one_read(wanted: int) -> None:
    named = level(1)

    taken, reads, _ = read([named], wanted, {named[0][1]: 1000})

    assert (taken.total(), reads) == (wanted, 1)


@pytest.mark.parametrize("depth", [1, 3])
def test_several_priorities_of_one_lane_are_named_in_one_read(depth: int) -> None:
    levels = [level(1, priority) for priority in range(depth, 0, -1)]
    lowest = levels[-1][0][1]

    taken, reads, sharing = read(levels, 50, {lowest: 1000})

    assert (taken.total(), reads, sharing.more_in) == (50, 1, depth - 1)


def test_the_only_full_lane_of_many_gives_all_that_is_wanted() -> None:
    named = level(10)

    taken, reads, _ = read([named], 100, {named[7][1]: 1000})

    assert (taken.total(), reads) == (100, 2)


@pytest.mark.parametrize("lanes", [10, 320])
def test_the_only_job_in_many_lanes_is_found_in_few_reads(lanes: int) -> None:
    for at in range(lanes):
        named = level(lanes)

        taken, reads, sharing = read([named], 1, {named[at][1]: 1})

        assert taken.total() == 1
        assert reads <= 4 * lanes.bit_length()
        assert sharing.more_in in (0, None)


# Four reads of each width, from 1 to 32, and two of 64.
_FOR_320 = 26


def test_that_many_lanes_are_empty_is_found_in_few_reads() -> None:
    taken, reads, sharing = read([level(320), level(320, -1)], 1, {})

    assert (taken.total(), reads, sharing.more_in) == (0, 2 * _FOR_320, None)


def test_lanes_that_others_empty_meanwhile_do_not_make_the_next_reads_wide() -> None:
    named = level(10)

    taken, _, _ = read([named], 1, dict.fromkeys(own(named[4:]), 1))

    assert taken.total() <= 2


def test_a_lower_level_gives_nothing_before_the_one_above_has_given_all() -> None:
    high, low = level(5, 1), level(5, 0)
    backlog = dict.fromkeys(own(low), 100) | {high[4][1]: 3}

    taken, _, _ = read([high, low], 3, backlog)

    assert taken == {high[4][1]: 3}


def test_lanes_that_were_empty_a_moment_ago_cost_no_read_of_their_own() -> None:
    levels = [level(10, 2), level(10, 1), level(10, 0)]
    busy = levels[2][3][1]
    read(levels, 1, {busy: 1})

    taken, reads, sharing = read(levels, 1, {busy: 100}, now=0.01)

    assert (taken, reads, sharing.more_in) == ({busy: 1}, 1, 2)


def test_a_job_that_comes_into_a_lane_that_was_empty_a_moment_ago_goes_before_lower_ones() -> None:
    levels = [level(10, 1), level(10, 0)]
    low, high = levels[1][3][1], levels[0][7][1]
    read(levels, 1, {low: 1})

    taken, _, _ = read(levels, 1, {low: 100, high: 1}, now=0.01)

    assert taken[high] == 1


def test_lanes_that_were_all_empty_a_moment_ago_give_no_more_than_is_wanted() -> None:
    named = level(10)
    read([named], 1, {})

    taken, _, _ = read([named], 1, dict.fromkeys(own(named), 1), now=0.01)

    assert taken.total() == 1


def test_a_higher_level_that_is_full_is_asked_again_before_a_lower_one() -> None:
    high, low = level(2, 1), level(2, 0)

    taken, _, sharing = read([high, low], 8, {high[0][1]: 100})

    assert taken == {high[0][1]: 8}
    assert sharing.more_in == 0


@pytest.mark.parametrize("wanted", [1, 3, 50])
def test_a_front_that_gave_something_is_asked_before_its_lane(wanted: int) -> None:
    named = level(1)
    backlog = dict.fromkeys(named[0], 1000)
    read([named], wanted, backlog)

    taken, reads, _ = read([named], wanted, backlog)

    assert (taken, reads) == ({named[0][0]: wanted}, 1)


def test_a_front_that_is_empty_again_is_named_with_its_lane() -> None:
    named = level(1)
    read([named], 10, {named[0][0]: 3})

    read([named], 10, {})
    taken, reads, _ = read([named], 10, {named[0][1]: 100})

    assert (taken.total(), reads) == (10, 1)


def test_fronts_of_a_lower_level_are_not_asked_before_the_level_above() -> None:
    high, low = level(1, 1), level(1, 0)
    low[0][0].gave = True

    taken, reads, sharing = read([high, low], 5, {low[0][0]: 2, low[0][1]: 100})

    assert taken == {low[0][0]: 2, low[0][1]: 3}
    assert (reads, sharing.more_in) == (2, 1)


def test_nothing_is_read_where_there_are_no_lanes() -> None:
    assert list(Sharing([], 5)) == []
    assert list(Sharing([[]], 5)) == []


def test_fronts_come_before_all_lanes() -> None:
    named = level(3)

    assert [it.front for it in streams_of(named)] == [True] * 3 + [False] * 3
