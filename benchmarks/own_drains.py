"""How this project's drains change with priorities, backlog, processes and a Redis that writes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from benchmarks.drains import deadline_s
from benchmarks.figures import Figures, named
from benchmarks.roster import Contender, own_program
from benchmarks.setting import Setting
from benchmarks.sizing import QUICK_JOBS

_SLOTS = 256
_JOBS = 100_000


@dataclass(frozen=True, slots=True)
class Variant:
    """One of the drains that are compared.

    With first, it is the first so many jobs whose rate counts; untimed is the share of all
    jobs that is over before the clock starts, for processes that do not start together.
    A quick run has quick jobs in it, and leaves it out when that is 0.
    """

    jobs: int = _JOBS
    quick: int = QUICK_JOBS
    priorities: int = 1
    processes: int = 1
    aof: bool = False
    first: int | None = None
    untimed: float = 0.0


@dataclass(frozen=True, slots=True)
class Comparison:
    """Drains one after the other, by their names; the first is what others are held against."""

    variants: Mapping[str, Variant]

    def measure(self, setting: Setting, _: Contender) -> Figures:
        """Return the rate of each variant, and its ratio to the first one's."""
        figures: Figures = {}
        base = next(iter(self.variants))
        for name, variant in self.variants.items():
            if setting.quick and not variant.quick:
                continue
            figures |= named(name, _rates(setting, variant))
            if name != base:
                ratio = figures[f"{name}_jobs_per_s"] / figures[f"{base}_jobs_per_s"]
                figures[f"{name}_to_{base}"] = ratio
        return figures


def _rates(setting: Setting, variant: Variant) -> Figures:
    if variant.aof:
        setting = setting.on_aof()
    jobs = setting.sizes.scaled(variant.jobs, quick=variant.quick)
    setting.clean()
    setting.emit(own_program(), "emit", jobs, env={"BENCH_PRIORITIES": str(variant.priorities)})
    with setting.crew(own_program(), _SLOTS, processes=variant.processes) as crew:
        crew.first()
        begun = crew.until(round(variant.untimed * jobs), within=deadline_s(jobs))
        early = crew.until(min(variant.first or jobs, jobs), within=deadline_s(jobs))
        last = crew.until(jobs, within=deadline_s(jobs))
    figures = {"jobs_per_s": begun.rate_until(early)}
    if early.count < jobs:
        figures["whole_jobs_per_s"] = begun.rate_until(last)
    return figures


PRIORITIES = Comparison({"one": Variant(), "ten": Variant(priorities=10)})
LANES = Comparison({"one": Variant(), "all": Variant(priorities=32)})
BACKLOG = Comparison(
    {
        "10k": Variant(jobs=10_000, quick=10_000),
        "100k": Variant(jobs=100_000, quick=100_000),
        "1m": Variant(jobs=1_000_000, first=100_000, quick=0),
    }
)
WORKERS = Comparison(
    {
        name: Variant(jobs=200_000, quick=20_000, processes=processes, untimed=0.4)
        for name, processes in (("one", 1), ("two", 2), ("four", 4))
    }
)
AOF = Comparison({"plain": Variant(), "aof": Variant(aof=True)})
