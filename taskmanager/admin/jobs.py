"""Find out what became of a job, and cancel it."""

from __future__ import annotations

import asyncio
import contextlib
import time
from datetime import timedelta
from typing import Any

from consumers.admin.circumstances import Coming
from consumers.admin.explanation import Explanation
from consumers.admin.facts import End, Facts, value_of
from consumers.errors import RedisUnavailable
from consumers.jobs.moments import moment
from consumers.jobs.names import check_job_id
from consumers.run.run import awaiting
from consumers.store.schedule_record import Record
from processors.schedules.schedule import fire_of
from taskmanager.clients.answers import answering, changing, refusing
from taskmanager.clients.clients import Clients
from taskmanager.handles.errors import (
    JobCancelled,
    JobFailed,
    JobNotFound,
    ResultExpired,
    ResultTimeout,
    ResultUnavailable,
)
from taskmanager.handles.handle import Read
from taskmanager.handles.info import (
    CancelOutcome,
    JobInfo,
    JobState,
    LogLine,
    Progress,
    coming_info_of,
)
from taskmanager.handles.known import info_of, state_of
from taskmanager.settings import seconds

# Seconds between two checks for a coming fire time, and for one that is late.
_FIRE_LOOK, _LATE_LOOK = 1.0, 0.2


class Jobs:
    """The jobs of one task manager's queues, on any event loop.

    Its methods raise RedisUnavailable if Redis does not answer. Repeating a cancel is safe.
    """

    def __init__(self, clients: Clients) -> None:
        self._clients = clients

    async def result(
        self,
        queue: str,
        job_id: str,
        run: int | None,
        timeout: float | timedelta | None,
        read: Read | None = None,
    ) -> Any:
        """Wait for a run to end and return its result, converted by `read`. See JobHandle."""
        patience = None if timeout is None else _patience(timeout)
        if patience == 0:
            return await self._result_now(queue, job_id, run, read)
        limit = asyncio.timeout(patience)
        try:
            async with limit:
                with awaiting(queue, job_id):
                    end = await self._end(queue, job_id, run)
                    return await self._value(queue, job_id, end, read)
        except TimeoutError:
            if limit.expired() and patience is not None:
                raise ResultTimeout(job_id, patience) from None
            raise

    async def _result_now(self, queue: str, job_id: str, run: int | None, read: Read | None) -> Any:
        """Return the result of a run that has ended. Redis is asked once; nothing is waited for."""
        coming = await self._coming(queue, job_id) if run is None else None
        facts = await self._facts(queue, job_id)
        if coming is not None or _live_run(facts, run) is not None:
            raise ResultTimeout(job_id, 0)
        return await self._value(queue, job_id, _end_of(facts, queue, run), read)

    async def status(self, queue: str, job_id: str, run: int | None) -> JobState:
        """Return the state of a run; None means the live or latest one."""
        # Asked first: if the schedule fires in between, there is a job by the second question.
        coming = await self._coming(queue, job_id) if run is None else None
        state = state_of(await self._facts(queue, job_id), run)
        return JobState.DELAYED if coming is not None and state is JobState.UNKNOWN else state

    async def known(self, queue: str, job_id: str, run: int | None = None) -> JobInfo | None:
        """Return what is known about a run, or None; `run=None` means the live or latest one."""
        coming = await self._coming(queue, job_id) if run is None else None
        facts, started_ms = await self._facts(queue, job_id), 0
        if facts.consumer and run in (None, facts.generation):
            client = self._clients.here()
            with answering(client.where):
                started_ms = await client.inspector(queue).started_ms(facts)
        info = info_of(queue, facts, run, started_ms=started_ms)
        return coming_info_of(queue, job_id, coming) if info is None and coming else info

    async def info(self, queue: str, job_id: str, run: int | None) -> JobInfo:
        """Return what is known about a run, or raise what JobHandle.info raises."""
        info = await self.known(queue, job_id, run)
        if info is None:
            raise _nothing_known(queue, job_id, run)
        return info

    async def explain(self, queue: str, job_id: str, run: int | None) -> Explanation:
        """Return why a run is not running, or what it does; None means the live or latest one."""
        record = await self._coming(queue, job_id) if run is None else None
        coming = None
        if record is not None and record.slot is not None:
            coming = Coming(record.name, record.slot)
        client = self._clients.here()
        with answering(client.where), refusing(client.where, client.keys(queue)):
            return await client.explainer(queue).job(job_id, run, coming=coming)

    async def logs(self, queue: str, job_id: str) -> list[LogLine]:
        """Return the last 1,000 lines of a job's log."""
        client = self._clients.here()
        with answering(client.where):
            lines = await client.inspector(queue).logs(check_job_id(job_id))
        return [LogLine(moment(at), message) for at, message in lines]

    async def progress(self, queue: str, job_id: str) -> Progress | None:
        """Return the last reported progress of a job, or None."""
        client = self._clients.here()
        with answering(client.where):
            told = await client.inspector(queue).progress(check_job_id(job_id))
        if not told:
            return None
        total = told.get("total")
        return Progress(
            moment(int(told["at"])),
            float(told["done"]),
            None if total is None else float(total),
            told.get("note"),
        )

    async def cancel(self, queue: str, job_id: str, run: int | None) -> CancelOutcome:
        """Cancel a run; None means the live one. See JobHandle.cancel."""
        client = self._clients.here()
        check_job_id(job_id)
        with changing(client.where, client.keys(queue)):
            done = await client.operator(queue).cancel(
                job_id, run, result_ttl_ms=client.result_ttl_ms
            )
        return CancelOutcome(done.word)

    async def _facts(self, queue: str, job_id: str) -> Facts:
        client = self._clients.here()
        with answering(client.where):
            return await client.inspector(queue).job(check_job_id(job_id))

    async def _coming(self, queue: str, job_id: str) -> Record | None:
        """Return the schedule that will emit this job next, or None."""
        fire = fire_of(check_job_id(job_id))
        if fire is None:
            return None
        client = self._clients.here()
        with answering(client.where):
            record = await client.timetable(queue).record(fire[0])
        return record if record is not None and record.slot == fire[1] else None

    async def _fired(self, queue: str, job_id: str) -> None:
        """Return when no schedule will emit this job any more."""
        coming = await self._coming(queue, job_id)
        while coming is not None:
            assert coming.slot is not None, "it is the fire time in the id"
            left = coming.slot / 1000 - time.time()
            await asyncio.sleep(min(_FIRE_LOOK, max(left, _LATE_LOOK)))
            # It may take hours, and Redis may be away for a while in that time.
            with contextlib.suppress(RedisUnavailable):
                coming = await self._coming(queue, job_id)

    async def _end(self, queue: str, job_id: str, run: int | None) -> End:
        """Return how a run ended, once it has."""
        if run is None:
            await self._fired(queue, job_id)
        facts = await self._facts(queue, job_id)
        live = _live_run(facts, run)
        if live is None:
            return _end_of(facts, queue, run)
        client = self._clients.here()
        try:
            found = await client.results.wait(client.keys(queue), job_id, live)
        except TimeoutError:
            raise RedisUnavailable(
                client.where, "no subscription was confirmed", outcome="not_sent"
            ) from None
        return found if isinstance(found, End) else _end_of(found, queue, live)

    async def _value(self, queue: str, job_id: str, end: End, read: Read | None) -> Any:
        if end.state == "completed":
            return value_of(end) if read is None else read(end.value, job_id)
        if end.state == "cancelled":
            raise JobCancelled(job_id, end.value.decode())
        client = self._clients.here()
        with answering(client.where):
            letter = await client.letters(queue).get(job_id)
        raise JobFailed(
            job_id, letter if letter is not None and letter.run == end.generation else None
        )


def _patience(timeout: float | timedelta) -> float:
    """Return a timeout in seconds. What is left until a deadline may be less than nothing: 0."""
    if isinstance(timeout, timedelta):
        timeout = timeout.total_seconds()
    return 0.0 if isinstance(timeout, int | float) and timeout < 0 else seconds("timeout", timeout)


def _live_run(facts: Facts, run: int | None) -> int | None:
    """Return the run that is asked about while it is live; else None. None asks about any."""
    live = facts.generation
    return live if live == (run or live) else None


def _end_of(facts: Facts, queue: str, run: int | None) -> End:
    """Return how a run that is not live ended; raise if that is not known."""
    end, letter = facts.past(run)
    if end is not None:
        return end
    if letter is not None:
        return End(letter.run, "dead", letter.entry.encode())
    raise _nothing_known(queue, facts.id, run)


def _nothing_known(queue: str, job_id: str, run: int | None) -> ResultUnavailable:
    # A handle with a run comes from an emit, so there was such a job.
    return JobNotFound(job_id, queue) if run is None else ResultExpired(job_id)
