"""Jobs on their way into a queue: single emits that share a batch, and parts of a bulk."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import NamedTuple, TypeAlias

from consumers.errors import TaskManagerError
from consumers.jobs.envelope import NewJob
from consumers.store.batching import Cost
from consumers.store.door import Sealed


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

    @property
    def jobs(self) -> Sequence[NewJob]:
        """What is emitted."""
        return (self.job,)

    @property
    def cost(self) -> Cost:
        """What it takes of a batch."""
        return 1, len(self.job.data)

    def tell(self, outcomes: Sequence[Outcome]) -> None:
        """Tell who waits, unless they gave up."""
        (outcome,) = outcomes
        if self.done.done():
            return
        if isinstance(outcome, TaskManagerError):
            self.done.set_exception(outcome)
        else:
            self.done.set_result(outcome)

    def fail(self, error: TaskManagerError) -> None:
        """Tell who waits that it failed."""
        self.tell((error,))


class Bulk:
    """Jobs that are told together, at most as many as a batch takes; one future for all."""

    def __init__(self, jobs: Sequence[NewJob], until: float, size: int) -> None:
        self.jobs = jobs
        self.until = until
        # What it takes of a batch; size is that of the payloads, in bytes.
        self.cost: Cost = (len(jobs), size)
        # What became of each, in their order.
        self.done: asyncio.Future[list[Outcome]] = asyncio.get_running_loop().create_future()

    def tell(self, outcomes: Sequence[Outcome]) -> None:
        """Tell who waits, unless they gave up."""
        if not self.done.done():
            self.done.set_result(list(outcomes))

    def fail(self, error: TaskManagerError) -> None:
        """Tell who waits that all of it failed."""
        self.tell([error] * len(self.jobs))


class Batch:
    """Emits and bulks that leave together; sealed is how, once that was made."""

    def __init__(self, parts: Sequence[Single | Bulk]) -> None:
        self.parts = parts
        jobs = [job for part in parts for job in part.jobs]
        # A reader that wakes in the middle of the script sees the highest first.
        self._order: Sequence[int] = ()
        if len({job.lane.priority for job in jobs}) > 1:
            self._order = sorted(range(len(jobs)), key=lambda at: -jobs[at].lane.priority)
            jobs = [jobs[at] for at in self._order]
        self.jobs: Sequence[NewJob] = jobs
        self.until = max((part.until for part in parts), default=0.0)
        self.sealed: Sealed | None = None

    def tell(self, outcomes: Sequence[Outcome]) -> None:
        """Tell each part what became of it; outcomes are in the order of jobs."""
        if self._order:
            of = dict(zip(self._order, outcomes, strict=True))
            outcomes = [of[at] for at in range(len(of))]
        told = 0
        for part in self.parts:
            number = len(part.jobs)
            part.tell(outcomes[told : told + number])
            told += number

    def fail(self, error: TaskManagerError) -> None:
        """Tell each part that it failed."""
        for part in self.parts:
            part.fail(error)

    def give_up(self, now: float, error: TaskManagerError) -> None:
        """Tell the parts whose time is up that they failed."""
        for part in self.parts:
            if part.until <= now:
                part.fail(error)

    def next_end(self, after: float) -> float | None:
        """Return when, after a moment, the time of a part is up, but not that of all."""
        ends = {part.until for part in self.parts if after < part.until < self.until}
        return min(ends, default=None)
