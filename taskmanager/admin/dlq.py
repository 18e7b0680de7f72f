"""``tm.dlq``: list, replay and purge dead letters."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from datetime import timedelta
from itertools import islice
from typing import NamedTuple, TypeAlias

from consumers.admin.dead_letters import DeadLetter, DeadLetters
from consumers.errors import BrokenKey, TaskManagerError, TooManyLanes
from consumers.jobs.lanes import MAX_LANES
from consumers.jobs.names import check_job_id
from consumers.store.entries import order_of
from taskmanager.admin.jobs import Jobs
from taskmanager.admin.queues import Queues
from taskmanager.clients.answers import answering
from taskmanager.clients.clients import Clients
from taskmanager.errors import InvalidOption, NotReplayable
from taskmanager.handles.handle import JobHandle
from taskmanager.options.arguments import DEFAULT_QUEUE
from taskmanager.options.checks import delay_ms, whole_number

# Letters hold payloads of up to 256 KiB.
_PAGE = 100
# Told of what has been done so far and of how much there is.
ProgressCallback = Callable[[int, int], object]
# The class has a method of the name.
Letters: TypeAlias = list[DeadLetter]


class ReplayedAll(NamedTuple):
    """What a replay_all came to; kept are the letters that stayed: live ids, foreign entries."""

    replayed: int
    kept: int


class DeadLetterQueue:
    """The dead letters of all queues.

    Its methods raise RedisUnavailable when Redis does not answer.
    """

    def __init__(self, clients: Clients, jobs: Jobs, queues: Queues) -> None:
        self._clients = clients
        self._jobs = jobs
        self._queues = queues

    async def list(self, queue: str = DEFAULT_QUEUE, limit: int = 100) -> Letters:
        """Return at most limit letters, newest first."""
        whole_number("limit", limit, lowest=1)
        with self._answering():
            return await self._letters(queue).newest(limit)

    async def get(self, id: str, queue: str = DEFAULT_QUEUE) -> DeadLetter | None:
        """Return the latest letter of a job; None when there is none."""
        with self._answering():
            return await self._letters(queue).get(check_job_id(id))

    async def replay(self, id: str, queue: str = DEFAULT_QUEUE) -> JobHandle:
        """Bring a letter back as a job with a new run and its whole retry budget.

        The letter goes in the same step. While the id is live nothing is done:
        created is False, and the handle is the live job's. So a repeated replay
        adds nothing. Raises NotReplayable when there is no letter, or when it
        is an entry that was no job.
        """
        word = (await self._replay(queue, [check_job_id(id)]))[0]
        if word[0] not in "+=":
            raise _refusal(word, id, queue)
        return JobHandle(id, queue, word[0] == "+", int(word[1:]), jobs=self._jobs)

    async def replay_all(
        self,
        queue: str = DEFAULT_QUEUE,
        *,
        rate: float | None = None,
        progress: ProgressCallback | None = None,
    ) -> ReplayedAll:
        """Bring back every letter that there is now, oldest first, at most rate a second.

        progress(done, total) is called after each step. Letters of jobs that die
        again meanwhile stay. It may be cancelled, and called again, at any time.
        """
        _check_rate(rate)
        total = (await self._queues.stats(queue)).dead
        replayed = done = 0
        async for page in self._pages(queue):
            for batch in _batches(page, rate):
                started = time.monotonic()
                words = await self._replay(queue, list(dict.fromkeys(it.id for it in batch)))
                replayed += sum(word[0] == "+" for word in words)
                done += len(batch)
                if progress is not None:
                    progress(done, max(total, done))
                await _pace(rate, len(batch), started)
        return ReplayedAll(replayed, done - replayed)

    async def purge(
        self, queue: str = DEFAULT_QUEUE, *, older_than: float | timedelta = 0.0
    ) -> int:
        """Delete the letters older than some seconds, all by default; return how many."""
        age_ms = delay_ms("older_than", older_than)
        with self._answering():
            return await self._letters(queue).purge(age_ms / 1000)

    def _letters(self, queue: str) -> DeadLetters:
        return self._clients.here().letters(queue)

    async def _replay(self, queue: str, ids: Sequence[str]) -> Sequence[str]:
        client = self._clients.here()
        return await client.letters(queue).replay(ids, patience=client.patience)

    async def _pages(self, queue: str) -> AsyncIterator[Letters]:
        """Yield the letters that there are now, some at a time, oldest first."""
        newest = await self.list(queue, 1)
        after = "-"
        while newest:
            with self._answering():
                letters = await self._letters(queue).oldest(after, _PAGE)
            page = [it for it in letters if order_of(it.entry) <= order_of(newest[0].entry)]
            if not page:
                return
            yield page
            after = page[-1].entry

    def _answering(self) -> contextlib.AbstractContextManager[None]:
        return answering(self._clients.here().where, outcome="unknown")


def _batches(page: Letters, rate: float | None) -> Iterator[Letters]:
    """Yield a page in steps; with a rate in steps of about a tenth of a second."""
    size = len(page) if rate is None else max(1, int(rate / 10))
    rest = iter(page)
    while batch := list(islice(rest, size)):
        yield batch


async def _pace(rate: float | None, count: int, started: float) -> None:
    if rate is not None:
        await asyncio.sleep(max(0.0, started + count / rate - time.monotonic()))


def _check_rate(rate: object) -> None:
    if rate is None:
        return
    if isinstance(rate, bool) or not isinstance(rate, int | float) or not rate > 0:
        raise InvalidOption("rate", rate, "give jobs a second, above 0")


def _refusal(word: str, job_id: str, queue: str) -> TaskManagerError:
    if word == "L":
        return TooManyLanes(queue, "the lane of the letter", MAX_LANES)
    if word[0] == "T":
        return BrokenKey(word[1:])
    reason = "it is a foreign entry, no job" if word == "X" else "there is no dead letter of it"
    return NotReplayable(job_id, queue, reason)
