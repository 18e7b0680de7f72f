"""What jobs cost in Redis, on the wire and in the processes of a worker."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import redis as redis_py

from benchmarks.figures import Figures

_PROC = Path("/proc")


@dataclass(frozen=True, slots=True)
class Reading:
    """The counters of a server and of some worker processes at one moment.

    CPU is in seconds, user and system together; worker_cpu_s is None where
    there is no /proc. Commands are those that Redis has counted: with every
    one that a script has called.
    """

    redis_cpu_s: float
    commands: int
    wire_bytes: int
    worker_cpu_s: float | None = None

    @classmethod
    def now(cls, client: redis_py.Redis, leaders: Iterable[int] = ()) -> Reading:
        """Read them; leaders are the process ids of those who lead a worker's session."""
        stats, cpu = client.info("stats"), client.info("cpu")
        return cls(
            redis_cpu_s=float(cpu["used_cpu_user"]) + float(cpu["used_cpu_sys"]),
            commands=int(stats["total_commands_processed"]),
            wire_bytes=int(stats["total_net_input_bytes"]) + int(stats["total_net_output_bytes"]),
            worker_cpu_s=sessions_cpu_s(set(leaders)),
        )

    def costs_until(self, later: Reading, jobs: int) -> Figures:
        """Return what each of so many jobs has cost between this reading and a later one."""
        costs = {
            "redis_us_per_job": (later.redis_cpu_s - self.redis_cpu_s) * 1e6,
            "redis_commands_per_job": float(later.commands - self.commands),
            "wire_bytes_per_job": float(later.wire_bytes - self.wire_bytes),
        }
        if self.worker_cpu_s and later.worker_cpu_s:
            costs["worker_us_per_job"] = (later.worker_cpu_s - self.worker_cpu_s) * 1e6
        return {name: cost / max(jobs, 1) for name, cost in costs.items()}


def sessions_cpu_s(leaders: set[int]) -> float | None:
    """Return the CPU seconds of all processes in some sessions, and of those that ended there.

    None where there is no /proc.
    """
    if not _PROC.is_dir():
        return None
    return sum(_cpu_s(stat, leaders) for stat in _PROC.glob("[0-9]*/stat"))


def _cpu_s(stat: Path, leaders: set[int]) -> float:
    try:
        # Behind the name, which may hold anything: state, parent, group, session, and
        # from the twelfth on the ticks: user, system, and both of children that ended.
        fields = stat.read_text().rpartition(") ")[2].split()
    except OSError:
        return 0.0
    if int(fields[3]) not in leaders:
        return 0.0
    return sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK")
