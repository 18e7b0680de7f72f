"""What a worker prints when it starts."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version

DISTRIBUTION = "taskmanager-streams"
# A worker may have hundreds of events; the banner must fit on one screen.
_SHOWN = 20


@dataclass(frozen=True, slots=True)
class Banner:
    """The facts of one start. `redis` is an address without its password.

    `worker` is what was set of the worker's type, capabilities and so on. `left_out` has the
    handlers that it does not run, with what it lacks.
    """

    redis: str
    queues: Collection[str]
    handlers: Collection[tuple[str, str]]
    slots: int
    processes: int = 1
    worker: Mapping[str, str] = field(default_factory=dict)
    left_out: Mapping[tuple[str, str], Sequence[str]] = field(default_factory=dict)

    def __str__(self) -> str:
        lines = [
            ("redis", self.redis),
            ("queues", ", ".join(self.queues)),
            ("handlers", _counted([f"{queue}/{event}" for queue, event in sorted(self.handlers)])),
            *([("left out", self._left_out())] if self.left_out else []),
            *self.worker.items(),
            ("concurrency", self._concurrency()),
            ("processes", str(self.processes)),
        ]
        width = max(len(name) for name, _ in lines)
        return "\n".join(
            [
                f"taskmanager {installed_version()}",
                *(f"  {name:<{width}} {text}" for name, text in lines),
            ]
        )

    def _left_out(self) -> str:
        return _counted(
            [
                f"{queue}/{event} (lacks {', '.join(lacks)})"
                for (queue, event), lacks in sorted(self.left_out.items())
            ]
        )

    def _concurrency(self) -> str:
        if self.slots > 1:
            return f"{self.slots} jobs at a time per process"
        return "1 job at a time per process, in exact order (the default; -c N runs N at a time)"


def _counted(names: list[str]) -> str:
    more = [f"and {len(names) - _SHOWN} more"] if len(names) > _SHOWN else []
    return f"{len(names)}: " + ", ".join(names[:_SHOWN] + more)


def installed_version() -> str:
    """Return the version of the installed distribution, or a note that there is none."""
    try:
        return version(DISTRIBUTION)
    except PackageNotFoundError:
        return "(not installed)"
