"""Ask Redis why jobs do not run. Nothing here changes one."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import NamedTuple

from consumers.admin.circumstances import UNREPORTED, Circumstances, Coming, Start, circumstances_of
from consumers.admin.explain import explain, reason_of
from consumers.admin.explanation import Explanation, QueueExplanation, ReasonCount
from consumers.admin.facts import Facts, archived_end
from consumers.admin.workers import naming
from consumers.connections.clock import server_ms
from consumers.connections.wire import Wire
from consumers.store.asking import explain as ask_for
from consumers.store.asking import waiting_ids
from consumers.store.entries import added_ms
from consumers.store.fleet import MOST_STARTS, starts_in
from consumers.store.keys import Fleet, Keys
from consumers.store.queue_workers import SeenWorker, workers_of
from consumers.store.scripts import call

# What one explanation looks at: entries before the job, and lanes of higher priority.
_ENTRIES, _LANES = 100, 128
# What the explanation of a queue looks at.
_JOBS, _LANES_OF_QUEUE = 500, 256
# So many are asked for at a time, or other commands would wait for all of them.
_AT_ONCE = 32


class _Moment(NamedTuple):
    """When the workers of a queue were read (ms), and what they were then."""

    now_ms: int
    workers: Sequence[SeenWorker]

    def of(self, it: Circumstances) -> Circumstances:
        """Return what was read later as it is judged at this moment."""
        return replace(it, now_ms=self.now_ms)


class Explainer:
    """Explains the jobs of one queue; archive is the connection to where results are.

    Its methods raise redis' errors, and BrokenKey for what somebody else put in place of a key.
    """

    def __init__(self, wire: Wire, keys: Keys, *, archive: Wire | None = None) -> None:
        self._wire = wire
        self._keys = keys
        self._archive = archive

    async def job(
        self, job_id: str, run: int | None = None, *, coming: Coming | None = None
    ) -> Explanation:
        """Return why a job is not running, or what it does; of one run, or the live or latest."""
        workers = await self._workers()
        it = await self._circumstances(job_id, entries=_ENTRIES, lanes=_LANES)
        return explain(await self._with_end_and_start(it, run, coming), workers)

    async def _with_end_and_start(
        self, it: Circumstances, run: int | None = None, coming: Coming | None = None
    ) -> Circumstances:
        """Return the circumstances with the job's end and start, of one run or the latest."""
        job = await self._with_archived_end(it.job)
        if run is not None and job.generation != run:
            job = _of_run(job, run)
        start = await self._start(job) if job.consumer else UNREPORTED
        return replace(it, job=job, start=start, coming=coming)

    async def queue(self) -> QueueExplanation:
        """Return the reasons of at most 500 jobs that wait or are put off, counted."""
        # Jobs are asked about one after another, and all are judged by this moment: by a later
        # one the workers, which are read once, would have been silent since.
        moment = _Moment(await server_ms(self._wire), await self._workers())
        ask = waiting_ids(self._keys, _JOBS, _LANES_OF_QUEUE)
        jobs, ids, more_lanes = await call(self._wire, ask)
        names = [it.decode("ascii", "replace") for it in ids]
        examples: dict[str, str] = {}
        counts: dict[str, int] = {}
        for at in range(0, len(names), _AT_ONCE):
            some = names[at : at + _AT_ONCE]
            for name, reason in zip(some, await self._reasons(some, moment), strict=True):
                counts[reason] = counts.get(reason, 0) + 1
                examples.setdefault(reason, name)
        found = [await self._counted(it, counts[it], examples[it], moment) for it in counts]
        found.sort(key=lambda it: (-it.jobs, it.reason))
        return QueueExplanation(jobs, len(names), found, more_lanes)

    async def _workers(self) -> list[SeenWorker]:
        with naming(self._keys.workers):
            return await workers_of(self._wire, self._keys)

    async def _reasons(self, names: Iterable[str], moment: _Moment) -> list[str]:
        # One entry before a job tells that it is behind others.
        asked = (self._circumstances(it, entries=1, lanes=0) for it in names)
        found = await asyncio.gather(*asked)
        return [reason_of(moment.of(it), moment.workers) for it in found]

    async def _counted(self, reason: str, jobs: int, example: str, moment: _Moment) -> ReasonCount:
        """Return a count with the sentence of its example, which may have moved by now."""
        it = await self._circumstances(example, entries=_ENTRIES, lanes=_LANES)
        found = explain(moment.of(await self._with_end_and_start(it)), moment.workers)
        return ReasonCount(reason, jobs, example, found.sentence)

    async def _circumstances(self, job_id: str, *, entries: int, lanes: int) -> Circumstances:
        ask = ask_for(self._keys, job_id, entries=entries, lanes=lanes)
        return circumstances_of(self._keys.queue, job_id, await call(self._wire, ask))

    async def _with_archived_end(self, job: Facts) -> Facts:
        if self._archive is None:
            return job
        result = await self._archive.send("GET", self._keys.result(job.id))
        return replace(job, end=archived_end(result, job.letter))

    async def _start(self, job: Facts) -> Start:
        """Return what the worker that has a job last reported of its start."""
        fleet = Fleet(self._keys.namespace)
        found = await starts_in(self._wire, fleet, job.consumer)
        if found is None:
            return UNREPORTED
        at_ms = found.get(self._keys.queue, {}).get(job.id, 0)
        # What began before this entry was there is an earlier attempt, or an earlier run of the id.
        began = at_ms if at_ms >= added_ms(job.entry) else 0
        return Start(began, sum(map(len, found.values())) < MOST_STARTS)


def _of_run(job: Facts, run: int) -> Facts:
    """Return the facts of a run that is not live."""
    end, letter = job.past(run)
    return replace(
        job, generation=None, place="", due_ms=None, envelope=None, consumer="", end=end,
        letter=letter,
    )  # fmt: skip
