"""How late delayed jobs run, and what Redis does when a million are due at once."""

from __future__ import annotations

import time

from benchmarks.drains import deadline_s
from benchmarks.failures import Failed
from benchmarks.figures import Figures, percentiles
from benchmarks.roster import Contender, own_program
from benchmarks.setting import Crew, Setting
from benchmarks.spread import percentile

_SLOTS = 256
_WARM_UP = 100
# An emitting process has so long to start and to connect.
_START_S = 3.0
_FAR_AHEAD_S = 3_600
# The rehearsal is of few jobs, and the machine may have become busier after it.
_REHEARSED = 50_000
_RESERVE = 2.0
_SECONDS = 60.0
_SLOW_US = 1_000
_SLOW_LOG_ENTRIES = 10_000


def lateness(setting: Setting, _: Contender) -> Figures:
    """Return how long after their due times 10,000 jobs of one second start."""
    jobs = setting.sizes.scaled(10_000, quick=10_000)
    lead_s = _rehearse(setting, jobs)
    setting.clean()
    with setting.crew(own_program(), _SLOTS) as crew:
        _warm_up(setting, crew)
        _emit_due(setting, jobs, "late", lead_s, BENCH_DUE_OVER_MS="1000")
        crew.until(jobs, within=lead_s + _SECONDS, lines=True)
        return percentiles(crew.marks.waits_us())


def million(setting: Setting, _: Contender) -> Figures:
    """Return how long a worker takes for a million jobs of one due time, and Redis' worst.

    Commands are those of the server's slow log, scripts as a whole, that took a millisecond
    or more by the clock on the wall: whoever takes Redis' core away is in the slowest of them.
    The p99 is that of these commands only; 0 says that there were none.
    """
    jobs = setting.sizes.scaled(1_000_000, quick=20_000)
    lead_s = _rehearse(setting, jobs)
    setting.clean()
    with setting.crew(own_program(), _SLOTS) as crew:
        _warm_up(setting, crew)
        due_s = _emit_due(setting, jobs, "noop", lead_s)
        _log_slow_commands(setting)
        crew.until(jobs, within=lead_s + deadline_s(jobs))
        seconds = time.time() - due_s
    return {
        **_slow_commands(setting),
        "due_to_done_s": seconds,
        "jobs_per_s": jobs / seconds,
        "jobs": float(jobs),
    }


def _rehearse(setting: Setting, jobs: int) -> float:
    """Return how long (seconds) before they are due the emits of so many jobs must begin."""
    few = min(jobs, _REHEARSED)
    due_ms = _milliseconds(time.time() + _FAR_AHEAD_S)
    setting.clean()
    seconds = setting.emit(own_program(), "emit", few, env={"BENCH_DUE_MS": due_ms})
    return _START_S + seconds * jobs / few * _RESERVE


def _warm_up(setting: Setting, crew: Crew) -> None:
    setting.emit(own_program(), "emit", _WARM_UP)
    crew.until(_WARM_UP, within=_SECONDS)
    crew.marks.clear()


def _emit_due(setting: Setting, jobs: int, handler: str, lead_s: float, **env: str) -> float:
    """Emit jobs of which the first is due after so many seconds; return when, in Unix seconds."""
    due_s = time.time() + lead_s
    setting.emit(
        own_program(), "emit", jobs, handler, env={"BENCH_DUE_MS": _milliseconds(due_s), **env}
    )
    late_s = time.time() - due_s
    if late_s > 0:
        raise Failed(f"the emits ended {late_s:.1f} s after the first job was due")
    return due_s


def _milliseconds(seconds: float) -> str:
    return str(int(seconds * 1000))


def _log_slow_commands(setting: Setting) -> None:
    with setting.server.client() as client:
        client.config_set("slowlog-log-slower-than", _SLOW_US)
        client.config_set("slowlog-max-len", _SLOW_LOG_ENTRIES)
        client.slowlog_reset()


def _slow_commands(setting: Setting) -> Figures:
    with setting.server.client() as client:
        entries = client.slowlog_get(_SLOW_LOG_ENTRIES)
    took_ms = sorted(entry["duration"] / 1000 for entry in entries) or [0.0]
    return {
        "slowest_command_ms": took_ms[-1],
        "p99_slow_command_ms": percentile(took_ms, 0.99),
        "slow_commands": float(len(entries)),
    }
