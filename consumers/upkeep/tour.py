"""Look at many lanes in portions: what every worker would do alone, a fleet does together."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Sequence

from consumers.chance import chance
from consumers.jobs.lanes import Lane

# As many lanes as this a worker looks at in each round, however large the fleet. So a tour
# of all lanes that a queue can have ends within 33 rounds, also where the rest of the fleet
# reads other queues.
LEAST = 32
# How often a lane is looked at in the time of a round, by all workers together. They do not
# go in step, so with 2 some 13 in 100 lanes wait for the next round.
_LOOKS = 2


def portion(lanes: int, workers: int) -> int:
    """Return how many of a queue's lanes one of so many workers looks at in a round."""
    return max(LEAST, math.ceil(_LOOKS * lanes / max(1, workers)))


class Tour:
    """Goes round the lanes of a queue by their names, on from where the last portion ended.

    It begins anywhere: workers that start together do not look at the same lanes.
    """

    def __init__(self) -> None:
        self._last: str | None = None

    def next(self, lanes: Sequence[Lane], most: int) -> list[Lane]:
        """Return the next lanes, each at most once."""
        if len(lanes) <= most:
            return list(lanes)
        ahead = sorted(lanes, key=_name)
        if self._last is None:
            self._last = chance.choice(ahead).name
        at = bisect_right(ahead, self._last, key=_name)
        chosen = (ahead[at:] + ahead[:at])[:most]
        self._last = chosen[-1].name
        return chosen


def _name(lane: Lane) -> str:
    return lane.name
