"""How a measurement may end without figures; the run goes on after it."""

from __future__ import annotations

_LAST_LINES = 8


class NoFigures(Exception):
    """The root: what says why a contender has no figures for a workload."""

    def __init__(self, what: str, output: str = "") -> None:
        words = [line for line in output.splitlines() if line.strip()][-_LAST_LINES:]
        super().__init__("\n".join([what, *(f"    {line}" for line in words)]))


class Failed(NoFigures):
    """Raised when something went wrong; it has the last words of the programs."""


class Unable(NoFigures):
    """Raised when a contender has no way to do the workload, which is no failure."""

    def __init__(self, output: str) -> None:
        super().__init__((output.strip().splitlines() or ["it cannot do this"])[-1])
