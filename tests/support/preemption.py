"""How long processes were ready to go on and had no processor: a busy machine's part of a delay."""

from __future__ import annotations

import os
import time
from pathlib import Path


def fair_clock(*pids: int) -> float:
    """Return the monotonic time in seconds, without what waited_ms tells of living processes.

    Differences of it are bounds for what these processes did: where others have
    the processors, this clock stands still as well.
    """
    return time.monotonic() - waited_ms(*pids) / 1000


def waited_ms(*pids: int) -> float:
    """Return how long processes have waited for a processor, and the machine for its host.

    It only grows; 0 where the system does not tell. Of each process its first thread counts.
    """
    try:
        return sum(map(_waited_ms, pids)) + _stolen_ms()
    except (OSError, IndexError):
        return 0.0


def _waited_ms(pid: int) -> float:
    _, waited_ns, _ = Path(f"/proc/{pid}/schedstat").read_text().split()
    return int(waited_ns) / 1e6


def _stolen_ms() -> float:
    ticks = int(Path("/proc/stat").read_text().split(maxsplit=9)[8])
    return ticks * 1000 / os.sysconf("SC_CLK_TCK")
