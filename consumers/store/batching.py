"""How much leaves together in one batch of a script."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

from consumers.store.steps import BATCH_BYTES, BATCH_ITEMS

T = TypeVar("T")
# How many of the items of a batch something is, and how many bytes.
Cost = tuple[int, int]


def take(waiting: deque[T], cost: Callable[[T], Cost], most: int = BATCH_ITEMS) -> list[T]:
    """Take the first of what waits, as much as a script takes, but one at least."""
    taken: list[T] = []
    number = size = 0
    for it in waiting:
        items, more = cost(it)
        number += items
        size += more
        if taken and (number > most or size > BATCH_BYTES):
            break
        taken.append(it)
    if len(taken) == len(waiting):
        waiting.clear()
    else:
        for _ in taken:
            waiting.popleft()
    return taken


def put_back(waiting: deque[T], taken: Sequence[T]) -> None:
    """Let what was taken leave before all that waits."""
    waiting.extendleft(reversed(taken))


def chunks(items: Sequence[T]) -> Iterator[Sequence[T]]:
    """Yield a sequence in pieces of as many items as a script takes."""
    for start in range(0, len(items), BATCH_ITEMS):
        yield items[start : start + BATCH_ITEMS]
