"""How fast one worker process works off jobs that were emitted before it started."""

from __future__ import annotations

from dataclasses import dataclass

from benchmarks.figures import Figures
from benchmarks.roster import Contender
from benchmarks.setting import Crew, Setting
from benchmarks.sizing import Target

# A measured drain is as long as start-up effects are short beside it.
_TARGET = Target(seconds=3.0)
# The first calibration drain has few jobs, for those who are slow; who is fast has another.
_CALIBRATION = Target(seconds=0.5)
_LONG_ENOUGH = 10
# At a rate below 50 jobs a second nobody waits for the end.
_DRAIN_SECONDS = 60.0
_SLOWEST_RATE = 2_000
_FEW = 20


@dataclass(frozen=True, slots=True)
class Drain:
    """A drain of jobs for one handler by a worker with so many slots.

    ideal is the rate (jobs a second) that the handlers alone would allow, if they do.
    """

    handler: str
    slots: int
    ideal: float | None = None

    def measure(self, setting: Setting, who: Contender) -> Figures:
        """Return the rate and what each job has cost; the number of jobs is calibrated."""
        key = (f"{self.handler}-{self.slots}", who.name)
        if not setting.sizes.knows(key):
            self._calibrate(setting, who, key)
        figures = self._drain(setting, who, setting.sizes.jobs(key, _TARGET))
        setting.sizes.learn(key, figures["jobs_per_s"])
        if self.ideal:
            figures["share_of_ideal"] = figures["jobs_per_s"] / self.ideal
        return figures

    def _calibrate(self, setting: Setting, who: Contender, key: tuple[str, str]) -> None:
        for _ in range(2):
            jobs = setting.sizes.jobs(key, _CALIBRATION)
            rate = self._drain(setting, who, jobs)["jobs_per_s"]
            setting.sizes.learn(key, rate)
            if setting.sizes.jobs(key, _TARGET) < _LONG_ENOUGH * jobs:
                return

    def _drain(self, setting: Setting, who: Contender, jobs: int) -> Figures:
        setting.clean()
        setting.emit(who, "emit-bulk", jobs, self.handler)
        with setting.crew(who, self.slots, self.handler) as crew:
            return drained(setting, crew, jobs)


def drained(setting: Setting, crew: Crew, jobs: int) -> Figures:
    """Wait until a crew has done so many jobs; return the rate and the cost of each.

    Timed from the first mark that is seen to the last, so without the start of the worker.
    """
    first = crew.first()
    before = setting.read(crew)
    last = crew.until(jobs, within=deadline_s(jobs))
    after = setting.read(crew)
    return {
        "jobs_per_s": first.rate_until(last),
        **before.costs_until(after, last.count - first.count),
        "jobs": float(last.count),
    }


def deadline_s(jobs: int) -> float:
    """Return how long a drain of so many jobs may take."""
    return _DRAIN_SECONDS + jobs / _SLOWEST_RATE
