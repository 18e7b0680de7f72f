"""Medians, spreads and percentiles of measured figures."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Spread:
    """The median of some values of one figure, with the smallest and the largest of them."""

    median: float
    low: float
    high: float
    values: tuple[float, ...]

    @classmethod
    def of(cls, values: Iterable[float]) -> Spread:
        """Return the spread of at least one value; they keep their order."""
        kept = tuple(values)
        if not kept:
            raise ValueError("there is no spread of no values: give at least one")
        return cls(statistics.median(kept), min(kept), max(kept), kept)


def percentile(ordered: Sequence[float], share: float) -> float:
    """Return the smallest of the ordered values that a share of them (0 to 1) does not exceed."""
    if not ordered:
        raise ValueError("there is no percentile of no values: give at least one")
    # The rounding takes away what 0.07 * 100 has too much.
    rank = math.ceil(round(share * len(ordered), 9))
    return ordered[max(rank, 1) - 1]
