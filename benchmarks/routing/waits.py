"""How long jobs wait at load 0.9, for each way to hand them out, beside the ideal queue."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.figures import Figures, named
from benchmarks.goals import Goal
from benchmarks.roster import Contender, fleet_program
from benchmarks.routing.fleet import DISCIPLINES, EVENT, PROCESSES, SLOTS, WORKERS, Discipline
from benchmarks.routing.runs import Emit, Run, measured, read_emits
from benchmarks.routing.simulation import central_queue
from benchmarks.setting import Setting
from benchmarks.spread import percentile

_LOAD = 0.9
# Much longer than what a machine is late, which is no part of the ideal.
_MEAN_S = 0.2
_JOBS, _QUICK_JOBS = 8_000, 1_000
_SECONDS = 120.0


@dataclass(frozen=True, slots=True)
class Waits:
    """The waits of jobs with service times of a distribution; the round is the seed."""

    services: str

    def measure(self, setting: Setting, _: Contender) -> Figures:
        """Return the percentiles of each way's waits, their ratios to the ideal and to routes."""
        ways = list(DISCIPLINES.values())
        # A machine that gets slower within a round is fair to both ends in turn.
        order = ways if setting.round % 2 else ways[::-1]
        found = {it.name: self._figures(setting, it) for it in order}
        figures: Figures = {}
        for it in ways:
            figures |= named(it.name, found[it.name])
        return {**figures, **_ratios(figures)}

    def _figures(self, setting: Setting, discipline: Discipline) -> Figures:
        emits, runs = self._run(setting, discipline)
        arrivals, waits = measured(emits, runs)
        p99, ideal = _ms(waits, 0.99), _ms(central_queue(arrivals, discipline.fleet), 0.99)
        return {
            "p50_ms": _ms(waits, 0.5),
            "p99_ms": p99,
            "ideal_p99_ms": ideal,
            # Few jobs may have to wait for nothing.
            **({"p99_to_ideal": p99 / ideal} if ideal else {}),
            "late_emits_p99_ms": _ms([it.at - it.due for it in emits], 0.99),
        }

    def _run(self, setting: Setting, discipline: Discipline) -> tuple[list[Emit], list[Run]]:
        setting.clean()
        who, jobs = fleet_program(), setting.sizes.scaled(_JOBS, quick=_QUICK_JOBS)
        env = self._environment(setting, discipline)
        with setting.crew(who, SLOTS, EVENT, processes=PROCESSES, env=env) as crew:
            # Each worker leaves a line when it has started, and each place has a first job.
            crew.until(WORKERS, within=_SECONDS, lines=True)
            crew.marks.clear()
            setting.emit(who, "emit", jobs, EVENT, env=env)
            crew.until(jobs + len(discipline.places(EVENT)), within=_SECONDS, lines=True)
            runs = [Run.read(line) for line in crew.marks.path.read_bytes().splitlines()]
        return read_emits(_emits(setting)), runs

    def _environment(self, setting: Setting, discipline: Discipline) -> dict[str, str]:
        return {
            "BENCH_DISCIPLINE": discipline.name,
            "BENCH_PREFETCH": "0",
            "BENCH_SERVICES": self.services,
            "BENCH_MEAN_S": str(_MEAN_S),
            "BENCH_LOAD": str(_LOAD),
            "BENCH_SEED": str(setting.round),
            "BENCH_EMITS": str(_emits(setting)),
        }


def _emits(setting: Setting) -> Path:
    return setting.folder / "emits"


def _ms(waits: Sequence[float], share: float) -> float:
    """Return a percentile in milliseconds, without the first tenth, in which queues fill."""
    return percentile(sorted(waits[len(waits) // 10 :]), share) * 1000


def _ratios(figures: Figures) -> Figures:
    routed = figures["routed_p99_ms"]
    return {
        "routed_p99_to_unrouted": routed / figures["unrouted_p99_ms"],
        "shortest_p99_to_routed": figures["shortest_p99_ms"] / routed,
        "two_choices_p99_to_routed": figures["two_choices_p99_ms"] / routed,
    }


GOALS = (
    Goal("routed_p99_to_ideal", at_most=1.3, unless=Goal("routed_p99_to_unrouted", at_most=1.05)),
    Goal("shortest_p99_to_routed", at_least=1.5),
    Goal("two_choices_p99_to_routed", at_least=2.5),
)
