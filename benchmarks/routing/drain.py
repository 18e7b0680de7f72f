"""How fast one worker works off jobs of routes, beside jobs that every worker may run."""

from __future__ import annotations

from benchmarks.drains import drained
from benchmarks.figures import Figures, named
from benchmarks.goals import Goal
from benchmarks.roster import Contender, fleet_program
from benchmarks.routing.fleet import ROUTED, UNROUTED, Discipline
from benchmarks.setting import Setting

_SLOTS = 256
_JOBS, _QUICK_JOBS = 100_000, 5_000
GOALS = (Goal("routed_to_unrouted", at_least=0.9),)


def drains(setting: Setting, _: Contender) -> Figures:
    """Return the rates and costs of both drains, and the ratio of the rates."""
    ways = [UNROUTED, ROUTED]
    order = ways if setting.round % 2 else ways[::-1]
    found = {it.name: _drain(setting, it) for it in order}
    ratio = found["routed"]["jobs_per_s"] / found["unrouted"]["jobs_per_s"]
    figures = {name: value for it in ways for name, value in named(it.name, found[it.name]).items()}
    return {**figures, "routed_to_unrouted": ratio}


def _drain(setting: Setting, discipline: Discipline) -> Figures:
    setting.clean()
    jobs = setting.sizes.scaled(_JOBS, quick=_QUICK_JOBS)
    env = {"BENCH_DISCIPLINE": discipline.name, "BENCH_WORKERS": "1"}
    setting.emit(fleet_program(), "emit-bulk", jobs, "noop", env=env)
    with setting.crew(fleet_program(), _SLOTS, "noop", env=env) as crew:
        return drained(setting, crew, jobs)
