"""Jobs on their way into a queue: single emits that share a batch, and chunks of a bulk."""

from __future__ import annotations

import asyncio
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterator, Sequence
from itertools import accumulate
from typing import NamedTuple, TypeAlias

from consumers.errors import TaskManagerError
from consumers.jobs.envelope import NewJob
from consumers.store.batching import Cost
from consumers.store.door import Sealed
from consumers.store.steps import BATCH_BYTES, BATCH_ITEMS


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

    def tell(self, answers: list[Answer]) -> None:
        """Tell who waits, unless they gave up."""
        if not self.done.done():
            self.done.set_result(answers)

    def fail(self, error: TaskManagerError) -> None:
        """Tell who waits that all of it failed."""
        self.tell([error] * len(self.jobs))


class Batch:
    """Emits and bulks that leave together; sealed is how, once that was made."""

    def __init__(self, emits: Sequence[Single | Bulk]) -> None:
        self.emits = emits
        jobs: Sequence[NewJob] = [job for emit in emits for job in emit.jobs]
        # A reader that wakes in the middle of the script sees the highest first.
        self._order: Sequence[int] = ()
        if len({job.lane.priority for job in jobs}) > 1:
            self._order = sorted(range(len(jobs)), key=lambda at: -jobs[at].lane.priority)
            jobs = [jobs[at] for at in self._order]
        self.jobs: Sequence[NewJob] = jobs
        self.until = max((emit.until for emit in emits), default=0.0)
        self.sealed: Sealed | None = None

    def tell(self, answers: list[Answer]) -> None:
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


def cut_up(jobs: Sequence[NewJob]) -> Iterator[tuple[Sequence[int], int]]:
    """Cut jobs into those that fit into a batch; yield their positions and payloads' bytes."""
    queues = [job.lane.queue for job in jobs]
    if len(set(queues)) == 1:
        yield from _batches(jobs, range(len(jobs)))
        return
    positions = defaultdict[str, list[int]](list)
    for at, queue in enumerate(queues):
        positions[queue].append(at)
    for its in positions.values():
        yield from _batches(jobs, its)


def _batches(
    jobs: Sequence[NewJob], positions: Sequence[int]
) -> Iterator[tuple[Sequence[int], int]]:
    """Cut positions into those that fit into a batch; yield them with their payloads' bytes."""
    # How many bytes there are up to and with each.
    sizes = list(accumulate(len(jobs[at].data) for at in positions))
    first = before = 0
    while first < len(sizes):
        most = min(first + BATCH_ITEMS, len(sizes))
        end = bisect_right(sizes, before + BATCH_BYTES, first + 1, most)
        yield positions[first:end], sizes[end - 1] - before
        first, before = end, sizes[end - 1]
