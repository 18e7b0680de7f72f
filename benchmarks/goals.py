"""What a workload's figures are to be, and whether they were."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from benchmarks.spread import Spread


@dataclass(frozen=True, slots=True)
class Goal:
    """The bound of a figure's median over all rounds: at most so much, or at least.

    If the machine was too busy for it, another goal may do instead, which is relative to
    something else that this machine did in the same rounds.
    """

    figure: str
    at_most: float | None = None
    at_least: float | None = None
    unless: Goal | None = None

    def judge(self, spreads: Mapping[str, Spread]) -> str:
        """Return "met" or "NOT MET", or "not measured" where its figure is missing."""
        if self.figure not in spreads:
            return "not measured"
        return "met" if self._is_met(spreads) else "NOT MET"

    def _is_met(self, spreads: Mapping[str, Spread]) -> bool:
        if self.figure in spreads:
            median, high, low = spreads[self.figure].median, self.at_most, self.at_least
            if (high is None or median <= high) and (low is None or median >= low):
                return True
        return self.unless is not None and self.unless._is_met(spreads)

    @property
    def about(self) -> str:
        """What is to be, in words."""
        bounds = {"at most": self.at_most, "at least": self.at_least}
        bound = " and ".join(f"{word} {it:g}" for word, it in bounds.items() if it is not None)
        words = f"{self.figure.replace('_', ' ')} {bound}"
        return words if self.unless is None else f"{words}, or {self.unless.about}"
