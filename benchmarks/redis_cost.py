"""What each step of a job costs Redis in processor time, beside a plain loop on a stream."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping

import redis as redis_py

from benchmarks.figures import Figures
from benchmarks.roster import Contender
from benchmarks.setting import Setting
from benchmarks.steps import JOBS_OF_A_ROUND, Part, Steps, both_sides, parts

# A machine that changes its pace within a measurement meets both sides, slice by slice.
_SLICES = 10
_JOBS = 50_000
_QUICK_JOBS = 5_000
_DRAIN = ("read", "settle")
_WHOLE = ("emit", *_DRAIN)


def of_a_job(setting: Setting, _: Contender) -> Figures:
    """Return the microseconds per job of each step on both sides, and their ratios.

    emit, read and settle are in batches; single_emit and single_settle are one at a time. Ours
    are named after the step, those of the loop are plain_<step>.
    """
    setting.clean()
    jobs = setting.sizes.scaled(_JOBS, quick=_QUICK_JOBS)
    walk = parts(max(jobs // _SLICES // JOBS_OF_A_ROUND, 1))
    with both_sides(setting.server.port) as sides, setting.server.client() as client:
        spent = _measured(client, sides, walk)
    us = {name: cost / _SLICES for name, cost in spent.items()}
    return {**{f"{name}_us_per_job": cost for name, cost in us.items()}, **_ratios(us)}


def _measured(
    client: redis_py.Redis, sides: Mapping[str, Steps], walk: list[Part]
) -> Mapping[str, float]:
    """Return the microseconds per job that all slices together have taken."""
    spent = defaultdict[str, float](float)
    for number in range(_SLICES):
        for prefix, steps in sorted(sides.items(), reverse=bool(number % 2)):
            for part in walk:
                before = _cpu_s(client)
                part.do(steps)
                cost = (_cpu_s(client) - before) * 1e6 / part.all_jobs
                spent[f"{prefix}{part.name}"] += cost
    return spent


def _ratios(us: Mapping[str, float]) -> Figures:
    """Return how many times the cost of the loop ours is: per step, of a drain, of a whole job."""
    wanted = {
        "emit": ("emit",),
        "single_emit": ("single_emit",),
        "read": ("read",),
        "settle": ("settle",),
        "single_settle": ("single_settle",),
        "drain": _DRAIN,
        "job": _WHOLE,
    }
    return {
        f"{name}_to_plain": sum(us[it] for it in steps) / sum(us[f"plain_{it}"] for it in steps)
        for name, steps in wanted.items()
    }


def _cpu_s(client: redis_py.Redis) -> float:
    cpu = client.info("cpu")
    return float(cpu["used_cpu_user"]) + float(cpu["used_cpu_sys"])
