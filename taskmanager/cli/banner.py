"""What a worker prints when it starts."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version

DISTRIBUTION = "taskmanager-streams"
# A worker may have hundreds of events; the banner must fit on one screen.
_SHOWN = 20


@dataclass(frozen=True, slots=True)
class Banner:
    """The facts of one start. `redis` is an address without its password."""

    redis: str
    queues: Collection[str]
    handlers: Collection[tuple[str, str]]
    slots: int
    processes: int = 1

    def __str__(self) -> str:
        lines = [
            ("redis", self.redis),
            ("queues", ", ".join(self.queues)),
            ("handlers", self._handlers()),
            ("concurrency", self._concurrency()),
            ("processes", str(self.processes)),
        ]
        return "\n".join(
            [
                f"taskmanager {installed_version()}",
                *(f"  {name:<11} {text}" for name, text in lines),
            ]
        )

    def _handlers(self) -> str:
        names = [f"{queue}/{event}" for queue, event in sorted(self.handlers)]
        more = [f"and {len(names) - _SHOWN} more"] if len(names) > _SHOWN else []
        return f"{len(names)}: " + ", ".join(names[:_SHOWN] + more)

    def _concurrency(self) -> str:
        if self.slots > 1:
            return f"{self.slots} jobs at a time per process"
        return "1 job at a time per process, in exact order (the default; -c N runs N at a time)"


def installed_version() -> str:
    """Return the version of the installed distribution, or a note that there is none."""
    try:
        return version(DISTRIBUTION)
    except PackageNotFoundError:
        return "(not installed)"
