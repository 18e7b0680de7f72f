"""The machine and the programs that figures belong to."""

from __future__ import annotations

import os
import platform
import re
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmarks.roster import Contender

_CPU_INFO = Path("/proc/cpuinfo")


@dataclass(frozen=True, slots=True)
class Machine:
    """What a reader must know to judge figures; load is of the last minute, at the start."""

    cpu: str
    cores: int
    kernel: str
    python: str
    redis: str
    pinned: bool
    load: float
    versions: dict[str, str]

    def as_json(self) -> dict[str, Any]:
        """Return everything as JSON values."""
        return asdict(self)

    def lines(self) -> list[str]:
        """Return it in three lines."""
        where = "pinned to the last core" if self.pinned else "not pinned to a core"
        programs = ", ".join(f"{name} {version}" for name, version in self.versions.items())
        return [
            f"{self.cpu}, {self.cores} cores, {self.kernel}, load {self.load:.2f} at the start",
            f"{self.redis} without persistence, {where}; Python {self.python}",
            programs,
        ]


def this_machine(server: str, contenders: Iterable[Contender], *, pinned: bool) -> Machine:
    """Look at this machine; server is the name and version of the Redis."""
    return Machine(
        cpu=_cpu(),
        cores=os.cpu_count() or 1,
        kernel=f"{platform.system()} {platform.release()}",
        python=platform.python_version(),
        redis=server,
        pinned=pinned,
        load=os.getloadavg()[0],
        versions={who.name: who.version() for who in contenders},
    )


def _cpu() -> str:
    try:
        model = re.search(r"^model name\s*:\s*(.+)$", _CPU_INFO.read_text(), re.MULTILINE)
    except OSError:
        model = None
    return model[1] if model else platform.processor() or platform.machine()
