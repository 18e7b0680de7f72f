"""List, replay and purge dead letters: `tm.dlq`."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from datetime import timedelta
from itertools import islice
from typing import NamedTuple, TypeAlias

from consumers.admin.dead_letters import DeadLetter, DeadLetters
from consumers.errors import BrokenKey, TaskManagerError
from consumers.jobs.names import check_job_id
from consumers.jobs.routes import no_room_for
from consumers.store.entries import order_of
from taskmanager.admin.jobs import Jobs
from taskmanager.admin.queues import Queues
from taskmanager.clients.answers import answering
from taskmanager.clients.clients import Clients
from taskmanager.errors import InvalidOption, NotReplayable
from taskmanager.handles.handle import JobHandle
from taskmanager.options.arguments import DEFAULT_QUEUE
from taskmanager.options.checks import delay_ms, whole_number

# Dead letters hold payloads of up to 256 KiB.
_PAGE = 100
# Called with how many are done so far, and how many there are.
ProgressCallback = Callable[[int, int], object]
# Named here, because the class has a method called list.
Letters: TypeAlias = list[DeadLetter]


class ReplayedAll(NamedTuple):
    """What replay_all achieved.

    - `replayed`: how many jobs run again.
    - `kept`: how many dead letters stayed, because their id is live or they never were jobs.
    """

    replayed: int
    kept: int


class DeadLetterQueue:
    """The dead letters of all queues, reached as `tm.dlq`.

    A dead letter is a job that was given up: it failed and has no retries left, or it could not be
    run. Its methods raise RedisUnavailable if Redis does not answer.
    """

    def __init__(self, clients: Clients, jobs: Jobs, queues: Queues) -> None:
        self._clients = clients
        self._jobs = jobs
        self._queues = queues

    async def list(self, queue: str = DEFAULT_QUEUE, limit: int = 100) -> Letters:
        """Return up to `limit` dead letters of a queue, newest first."""
        whole_number("limit", limit, lowest=1)
        with self._answering():
            return await self._letters(queue).newest(limit)

    async def get(self, id: str, queue: str = DEFAULT_QUEUE) -> DeadLetter | None:
        """Return the latest dead letter of a job id, or None."""
        with self._answering():
            return await self._letters(queue).get(check_job_id(id))

    async def replay(self, id: str, queue: str = DEFAULT_QUEUE) -> JobHandle:
        """Run a dead job again, with all its retries, and return its handle.

        The dead letter is removed in the same step. If the id is live, nothing happens: the handle
        has `created=False` and refers to the live job. So repeating a replay adds nothing.

        Raises NotReplayable if there is no dead letter of the id, or if it never was a job. Raises
        TooManyLanes, or TooManyRoutes for a job that requires something of a worker, if its queue
        has no room for its priority and partition.
        """
        word = (await self._replay(queue, [check_job_id(id)]))[0]
        if word == "L":
            raise await self._no_room(queue, id)
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
        """Run every dead job of a queue again, oldest first.

        - `rate`: at most this many per second; None is as fast as possible.
        - `progress`: called as `progress(done, total)` after each step.

        It covers the dead letters that exist now; jobs that die again during the replay stay dead.
        You may cancel it and call it again at any time.
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
        """Delete the dead letters of a queue, and return how many.

        `older_than` (seconds or a timedelta) limits it to older ones; by default, all are deleted.
        """
        age_ms = delay_ms("older_than", older_than)
        where = self._clients.here().where
        with answering(where, outcome="unknown", request="change"):
            return await self._letters(queue).purge(age_ms / 1000)

    def _letters(self, queue: str) -> DeadLetters:
        return self._clients.here().letters(queue)

    async def _replay(self, queue: str, ids: Sequence[str]) -> Sequence[str]:
        client = self._clients.here()
        return await client.letters(queue).replay(ids, patience=client.patience)

    async def _no_room(self, queue: str, job_id: str) -> TaskManagerError:
        with self._answering():
            lane = await self._letters(queue).lane_of(job_id)
        # It may have been replayed or deleted just now.
        return _refusal("-", job_id, queue) if lane is None else no_room_for(lane)

    async def _pages(self, queue: str) -> AsyncIterator[Letters]:
        """Yield the dead letters that exist now, some at a time, oldest first."""
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
        return answering(self._clients.here().where)


def _batches(page: Letters, rate: float | None) -> Iterator[Letters]:
    """Yield a page in steps; with a rate, in steps of about a tenth of a second."""
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
        raise InvalidOption("rate", rate, "give jobs per second, above 0")


def _refusal(word: str, job_id: str, queue: str) -> TaskManagerError:
    if word[0] == "T":
        return BrokenKey(word[1:])
    reason = "it is a foreign entry, not a job" if word == "X" else "it has no dead letter"
    return NotReplayable(job_id, queue, reason)
