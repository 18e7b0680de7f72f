"""The machine and the programs that figures belong to."""

from __future__ import annotations

import os
import platform
import re
from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from benchmarks.roster import Contender

Load = tuple[float, ...]

_CPU_INFO = Path("/proc/cpuinfo")


@dataclass(frozen=True, slots=True)
class Machine:
    """What a reader must know to judge figures; loads are of the last 1, 5 and 15 minutes."""

    cpu: str
    cores: int
    kernel: str
    python: str
    redis: str
    pinned: bool
    load_at_start: Load
    versions: dict[str, str]
    load_at_end: Load = ()

    def at_end(self) -> Machine:
        """Return the same with the load as it is now."""
        return replace(self, load_at_end=os.getloadavg())

    def as_json(self) -> dict[str, Any]:
        """Return everything as JSON values."""
        return asdict(self)

    def lines(self) -> list[str]:
        """Return it in a few lines."""
        where = "pinned to the last core" if self.pinned else "not pinned to a core"
        programs = ", ".join(f"{name} {version}" for name, version in self.versions.items())
        return [
            f"{self.cpu}, {self.cores} cores, {self.kernel}",
            f"{self.redis} without persistence, {where}; Python {self.python}",
            programs,
            f"load average (1, 5, 15 minutes): {self._loads()}",
        ]

    def _loads(self) -> str:
        loads = {"at the start": self.load_at_start, "at the end": self.load_at_end}
        return ", ".join(
            f"{' '.join(f'{it:.2f}' for it in load)} {when}" for when, load in loads.items() if load
        )


def this_machine(server: str, contenders: Iterable[Contender], *, pinned: bool) -> Machine:
    """Look at this machine; server is the name and version of the Redis."""
    return Machine(
        cpu=_cpu(),
        cores=os.cpu_count() or 1,
        kernel=f"{platform.system()} {platform.release()}",
        python=platform.python_version(),
        redis=server,
        pinned=pinned,
        load_at_start=os.getloadavg(),
        versions={who.name: who.version() for who in contenders},
    )


def _cpu() -> str:
    try:
        model = re.search(r"^model name\s*:\s*(.+)$", _CPU_INFO.read_text(), re.MULTILINE)
    except OSError:
        model = None
    return model[1] if model else platform.processor() or platform.machine()
