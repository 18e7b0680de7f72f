"""Jobs on their way into a queue: single emits that share a batch, and chunks of a bulk."""

from __future__ import annotations

import asyncio
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from itertools import accumulate, islice, repeat
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

# Seconds. Emits that time out this close together fail together, so that those of one turn of the
# loop share a timer.
_AT_ONCE = 0.005


class Pending:
    """An answer that is still to come. Each wait for it has a future: cancelling one ends no other.

    `when_failed` is called soon after it turned out to be an error.
    """

    __slots__ = ("_answer", "_futures", "_loop", "when_failed")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._answer: Emitted | BaseException | None = None
        self._futures: list[asyncio.Future[Emitted]] = []
        self.when_failed: Callable[[BaseException], object] | None = None

    @property
    def answered(self) -> bool:
        """Whether it has come."""
        return self._answer is not None

    def result(self) -> Emitted:
        """Return the answer, which must have come; raises it if it is an error."""
        if isinstance(self._answer, Emitted):
            return self._answer
        assert self._answer is not None
        # Each raise adds its frames to those of the one before.
        raise self._answer.with_traceback(None)

    def future(self) -> asyncio.Future[Emitted]:
        """Return a future that is done when the answer has come."""
        future: asyncio.Future[Emitted] = self._loop.create_future()
        if self._answer is None:
            self._futures.append(future)
        else:
            _pass_on(self._answer, future)
        return future

    def give(self, answer: Emitted | BaseException) -> None:
        """Let this be the answer, unless there is one already."""
        if self._answer is not None:
            return
        self._answer = answer
        for future in self._futures:
            if not future.done():
                _pass_on(answer, future)
        self._futures.clear()
        # What is called refers to this in turn: a circle would be left to the collector.
        when_failed, self.when_failed = self.when_failed, None
        if when_failed is not None and not isinstance(answer, Emitted):
            self._loop.call_soon(when_failed, answer)


def _pass_on(answer: Emitted | BaseException, future: asyncio.Future[Emitted]) -> None:
    if isinstance(answer, Emitted):
        future.set_result(answer)
    else:
        future.set_exception(answer)


class Single(Pending):
    """One emit, to be sent until a monotonic time."""

    __slots__ = ("cost", "jobs", "until")

    def __init__(self, job: NewJob, until: float, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(loop)
        self.jobs: Sequence[NewJob] = (job,)
        self.until = until
        # What it takes of a batch.
        self.cost: Cost = (1, len(job.data))

    def tell(self, answers: Iterator[Answer]) -> None:
        """Tell who waits the next of the answers, unless they gave up."""
        self.give(next(answers))

    def fail(self, error: TaskManagerError) -> None:
        """Tell who waits that it failed."""
        self.give(error)


class Bulk:
    """Jobs that are told together, at most as many as a batch takes; one future for all."""

    def __init__(self, jobs: Sequence[NewJob], until: float, size: int) -> None:
        self.jobs = jobs
        self.until = until
        # What it takes of a batch; size is that of the payloads, in bytes.
        self.cost: Cost = (len(jobs), size)
        # What became of each, in their order.
        self.done: asyncio.Future[list[Answer]] = asyncio.get_running_loop().create_future()

    def tell(self, answers: Iterator[Answer]) -> None:
        """Tell who waits as many of the answers as there are jobs, unless they gave up."""
        mine = list(islice(answers, len(self.jobs)))
        if not self.done.done():
            self.done.set_result(mine)

    def fail(self, error: TaskManagerError) -> None:
        """Tell who waits that all of it failed."""
        self.tell(repeat(error))


class Chunk(NamedTuple):
    """Jobs of an emit_all that leave together: their positions, and what became of each."""

    positions: Sequence[int]
    answers: asyncio.Future[list[Answer]]


class Batch:
    """Emits and bulks that leave together; sealed is how, once that was made."""

    def __init__(self, emits: Sequence[Single | Bulk]) -> None:
        self.emits = emits
        jobs = emits[0].jobs if len(emits) == 1 else [job for emit in emits for job in emit.jobs]
        # A reader that wakes in the middle of the script sees the highest first.
        self._order: Sequence[int] = ()
        if len(jobs) > 1 and len({job.lane.priority for job in jobs}) > 1:
            self._order = sorted(range(len(jobs)), key=lambda at: -jobs[at].lane.priority)
            jobs = [jobs[at] for at in self._order]
        self.jobs: Sequence[NewJob] = jobs
        self.until = max([emit.until for emit in emits], default=0.0)
        self.sealed: Sealed | None = None

    def tell(self, answers: Sequence[Answer]) -> None:
        """Tell each emit what became of it; answers are in the order of jobs."""
        if self._order:
            of = dict(zip(self._order, answers, strict=True))
            answers = [of[at] for at in range(len(of))]
        each = iter(answers)
        for emit in self.emits:
            emit.tell(each)

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
        if len(self.emits) == 1:
            return None
        last = self.until - _AT_ONCE
        return min((it.until for it in self.emits if after < it.until < last), default=None)


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
