"""What a run has measured, and how contenders compare."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from benchmarks.figures import Figures
from benchmarks.roster import OURS, Contender
from benchmarks.spread import Spread
from benchmarks.workloads import Workload

Outcome = Literal["measured", "failed", "unable"]


@dataclass(frozen=True, slots=True)
class Measurement:
    """One workload done once by one contender; why is for those without figures."""

    workload: str
    contender: str
    round: int
    outcome: Outcome
    figures: Figures = field(default_factory=dict)
    why: str = ""


@dataclass(frozen=True, slots=True)
class Ratio:
    """How many times better ours is than a peer's: above 1 is ours, whatever the figure."""

    peer: str
    spread: Spread


class Results:
    """The measurements of a run, in the order they were made; complete when it came to its end."""

    def __init__(self) -> None:
        self.measurements: list[Measurement] = []
        self.complete = False

    def add(self, measurement: Measurement) -> None:
        self.measurements.append(measurement)

    @property
    def failures(self) -> list[Measurement]:
        return [it for it in self.measurements if it.outcome == "failed"]

    @property
    def unable(self) -> dict[tuple[str, str], str]:
        """By workload and contender: why it has no way to do it."""
        unable = (it for it in self.measurements if it.outcome == "unable")
        return {(it.workload, it.contender): it.why for it in unable}

    def gave_up(self, workload: str, contender: str) -> bool:
        """Whether to ask no more: it is unable to, or has failed twice."""
        theirs = (workload, contender)
        failed = sum((it.workload, it.contender) == theirs for it in self.failures)
        return theirs in self.unable or failed >= _FAILURES

    def contenders(self, workload: str) -> list[str]:
        """Return who has figures for a workload, in the order they came."""
        return list(dict.fromkeys(it.contender for it in self._measured(workload)))

    def values(self, workload: str, contender: str, figure: str) -> dict[int, float]:
        """Return a figure's values by round."""
        theirs = (it for it in self._measured(workload) if it.contender == contender)
        return {it.round: it.figures[figure] for it in theirs if figure in it.figures}

    def spreads(self, workload: str, contender: str) -> dict[str, Spread]:
        """Return the spreads of all figures of a contender, in the order they were given."""
        theirs = [it.figures for it in self._measured(workload) if it.contender == contender]
        names = dict.fromkeys(name for figures in theirs for name in figures)
        return {
            name: Spread.of(figures[name] for figures in theirs if name in figures)
            for name in names
        }

    def ratios(self, workload: Workload, contenders: Iterable[Contender]) -> list[Ratio]:
        """Return how ours compares with the best peer in Python, and with each that is not.

        A round's ratio is that of what both have measured in it, so that a machine that
        changes its pace between rounds changes both sides.
        """
        present = set(self.contenders(workload.name))
        peers = [it for it in contenders if not it.ours and it.name in present]
        rivals = self._best(workload, [it.name for it in peers if it.language == "python"])
        rivals += [it.name for it in peers if it.language != "python"]
        ratios = (self._ratio(workload, rival) for rival in rivals)
        return [ratio for ratio in ratios if ratio is not None]

    def _best(self, workload: Workload, names: Sequence[str]) -> list[str]:
        def median(name: str) -> float:
            return Spread.of(self.values(workload.name, name, workload.headline).values()).median

        best = min if workload.less_is_better else max
        return [best(names, key=median)] if names else []

    def _ratio(self, workload: Workload, rival: str) -> Ratio | None:
        ours = self.values(workload.name, OURS, workload.headline)
        theirs = self.values(workload.name, rival, workload.headline)
        sign = -1 if workload.less_is_better else 1
        both = [(ours[number], theirs[number]) for number in ours if number in theirs]
        if not both or not all(a > 0 and b > 0 for a, b in both):
            return None
        return Ratio(rival, Spread.of((a / b) ** sign for a, b in both))

    def _measured(self, workload: str) -> list[Measurement]:
        return [
            it for it in self.measurements if it.workload == workload and it.outcome == "measured"
        ]

    def as_json(
        self, workloads: Iterable[Workload], contenders: Sequence[Contender]
    ) -> dict[str, Any]:
        """Return everything as JSON values: each measurement, the spreads, the ratios."""
        return {
            "complete": self.complete,
            "measurements": [_measurement(it) for it in self.measurements],
            "workloads": [self._workload(it, contenders) for it in workloads],
        }

    def _workload(self, workload: Workload, contenders: Sequence[Contender]) -> dict[str, Any]:
        return {
            "name": workload.name,
            "about": workload.about,
            "headline": workload.headline,
            "less_is_better": workload.less_is_better,
            "contenders": {
                name: {
                    figure: _spread(spread)
                    for figure, spread in self.spreads(workload.name, name).items()
                }
                for name in self.contenders(workload.name)
            },
            "ours_times_better_than": {
                it.peer: _spread(it.spread) for it in self.ratios(workload, contenders)
            },
            "goals": [
                {"goal": goal.about, "is": goal.judge(self.spreads(workload.name, name))}
                for name in self.contenders(workload.name)
                for goal in workload.goals
            ],
        }


_FAILURES = 2


def _measurement(it: Measurement) -> dict[str, Any]:
    named = {"workload": it.workload, "contender": it.contender, "round": it.round}
    return {**named, "outcome": it.outcome, "figures": it.figures, "why": it.why}


def _spread(spread: Spread) -> dict[str, Any]:
    return {
        "median": spread.median,
        "min": spread.low,
        "max": spread.high,
        "values": list(spread.values),
    }
