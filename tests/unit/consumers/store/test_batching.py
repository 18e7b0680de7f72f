"""How much leaves together: no more than a script takes, but one at least, and in order."""

from __future__ import annotations

from collections import deque

import pytest

from consumers.store.batching import chunks, put_back, take
from consumers.store.steps import BATCH_BYTES, BATCH_ITEMS


def costs_of_a_pair(it: tuple[int, int]) -> tuple[int, int]:
    return it


@pytest.mark.parametrize(
    ("waiting", "number"),
    [
        ([], 0),
        ([(1, 0)], 1),
        ([(1, 0)] * BATCH_ITEMS, BATCH_ITEMS),
        ([(1, 0)] * (BATCH_ITEMS + 1), BATCH_ITEMS),
        ([(1, BATCH_BYTES // 2)] * 3, 2),
        ([(1, BATCH_BYTES + 1), (1, 0)], 1),
        ([(BATCH_ITEMS + 1, 0), (1, 0)], 1),
        ([(1, 0), (BATCH_ITEMS, 0)], 1),
    ],
)
def test_as_much_is_taken_as_a_script_takes(waiting: list[tuple[int, int]], number: int) -> None:
    left = deque(waiting)

    taken = take(left, costs_of_a_pair)

    assert taken == waiting[:number]
    assert list(left) == waiting[number:]


def test_fewer_are_taken_where_fewer_leave_together() -> None:
    assert take(deque([(1, 0)] * 5), costs_of_a_pair, 2) == [(1, 0)] * 2


def test_what_is_put_back_leaves_first_and_in_its_order() -> None:
    waiting = deque([1, 2, 3, 4])
    taken = [waiting.popleft() for _ in range(3)]

    put_back(waiting, taken)

    assert list(waiting) == [1, 2, 3, 4]


def test_chunks_are_all_of_a_sequence_in_pieces() -> None:
    items = list(range(2 * BATCH_ITEMS + 1))

    assert [len(it) for it in chunks(items)] == [BATCH_ITEMS, BATCH_ITEMS, 1]
    assert [it for chunk in chunks(items) for it in chunk] == items
