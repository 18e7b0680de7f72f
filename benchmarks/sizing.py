"""How many jobs a measurement gets, so that it takes about as long for every contender."""

from __future__ import annotations

from dataclasses import dataclass, field

Key = tuple[str, str]

QUICK_JOBS = 5_000


@dataclass(frozen=True, slots=True)
class Target:
    """How long a measurement is to take (seconds), and how many jobs it may have for that."""

    seconds: float
    least: int = 1_000
    most: int = 200_000

    def jobs(self, rate: float) -> int:
        """Return the jobs, in whole hundreds, that take that long at a rate (jobs a second)."""
        wanted = min(max(rate * self.seconds, self.least), self.most)
        return max(round(wanted / 100), 1) * 100


@dataclass(slots=True)
class Sizes:
    """The numbers of jobs of a run; quick ones are not calibrated, and most is for all a limit."""

    quick: bool = False
    most: int | None = None
    _rates: dict[Key, float] = field(default_factory=dict)

    def knows(self, key: Key) -> bool:
        """Whether a measurement can be sized without a calibration."""
        return self.quick or self.most is not None or key in self._rates

    def learn(self, key: Key, rate: float) -> None:
        """Remember the rate (jobs a second) that the next size is for."""
        self._rates[key] = rate

    def jobs(self, key: Key, target: Target) -> int:
        """Return how many jobs the next measurement has; the least when nothing is known."""
        return self.scaled(target.jobs(self._rates.get(key, 0.0)), quick=QUICK_JOBS)

    def scaled(self, full: int, *, quick: int) -> int:
        """Return the jobs of a measurement that has so many in a full run, and in a quick one."""
        jobs = quick if self.quick else full
        return jobs if self.most is None else min(jobs, self.most)
