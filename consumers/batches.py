"""Jobs on their way into a queue: single emits that share a batch, and parts of a bulk."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import NamedTuple, Protocol, TypeAlias

from consumers.door import Sealed
from consumers.errors import TaskManagerError
from consumers.job import NewJob


class Emitted(NamedTuple):
    """What an emit came to: run is the generation of the live job, created whether it is new."""

    id: str
    created: bool
    run: int


Outcome: TypeAlias = Emitted | TaskManagerError


class Single(NamedTuple):
    """One emit, to be sent until a monotonic time."""

    job: NewJob
    until: float
    done: asyncio.Future[Emitted]

    def fail(self, error: TaskManagerError) -> None:
        """Tell who waits that it failed."""
        self.tell(error)

    def tell(self, outcome: Outcome) -> None:
        """Tell who waits, unless they gave up."""
        if self.done.done():
            return
        if isinstance(outcome, TaskManagerError):
            self.done.set_exception(outcome)
        else:
            self.done.set_result(outcome)


class Batch(Protocol):
    """Jobs that leave together, by descending priority; sealed is how, once that was made."""

    jobs: Sequence[NewJob]
    until: float
    sealed: Sealed | None

    def tell(self, outcomes: Sequence[Outcome]) -> None:
        """Tell who waits for them what they came to, in the order of jobs."""

    def fail(self, error: TaskManagerError) -> None:
        """Tell all of them that they failed."""

    def parts(self) -> Sequence[Single | Bulk]:
        """Return what it is made of, to be sent later."""


class Shared:
    """A batch of single emits."""

    def __init__(self, singles: list[Single]) -> None:
        # A reader that wakes in the middle of the script sees the highest first.
        self._singles = sorted(singles, key=lambda single: -single.job.lane.priority)
        self.jobs: Sequence[NewJob] = [single.job for single in self._singles]
        self.until = max((single.until for single in singles), default=0.0)
        self.sealed: Sealed | None = None

    def tell(self, outcomes: Sequence[Outcome]) -> None:
        """Tell each emit what it came to."""
        for single, outcome in zip(self._singles, outcomes, strict=True):
            single.tell(outcome)

    def fail(self, error: TaskManagerError) -> None:
        """Tell each emit that it failed."""
        for single in self._singles:
            single.tell(error)

    def parts(self) -> Sequence[Single]:
        """Return the emits."""
        return self._singles


class Bulk:
    """A part of a bulk that is a batch of its own: one future for all of it."""

    def __init__(self, jobs: Sequence[NewJob], until: float) -> None:
        # Where each of them stood in what was given, when that was not by descending priority.
        self._order: Sequence[int] = ()
        if len({job.lane.priority for job in jobs}) > 1:
            self._order = sorted(range(len(jobs)), key=lambda at: -jobs[at].lane.priority)
            jobs = [jobs[at] for at in self._order]
        self.jobs = jobs
        self.until = until
        self.sealed: Sealed | None = None
        # What became of each, in the order in which they were given.
        self.done: asyncio.Future[list[Outcome]] = asyncio.get_running_loop().create_future()

    def tell(self, outcomes: Sequence[Outcome]) -> None:
        """Tell who waits, unless they gave up."""
        if not self.done.done():
            told = dict(zip(self._order, outcomes, strict=True)) if self._order else None
            self.done.set_result(
                list(outcomes) if told is None else [told[at] for at in range(len(told))]
            )

    def fail(self, error: TaskManagerError) -> None:
        """Tell who waits that all of it failed."""
        self.tell([error] * len(self.jobs))

    def parts(self) -> Sequence[Bulk]:
        """Return itself."""
        return [self]
