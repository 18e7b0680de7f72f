"""What happened to each job of a fleet, as lines of files that several processes append to."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from benchmarks.failures import Failed
from benchmarks.routing.simulation import Arrival

# The number of the jobs that come before the measured ones, and of the line of a worker that
# has started.
UNMEASURED = -1


class Run(NamedTuple):
    """A job that has run: its number, its worker's, and when it began and ended.

    Times are those of CLOCK_MONOTONIC, which on one machine all processes share.
    """

    number: int
    worker: int
    began: float
    ended: float

    @property
    def line(self) -> bytes:
        """The line that a worker leaves, in one write."""
        return b"%d %d %.6f %.6f\n" % self

    @classmethod
    def read(cls, line: bytes) -> Run:
        """Return the run of a line."""
        number, worker, began, ended = line.split()
        return cls(int(number), int(worker), float(began), float(ended))


class Emit(NamedTuple):
    """A measured job that was emitted: when it was due and when it was emitted, and its route."""

    due: float
    at: float
    route: int


class NewRuns:
    """The runs that were added to a file since the last look."""

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_RDONLY | os.O_CREAT)
        self._rest = b""

    def __iter__(self) -> Iterator[Run]:
        while more := os.read(self._file, 1 << 16):
            *lines, self._rest = (self._rest + more).split(b"\n")
            yield from map(Run.read, lines)


def write_emits(path: Path, emits: Iterable[Emit]) -> None:
    """Write the emits, in the order of their numbers."""
    path.write_text("".join(f"{it.due:.6f} {it.at:.6f} {it.route}\n" for it in emits))


def read_emits(path: Path) -> list[Emit]:
    """Return the emits that write_emits has written."""
    rows = (line.split() for line in path.read_text().splitlines())
    return [Emit(float(due), float(at), int(route)) for due, at, route in rows]


def measured(emits: Sequence[Emit], runs: Iterable[Run]) -> tuple[list[Arrival], list[float]]:
    """Return the jobs as they came and ran, and how long each waited for its first run."""
    first: dict[int, Run] = {}
    for run in runs:
        first.setdefault(run.number, run)
    if missing := [number for number in range(len(emits)) if number not in first]:
        raise Failed(f"{len(missing)} of {len(emits)} jobs have left no line")
    pairs = [(emit, first[number]) for number, emit in enumerate(emits)]
    arrivals = [Arrival(emit.at, run.ended - run.began, emit.route) for emit, run in pairs]
    return arrivals, [run.began - emit.at for emit, run in pairs]
