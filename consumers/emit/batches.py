"""Jobs on their way into a queue: single emits that share a batch, and chunks of a bulk."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import NamedTuple, TypeAlias

from consumers.errors import TaskManagerError
from consumers.jobs.envelope import NewJob
from consumers.store.batching import Cost
from consumers.store.door import Sealed


class Emitted(NamedTuple):
    """The answer to an emit.

    - `id`: the id of the live job: the emitted one, or the one that was there already.
    - `created`: whether the emit added it.
    - `run`: which run of the id it is.
    """

    id: str
    created: bool
    run: int


Answer: TypeAlias = Emitted | TaskManagerError


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

    def tell(self, answers: Sequence[Answer]) -> None:
        """Tell who waits, unless they gave up."""
        (answer,) = answers
        if self.done.done():
            return
        if isinstance(answer, TaskManagerError):
            self.done.set_exception(answer)
        else:
            self.done.set_result(answer)

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
        self.done: asyncio.Future[list[Answer]] = asyncio.get_running_loop().create_future()

    def tell(self, answers: Sequence[Answer]) -> None:
        """Tell who waits, unless they gave up."""
        if not self.done.done():
            self.done.set_result(list(answers))

    def fail(self, error: TaskManagerError) -> None:
        """Tell who waits that all of it failed."""
        self.tell([error] * len(self.jobs))


class Batch:
    """Emits and bulks that leave together; sealed is how, once that was made."""

    def __init__(self, emits: Sequence[Single | Bulk]) -> None:
        self.emits = emits
        jobs = [job for emit in emits for job in emit.jobs]
        # A reader that wakes in the middle of the script sees the highest first.
        self._order: Sequence[int] = ()
        if len({job.lane.priority for job in jobs}) > 1:
            self._order = sorted(range(len(jobs)), key=lambda at: -jobs[at].lane.priority)
            jobs = [jobs[at] for at in self._order]
        self.jobs: Sequence[NewJob] = jobs
        self.until = max((emit.until for emit in emits), default=0.0)
        self.sealed: Sealed | None = None

    def tell(self, answers: Sequence[Answer]) -> None:
        """Tell each emit what became of it; answers are in the order of jobs."""
        if self._order:
            of = dict(zip(self._order, answers, strict=True))
            answers = [of[at] for at in range(len(of))]
        told = 0
        for emit in self.emits:
            number = len(emit.jobs)
            emit.tell(answers[told : told + number])
            told += number

    def fail(self, error: TaskManagerError) -> None:
        """Tell each emit that it failed."""
        for emit in self.emits:
            emit.fail(error)

    def give_up(self, now: float, error: TaskManagerError) -> None:
        """Tell the emits whose time is up that they failed."""
        for emit in self.emits:
            if emit.until <= now:
                emit.fail(error)

    def next_end(self, after: float) -> float | None:
        """Return when, after a moment, the time of an emit is up, but not that of all."""
        ends = {emit.until for emit in self.emits if after < emit.until < self.until}
        return min(ends, default=None)
