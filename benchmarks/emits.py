"""How fast jobs are emitted in each of the ways."""

from __future__ import annotations

from dataclasses import dataclass

from benchmarks.figures import Figures
from benchmarks.roster import Contender
from benchmarks.setting import Setting
from benchmarks.sizing import Target

_TARGET = Target(seconds=2.0, least=500, most=100_000)


@dataclass(frozen=True, slots=True)
class Emits:
    """Emits in one mode, as many jobs as take about two seconds."""

    mode: str

    def measure(self, setting: Setting, who: Contender) -> Figures:
        """Return the rate, and what each emit has cost Redis; connecting is not timed."""
        key = (self.mode, who.name)
        if not setting.sizes.knows(key):
            rate = self._emit(setting, who, setting.sizes.jobs(key, _TARGET))["jobs_per_s"]
            setting.sizes.learn(key, rate)
        figures = self._emit(setting, who, setting.sizes.jobs(key, _TARGET))
        setting.sizes.learn(key, figures["jobs_per_s"])
        return figures

    def _emit(self, setting: Setting, who: Contender, jobs: int) -> Figures:
        setting.clean()
        before = setting.read()
        seconds = setting.emit(who, self.mode, jobs)
        costs = before.costs_until(setting.read(), jobs)
        return {"jobs_per_s": jobs / seconds, **costs, "jobs": float(jobs)}
