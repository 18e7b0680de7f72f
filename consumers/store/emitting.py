"""Ask for jobs to be added to their lanes."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import groupby
from operator import attrgetter

from consumers.connections.link import Argument
from consumers.jobs.envelope import NewJob
from consumers.jobs.lanes import MAX_LANES
from consumers.store.keys import Keys, bucket, bucket_name
from consumers.store.packing import packed
from consumers.store.scripts import Call, load
from consumers.store.steps import Streams

EMIT = load("emit")
# What the jobs of a group are alike in.
_common = attrgetter("lane", "event", "options", "due", "guard")


def job_fields(keys: Keys, streams: Streams, job: NewJob) -> tuple[Argument, ...]:
    """Return a job as the scripts take it that may add it."""
    where = streams.index(keys.lane(job.lane))
    return (where, bucket(job.id), job.id, job.event, job.data, job.options, job.due, job.guard)


def emit_items(keys: Keys, jobs: Iterable[NewJob], *, depth: int | None) -> Call:
    """Return the emit of a batch, still without the batch's number and digest."""
    # The door fills in its own key.
    streams = Streams(["", keys.meta, keys.lanes, keys.stats])
    args: list[Argument] = [depth or 0, MAX_LANES]
    for (lane, event, options, due, guard), alike in groupby(jobs, _common):
        group = [str(streams.index(keys.lane(lane))), event, options, due, guard]
        for job in alike:
            group += (bucket_name(job.id), job.id, job.data)
        args.append(packed(group))
    return Call(EMIT, streams.keys, args)
