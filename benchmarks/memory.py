"""What a job takes of Redis' memory while it waits, is delayed, runs, and afterwards."""

from __future__ import annotations

import time

from benchmarks.drains import deadline_s
from benchmarks.failures import Failed
from benchmarks.figures import Figures
from benchmarks.roster import Contender, own_program
from benchmarks.setting import Setting
from benchmarks.sizing import QUICK_JOBS

_WAITING = 20_000
_IN_FLIGHT = 2_000
_DRAINED = 1_000_000
_WARM_UP = 100
_SLOTS = 256
_FAR_AHEAD_S = 3_600
_SETTLE_SECONDS = 10.0
_POLL_S = 0.05


def a_job(setting: Setting, who: Contender) -> Figures:
    """Return the bytes a job, above a server that is empty but has the scripts loaded.

    A job has a number for its data, and in waiting_100_bytes_per_job 100 bytes of JSON. After
    a drain it is all bytes together, above a server as new. Peers' jobs wait only.
    """
    figures = {
        "waiting_bytes_per_job": _waiting(setting, who),
        "waiting_100_bytes_per_job": _waiting(setting, who, data_bytes=100),
    }
    if who.ours:
        figures["delayed_bytes_per_job"] = _delayed(setting)
        figures["in_flight_bytes_per_job"] = _in_flight(setting)
        figures["after_drain_bytes"] = _after_drain(setting)
    return figures


def _waiting(setting: Setting, who: Contender, *, data_bytes: int = 0) -> float:
    jobs, env = setting.sizes.scaled(_WAITING, quick=QUICK_JOBS), {"BENCH_PADDING": str(data_bytes)}
    setting.clean()
    setting.emit(who, "emit-bulk", _WARM_UP, env=env)
    empty = _emptied(setting)
    setting.emit(who, "emit-bulk", jobs, env=env)
    return (_used(setting) - empty) / jobs


def _delayed(setting: Setting) -> float:
    jobs = setting.sizes.scaled(_WAITING, quick=QUICK_JOBS)
    empty = _used_by_scripts(setting)
    due_ms = int((time.time() + _FAR_AHEAD_S) * 1000)
    setting.emit(own_program(), "emit", jobs, env={"BENCH_DUE_MS": str(due_ms)})
    return (_used(setting) - empty) / jobs


def _in_flight(setting: Setting) -> float:
    jobs = setting.sizes.scaled(_IN_FLIGHT, quick=_IN_FLIGHT)
    empty = _used_by_scripts(setting)
    setting.emit(own_program(), "emit", jobs, "hold")
    with setting.crew(own_program(), jobs) as crew:
        crew.until(jobs, within=deadline_s(jobs))
    # The killed worker's jobs are still its own, but its connections are gone.
    return (_used(setting) - empty) / jobs


def _after_drain(setting: Setting) -> float:
    jobs = setting.sizes.scaled(_DRAINED, quick=QUICK_JOBS)
    setting.clean()
    empty = _used(setting)
    setting.emit(own_program(), "emit", jobs)
    with setting.crew(own_program(), _SLOTS, env={"BENCH_RESULT_TTL": "0"}) as crew:
        crew.until(jobs, within=deadline_s(jobs))
        crew.stop()
    return float(_used(setting) - empty)


def _used_by_scripts(setting: Setting) -> int:
    """Let every script run once; return the bytes in use without the jobs that took."""
    setting.clean()
    setting.emit(own_program(), "emit", _WARM_UP)
    with setting.crew(own_program(), _SLOTS) as crew:
        crew.until(_WARM_UP, within=deadline_s(_WARM_UP))
    return _emptied(setting)


def _emptied(setting: Setting) -> int:
    with setting.server.client() as client:
        client.flushall()
    return _used(setting)


def _used(setting: Setting) -> int:
    """Return the bytes in use when nobody but us is connected."""
    deadline, client = time.monotonic() + _SETTLE_SECONDS, setting.server.own()
    while client.info("clients")["connected_clients"] > 1:
        if time.monotonic() > deadline:
            raise Failed(f"clients were still connected {_SETTLE_SECONDS:.0f} s after their end")
        time.sleep(_POLL_S)
    return int(client.info("memory")["used_memory"])
